"""A person before a photo's camera, as glTF: what face.glb and sequence.glb have in common.

The identity is in the mesh, and morph targets carry the expressions' names. The jaw and the eyes are joints
that turn; the head's pose is that of the node above them all, as the camera saw it, and the camera stands at
the origin.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import roma
import torch
from pygltflib import GLTF2, Animation, Camera, Node, Perspective
from torch import Tensor

from pipeline.deform.correctives import corrective_weights, pose_features
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import of_subject
from pipeline.rigs.gltf_export import RigWriter

HEAD = "head pose"  # name of the node
NEAREST = 0.01  # metres, of the camera


@dataclass(frozen=True)
class Lens:
    """A photo's camera.

    Attributes:
        fov: its vertical angle of view, radians.
        aspect: its width by its height.
    """

    fov: float
    aspect: float

    @classmethod
    def of_photo(cls, focal_px: float, principal_point_px: tuple[float, float]) -> "Lens":
        """A camera that looks at the middle of its photo."""
        x, y = principal_point_px
        return cls(2 * math.atan(y / focal_px), x / y)


@dataclass(frozen=True)
class Track:
    """What becomes of a node: `path` is glTF's, values are `(T, width)`, a row for each controls vector."""

    node: int
    path: str
    values: Tensor


class PersonWriter(RigWriter):
    """The document of a person, which opens with the first of some controls.

    Args:
        identity: of the person; names that the rig does not have are not looked at.
        albedo: `(H, W, 3)` uint8 sRGB.
        x: `(T, K)` controls of the rig.

    Attributes:
        x: `(T, P)` float32 those that the person still has: expression and pose.
        tracks: what becomes of the nodes.
    """

    picture_format = "JPEG"  # a tenth of PNG's time and size, and what photos are

    def __init__(
        self, rig: Rig, identity: Mapping[str, float], lens: Lens, albedo: Tensor, x: Tensor
    ) -> None:
        person = of_subject(rig, identity)
        super().__init__(person, albedo, {})
        self.lens = lens
        self.deform = Deformer(person)
        self.x = x[:, [rig.controls.index(name) for name in person.controls.names]].float()
        self.tracks = self._tracks()
        self.weights = next(track.values[0].tolist() for track in self.tracks if track.path == "weights")

    def animations(self) -> list[Animation]:
        return []

    def gltf(self) -> GLTF2:
        document = super().gltf()
        assert document.nodes is not None and document.scenes is not None
        mesh = len(document.nodes) - 1
        roots = [node for node in document.scenes[0].nodes or [] if node != mesh]
        # A skinned mesh stands where its joints are, whatever is above it.
        document.nodes.append(Node(name=HEAD, children=roots or [mesh]))
        document.nodes.append(Node(name="camera", camera=0))
        document.scenes[0].nodes = [mesh + 1, mesh + 2, *([mesh] if roots else [])]
        seen = Perspective(yfov=self.lens.fov, aspectRatio=self.lens.aspect, znear=NEAREST)
        document.cameras = [Camera(type="perspective", perspective=seen)]
        for track in self.tracks:
            if track.path != "weights":
                setattr(document.nodes[track.node], track.path, track.values[0].tolist())
        return document

    @torch.no_grad()
    def _tracks(self) -> list[Track]:
        """Weights of all morph targets, turns of joints, and the head's pose."""
        rig, mesh, x = self.rig, len(self.rig.joint_names), self.x
        local = self.deform.local_rotations(x)  # [T, J, 3, 3]
        expressions = x[:, : len(rig.expression_names)]
        parts = [
            expressions,
            corrective_weights(expressions, rig.corrective_controls, rig.corrective_ramps),
            pose_features(local, rig.pose_corrective_joints),
        ]
        found = [Track(mesh, "weights", torch.cat(parts, -1))]
        turning = rig.drivers.any(-1).any(0).nonzero().flatten().tolist()
        found += [Track(joint, "rotation", _quaternions(local[:, joint])) for joint in turning]
        if rig.joint_expression_deltas.any():
            found += self._shifts(x, local)
        pose = x[:, rig.controls.groups["pose"]]
        return [
            *found,
            Track(mesh + 1, "rotation", _quaternions(roma.rotvec_to_rotmat(pose[:, :3]))),
            Track(mesh + 1, "translation", pose[:, 3:]),
        ]

    def _shifts(self, x: Tensor, local: Tensor) -> list[Track]:
        """Where joints go that expressions move: what moves with them is the centre of their turn, not flesh.

        A joint carries flesh from where it was bound, so it stands where the point of its binding has gone.
        """
        rig = self.rig
        turn, shift = self.deform.joint_transforms(x, local)
        places = (turn @ rig.joint_rest[..., None])[..., 0] + shift  # [T, J, 3]
        found = []
        for joint, parent in enumerate(rig.joint_parents.tolist()):
            place = places[:, joint]
            if parent >= 0:
                place = ((place - places[:, parent])[:, None] @ turn[:, parent])[:, 0]
            found.append(Track(joint, "translation", place))
        return found


def _quaternions(rotations: Tensor) -> Tensor:
    """`(T, 3, 3)` → `(T, 4)`, x y z w, neighbours in one hemisphere: players take the short way."""
    found = roma.rotmat_to_unitquat(rotations)
    flips = (found[1:] * found[:-1]).sum(-1) < 0
    sign = torch.cat([torch.zeros(1, dtype=torch.int64), flips.to(torch.int64).cumsum(0)])
    return found * (1 - 2 * (sign % 2))[:, None]
