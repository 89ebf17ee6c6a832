"""`Source` → a stage of USD, with UsdSkel for what moves.

    /face                       component, metres, y up
        materials/              UsdPreviewSurface
        head_pose, …            a transform for each node
            head                SkelRoot, where the joints are
                skeleton        as bound: a neutral face
                animation       joints and weights
                head_mesh       with its blend shapes and parts below it
        camera

What the file shows before it plays, or without an animation, are the attributes' plain values.
"""

# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# pxr belongs to the extra `usd`, and fills its modules when they are imported.

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from pxr import Gf, Kind, Sdf, Usd, UsdGeom, UsdShade, UsdSkel, Vt

from pipeline.outputs.usd.source import Material, Place, Source, Track
from pipeline.outputs.usd.time_codes import time_codes

FAR = 1000.0  # metres, of a camera that sees without end
FILM = 0.36  # width of a camera's sensor in tenths of a metre, as USD has it: 36 mm


class Names:
    """Prims' names below one prim: identifiers of ASCII, which every host takes, each another."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def of(self, name: str) -> str:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
        plain = f"_{plain}" if plain[0].isdigit() else plain
        found, k = plain, 2
        while found in self._taken:
            found, k = f"{plain}_{k}", k + 1
        self._taken.add(found)
        return found


def stage_of(source: Source, name: str) -> tuple[Usd.Stage, dict[str, bytes]]:
    """The stage, in memory, and the pictures that have to lie beside it, by their names.

    Args:
        name: of the file, without its suffix.
    """
    return _Writer(source, name).stage_and_pictures()


class _Writer:
    def __init__(self, source: Source, name: str) -> None:
        self.source, self.name = source, name
        self.rate, self.codes = time_codes(source.seconds)
        self.stage = Usd.Stage.CreateInMemory()
        self.pictures: dict[str, bytes] = {}
        self.root = Sdf.Path.absoluteRootPath.AppendChild(Names().of(name))
        self.names: dict[Sdf.Path, Names] = {self.root: Names("materials")}

    def stage_and_pictures(self) -> tuple[Usd.Stage, dict[str, bytes]]:
        stage, source = self.stage, self.source
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, UsdGeom.LinearUnits.meters)
        if len(self.codes):
            stage.SetTimeCodesPerSecond(self.rate)
            stage.SetFramesPerSecond(self.rate)
            stage.SetStartTimeCode(float(self.codes[0]))
            stage.SetEndTimeCode(float(self.codes[-1]))
        root = UsdGeom.Xform.Define(stage, self.root).GetPrim()
        stage.SetDefaultPrim(root)
        Usd.ModelAPI(root).SetKind(Kind.Tokens.component)
        materials = self._materials()
        paths: dict[int | None, Sdf.Path] = {None: self.root}
        # A skinned mesh stands where its joints are, whatever its node says.
        skinned = {source.holder} if source.joints else set()
        empty = skinned - {place.parent for place in source.places.values()}
        for number, place in source.places.items():
            if number not in source.joints and number not in empty:
                paths[number] = self._place(place, paths[place.parent])
        top = source.places[source.joints[0]].parent if source.joints else source.holder
        self._person(paths[top], materials)
        return stage, self.pictures

    def _child(self, above: Sdf.Path, name: str) -> Sdf.Path:
        return above.AppendChild(self.names.setdefault(above, Names()).of(name))

    def _place(self, place: Place, above: Sdf.Path) -> Sdf.Path:
        """Defines a node."""
        path = self._child(above, place.name)
        kind = UsdGeom.Xform if place.lens is None else UsdGeom.Camera
        defined = kind.Define(self.stage, path)
        moved = place.tracks
        self._set(defined.AddTranslateOp().GetAttr(), moved["translation"], lambda row: Gf.Vec3d(*row))
        self._set(defined.AddOrientOp().GetAttr(), moved["rotation"], lambda row: _quaternions(row[None])[0])
        self._set(defined.AddScaleOp().GetAttr(), moved["scale"], lambda row: Gf.Vec3f(*row))
        if place.lens is not None:
            lens = place.lens
            seen = Gf.Camera()
            seen.SetPerspectiveFromAspectRatioAndFieldOfView(
                lens.aspect, math.degrees(lens.fov), Gf.Camera.FOVVertical, FILM
            )
            camera = UsdGeom.Camera(defined)
            camera.CreateHorizontalApertureAttr(seen.horizontalAperture)
            camera.CreateVerticalApertureAttr(seen.verticalAperture)
            camera.CreateFocalLengthAttr(seen.focalLength)
            camera.CreateClippingRangeAttr(Gf.Vec2f(lens.near, lens.far or FAR))
        return path

    def _person(self, above: Sdf.Path, materials: list[UsdShade.Material]) -> None:
        """Defines the mesh, and what moves it."""
        source, mesh = self.source, self.source.mesh
        if not source.joints and not mesh.targets:
            self._mesh(self._child(above, mesh.node), materials)
            return
        path = self._child(above, mesh.name)
        root = UsdSkel.Root.Define(self.stage, path)
        skeleton = UsdSkel.Skeleton.Define(self.stage, path.AppendChild("skeleton"))
        animation = UsdSkel.Animation.Define(self.stage, path.AppendChild("animation"))
        binding = UsdSkel.BindingAPI.Apply(skeleton.GetPrim())
        binding.CreateAnimationSourceRel().SetTargets([animation.GetPath()])
        self._joints(skeleton, animation)
        self.names[path] = Names("skeleton", "animation")
        drawn = self._mesh(self._child(path, mesh.node), materials)
        self._bind(drawn, skeleton)
        if mesh.targets:
            animation.CreateBlendShapesAttr([target.name for target in mesh.targets])
            weights = animation.CreateBlendShapeWeightsAttr()
            self._animate(weights, source.weights, lambda row: Vt.FloatArray.FromNumpy(_single(row)))
        extent = UsdGeom.Boundable.ComputeExtentFromPlugins(root, Usd.TimeCode.Default())
        root.CreateExtentAttr(extent)

    def _joints(self, skeleton: UsdSkel.Skeleton, animation: UsdSkel.Animation) -> None:
        source = self.source
        if not source.joints:  # blend shapes want a skeleton, and a skeleton wants a joint
            still = Vt.Matrix4dArray([Gf.Matrix4d(1.0)])
            skeleton.CreateJointsAttr(["root"])
            skeleton.CreateBindTransformsAttr(still)
            skeleton.CreateRestTransformsAttr(still)
            return
        names, paths = Names(), {}
        for joint in source.joints:
            place = source.places[joint]
            above = paths.get(place.parent)
            own = names.of(place.name)
            paths[joint] = f"{above}/{own}" if above else own
        joints = list(paths.values())
        skeleton.CreateJointsAttr(joints)
        skeleton.CreateJointNamesAttr([source.places[joint].name for joint in source.joints])
        skeleton.CreateBindTransformsAttr(_matrices(source.bound))
        skeleton.CreateRestTransformsAttr(_matrices(self._rest()))
        animation.CreateJointsAttr(joints)
        for attribute, path, numbers in (
            (animation.CreateTranslationsAttr(), "translation", _vectors),
            (animation.CreateRotationsAttr(), "rotation", _quaternions),
            (animation.CreateScalesAttr(), "scale", _halves),
        ):
            tracks = [source.places[joint].tracks[path] for joint in source.joints]
            self._animate(attribute, _side_by_side(tracks), numbers)

    def _rest(self) -> np.ndarray:
        """(J, 4, 4) of the joints, from their parents, as they were bound."""
        source = self.source
        rest = []
        for joint, bound in zip(source.joints, source.bound, strict=True):
            parent = source.places[joint].parent
            above = source.bound[source.joints.index(parent)] if parent in source.joints else np.eye(4)
            rest.append(np.linalg.inv(above) @ bound)
        return np.array(rest)

    def _mesh(self, path: Sdf.Path, materials: list[UsdShade.Material]) -> UsdGeom.Mesh:
        mesh, drawn = self.source.mesh, UsdGeom.Mesh.Define(self.stage, path)
        points = _vectors(mesh.points)
        drawn.CreatePointsAttr(points)
        drawn.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
        drawn.CreateFaceVertexCountsAttr(_integers(np.full(len(mesh.triangles), 3)))
        drawn.CreateFaceVertexIndicesAttr(_integers(mesh.triangles))
        drawn.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
        if mesh.normals is not None:
            drawn.CreateNormalsAttr(_vectors(mesh.normals))
            drawn.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
        if mesh.uv is not None:
            kind, rate = Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
            uv = UsdGeom.PrimvarsAPI(drawn).CreatePrimvar("st", kind, rate)
            uv.Set(Vt.Vec2fArray.FromNumpy(_single(mesh.uv)))
            uv.SetIndices(_integers(mesh.uv_triangles))
        names = self.names[path] = Names()
        for piece in mesh.pieces:
            part = UsdGeom.Subset.CreateGeomSubset(
                drawn,
                names.of(piece.name),
                UsdGeom.Tokens.face,
                _integers(piece.triangles),
                UsdShade.Tokens.materialBind,
            )
            if piece.material is not None:
                UsdShade.MaterialBindingAPI.Apply(part.GetPrim()).Bind(materials[piece.material])
        UsdShade.MaterialBindingAPI(drawn).SetMaterialBindSubsetsFamilyType(UsdGeom.Tokens.partition)
        return drawn

    def _bind(self, drawn: UsdGeom.Mesh, skeleton: UsdSkel.Skeleton) -> None:
        mesh, path = self.source.mesh, drawn.GetPath()
        binding = UsdSkel.BindingAPI.Apply(drawn.GetPrim())
        binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
        if self.source.joints:
            width = mesh.slots.shape[1]
            binding.CreateJointIndicesPrimvar(False, width).Set(_integers(mesh.slots))
            binding.CreateJointWeightsPrimvar(False, width).Set(Vt.FloatArray.FromNumpy(_single(mesh.shares)))
            binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
        shapes = []
        for target in mesh.targets:
            shape = UsdSkel.BlendShape.Define(self.stage, self._child(path, target.name))
            shape.CreateOffsetsAttr(_vectors(target.offsets))
            shape.CreatePointIndicesAttr(_integers(target.vertices))
            shapes.append(shape.GetPath())
        if shapes:
            binding.CreateBlendShapesAttr([target.name for target in mesh.targets])
            binding.CreateBlendShapeTargetsRel().SetTargets(shapes)

    def _materials(self) -> list[UsdShade.Material]:
        if not self.source.materials:
            return []
        folder = UsdGeom.Scope.Define(self.stage, self.root.AppendChild("materials")).GetPath()
        return [self._material(self._child(folder, each.name), each) for each in self.source.materials]

    def _material(self, path: Sdf.Path, look: Material) -> UsdShade.Material:
        material = UsdShade.Material.Define(self.stage, path)
        surface = self._shader(path, "surface", "UsdPreviewSurface")
        surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(look.roughness)
        surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(look.metallic)
        colour = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
        colour.Set(Gf.Vec3f(*look.colour))
        material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
        if look.picture is None:
            return material
        file = f"{self.name}_{path.name}{look.suffix}"
        self.pictures[file] = look.picture
        reader = self._shader(path, "texture_coordinates", "UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        where = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        texture = self._shader(path, "albedo", "UsdUVTexture")
        texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(f"./{file}")
        texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(where)
        texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        for wrap in ("wrapS", "wrapT"):
            texture.CreateInput(wrap, Sdf.ValueTypeNames.Token).Set("repeat")
        texture.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(*look.colour, 1.0))
        colour.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
        return material

    def _shader(self, material: Sdf.Path, name: str, kind: str) -> UsdShade.Shader:
        shader = UsdShade.Shader.Define(self.stage, material.AppendChild(name))
        shader.CreateIdAttr(kind)
        return shader

    def _set(self, attribute: Usd.Attribute, track: Track, value: Callable[[np.ndarray], Any]) -> None:
        """The value of a track's rows: as the file opens, and at its keys."""
        attribute.Set(value(track.still))
        for code, row in zip(self.codes, track.keys if track.keys is not None else (), strict=False):
            attribute.Set(value(row), Usd.TimeCode(code))

    def _animate(self, attribute: Usd.Attribute, track: Track, value: Callable[[np.ndarray], Any]) -> None:
        """As `_set`, with a sample even of what stays: Blender takes nothing else from a SkelAnimation."""
        self._set(attribute, track, value)
        if track.keys is None:
            attribute.Set(value(track.still), Usd.TimeCode(self.codes[0] if len(self.codes) else 0.0))


