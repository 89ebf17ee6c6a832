"""Shows a file of USD by USD's own library, from its bytes alone."""

# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# pxr fills its modules when they are imported.

from pathlib import Path
from typing import Any

import numpy as np
from pxr import Usd, UsdGeom, UsdShade, UsdSkel, UsdValidation, Vt

START = Usd.TimeCode.Default()  # what is shown before anything plays


class UsdPlayer:
    """The person in a file.

    Attributes:
        mesh, skeleton, animation: prims of the person; None where there are none.
    """

    def __init__(self, file: Path) -> None:
        self.stage = Usd.Stage.Open(str(file))
        self.mesh = UsdGeom.Mesh(self.only("Mesh"))
        self.skeleton = UsdSkel.Skeleton(self.only("Skeleton")) if self.all("Skeleton") else None
        self.animation = UsdSkel.Animation(self.only("SkelAnimation")) if self.skeleton else None

    def all(self, kind: str) -> list[Any]:
        return [prim for prim in self.stage.TraverseAll() if prim.GetTypeName() == kind]

    def only(self, kind: str) -> Any:
        (found,) = self.all(kind)
        return found

    def vertices(self, time: Any = START) -> np.ndarray:
        """(V, 3) in the scene's space, as UsdSkel's queries compute them."""
        points = Vt.Vec3fArray(self.mesh.GetPointsAttr().Get(time))
        space = self.mesh
        if self.skeleton:
            space = self.skeleton
            root, cache = UsdSkel.Root(self.only("SkelRoot")), UsdSkel.Cache()
            cache.Populate(root, Usd.PrimDefaultPredicate)
            skeleton = cache.GetSkelQuery(self.skeleton)
            skinning = cache.GetSkinningQuery(self.mesh.GetPrim())
            if skinning.HasBlendShapes():
                weights = skeleton.GetAnimQuery().ComputeBlendShapeWeights(time)
                self._morph(skinning.GetBlendShapeMapper().Remap(weights), points)
            if skinning.HasJointInfluences():
                moved = skeleton.ComputeSkinningTransforms(time)
                assert skinning.ComputeSkinnedPoints(moved, points, time)
        return self.world(np.array(points, float), space, time)

    def _morph(self, weights: Any, points: Any) -> None:
        query = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(self.mesh))
        shares, shapes, parts = query.ComputeSubShapeWeights(weights)
        which, offsets = query.ComputeBlendShapePointIndices(), query.ComputeSubShapePointOffsets()
        assert query.ComputeDeformedPoints(shares, shapes, parts, which, offsets, points)

    def baked(self) -> list[np.ndarray]:
        """(V, 3) at every key, by the tool that turns UsdSkel into plain meshes."""
        copy = Usd.Stage.Open(self.stage.Flatten())
        assert UsdSkel.BakeSkinning(copy.TraverseAll())
        mesh = UsdGeom.Mesh(copy.GetPrimAtPath(self.mesh.GetPath()))
        points = mesh.GetPointsAttr()
        times = points.GetTimeSamples()
        return [self.world(np.array(points.Get(time), float), mesh, time) for time in times]

    def world(self, points: np.ndarray, space: Any, time: Any) -> np.ndarray:
        """(n, 3) points of a prim's own space in the scene's."""
        matrix = np.array(UsdGeom.Xformable(space).ComputeLocalToWorldTransform(time))
        return points @ matrix[:3, :3] + matrix[3, :3]

    def weights(self, time: Any = START) -> dict[str, float]:
        """Of the blend shapes, by name."""
        assert self.animation is not None
        names = self.animation.GetBlendShapesAttr().Get()
        return dict(zip(names, self.animation.GetBlendShapeWeightsAttr().Get(time), strict=True))

    def shader(self, name: str) -> Any:
        """Of the first part's material: its surface, or what its colour comes from."""
        (part, *_) = UsdGeom.Subset.GetAllGeomSubsets(self.mesh)
        material, _ = UsdShade.MaterialBindingAPI(part.GetPrim()).ComputeBoundMaterial()
        surface = material.ComputeSurfaceSource()[0]
        if surface.GetPrim().GetName() == name:
            return surface
        ((colour,), _) = surface.GetInput("diffuseColor").GetConnectedSources()
        found = UsdShade.Shader(colour.source.GetPrim())
        assert found.GetPrim().GetName() == name
        return found

    def complaints(self) -> list[str]:
        """All that USD's validators find wrong."""
        every = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
        found = UsdValidation.ValidationContext(every).Validate(self.stage)
        return [error.GetMessage() for error in found]