def _side_by_side(tracks: list[Track]) -> Track:
    """Tracks of one width as one of `(J, width)`."""
    still = np.stack([track.still for track in tracks])
    moving = [track.keys for track in tracks if track.keys is not None]
    if not moving:
        return Track(still)
    keys = [np.broadcast_to(t.still, moving[0].shape) if t.keys is None else t.keys for t in tracks]
    return Track(still, np.stack(keys, 1))


def _single(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def _vectors(rows: np.ndarray) -> Vt.Vec3fArray:
    return Vt.Vec3fArray.FromNumpy(_single(rows))


def _halves(rows: np.ndarray) -> Vt.Vec3hArray:
    return Vt.Vec3hArray.FromNumpy(np.ascontiguousarray(rows, np.float16))


def _quaternions(rows: np.ndarray) -> Vt.QuatfArray:
    """From x y z w, which is how they lie in memory here, too."""
    return Vt.QuatfArray.FromNumpy(_single(rows))


def _integers(array: np.ndarray) -> Vt.IntArray:
    return Vt.IntArray.FromNumpy(np.ascontiguousarray(array.reshape(-1), np.int32))


def _matrices(columns: np.ndarray) -> Vt.Matrix4dArray:
    """From matrices that act on columns: USD's act on rows."""
    return Vt.Matrix4dArray.FromNumpy(np.ascontiguousarray(columns.swapaxes(1, 2), np.float64))
