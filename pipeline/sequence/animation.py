"""sequence.glb: the person's rig with the motion of a sequence, a key a frame.

Morph targets carry the expressions' names. The jaw and the eyes are joints that turn; the head's pose is that
of the node above them all, as the camera saw it, and the camera stands at the origin.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import roma
import torch
from pygltflib import (
    GLTF2,
    Animation,
    AnimationChannel,
    AnimationChannelTarget,
    AnimationSampler,
    Camera,
    Node,
    Perspective,
)
from torch import Tensor

from pipeline.deform.correctives import corrective_weights, pose_features
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import of_subject
from pipeline.rigs.gltf_export import _Writer
from pipeline.rigs.look import albedo_of

HEAD = "head pose"  # name of the node
NEAREST = 0.01  # metres, of the camera


@dataclass(frozen=True)
class Performance:
    """Controls of a rig over time.

    Attributes:
        seconds: `(T,)` of the keys, rising.
        controls: `(T, K)` of the rig.
        fov: the camera's vertical angle of view, radians.
        aspect: its width by its height.
    """

    seconds: Tensor
    controls: Tensor
    fov: float
    aspect: float


def export_motion(rig: Rig, motion: Performance, identity: Mapping[str, float]) -> bytes:
    """The bytes of a .glb.

    Args:
        identity: of the person, which goes into the mesh.
    """
    person = of_subject(rig, identity)
    kept = [rig.controls.index(name) for name in person.controls.names]
    return b"".join(_MotionWriter(person, motion, motion.controls[:, kept].float()).gltf().save_to_bytes())


class _MotionWriter(_Writer):
    def __init__(self, rig: Rig, motion: Performance, x: Tensor) -> None:
        super().__init__(rig, albedo_of(rig), {})
        self.motion, self.x = motion, x

    def gltf(self) -> GLTF2:
        document = super().gltf()
        assert document.nodes is not None and document.scenes is not None
        mesh = len(document.nodes) - 1
        roots = [node for node in document.scenes[0].nodes or [] if node != mesh]
        # A skinned mesh stands where its joints are, whatever is above it.
        document.nodes.append(Node(name=HEAD, children=roots or [mesh]))
        document.nodes.append(Node(name="camera", camera=0))
        document.scenes[0].nodes = [mesh + 1, mesh + 2, *([mesh] if roots else [])]
        document.cameras = [
            Camera(
                type="perspective",
                perspective=Perspective(yfov=self.motion.fov, aspectRatio=self.motion.aspect, znear=NEAREST),
            )
        ]
        return document

    def _animation(self) -> Animation:
        """Weights of all morph targets, turns of joints, and the head's pose: a key a frame."""
        rig, x = self.rig, self.x
        times = self.buffer.add(self.motion.seconds.numpy().astype(np.float32), bounds=True)
        joints = len(rig.joint_names)
        deform = Deformer(rig)
        local = deform.local_rotations(x)  # [T, J, 3, 3]
        expressions = x[:, : len(rig.expression_names)]
        weights = torch.cat(
            [
                expressions,
                corrective_weights(expressions, rig.corrective_controls, rig.corrective_ramps),
                pose_features(local, rig.pose_corrective_joints),
            ],
            -1,
        )
        pose = rig.controls.groups["pose"]
        tracks: list[tuple[int, str, Tensor]] = [(joints, "weights", weights.reshape(-1, 1))]
        turning = rig.drivers.any(-1).any(0).nonzero().flatten().tolist()
        tracks += [(joint, "rotation", _quaternions(local[:, joint])) for joint in turning]
        if rig.joint_expression_deltas.any():
            places, parents = deform.joints(x), rig.joint_parents
            shifts = places - torch.where(parents[:, None] < 0, 0, places[:, parents.clamp(min=0)])
            tracks += [(joint, "translation", shifts[:, joint]) for joint in range(joints)]
        tracks += [
            (joints + 1, "rotation", _quaternions(roma.rotvec_to_rotmat(x[:, pose][:, :3]))),
            (joints + 1, "translation", x[:, pose][:, 3:]),
        ]
        animation = Animation(name="sequence")
        for node, path, values in tracks:
            output = self.buffer.add(values.numpy().astype(np.float32))
            sampler = AnimationSampler(input=times, output=output, interpolation="LINEAR")
            target = AnimationChannelTarget(node=node, path=path)
            animation.channels.append(AnimationChannel(sampler=len(animation.samplers), target=target))
            animation.samplers.append(sampler)
        return animation


def _quaternions(rotations: Tensor) -> Tensor:
    """`(T, 3, 3)` → `(T, 4)`, x y z w, neighbours in one hemisphere: players take the short way."""
    found = roma.rotmat_to_unitquat(rotations)
    flips = (found[1:] * found[:-1]).sum(-1) < 0
    sign = torch.cat([torch.zeros(1, dtype=torch.int64), flips.to(torch.int64).cumsum(0)])
    return found * (1 - 2 * (sign % 2))[:, None]


def performance_of(rig: Rig, documents: Sequence[tuple[int, Mapping[str, Any]]], fps: float) -> Performance:
    """From the fit.json documents of frames, and their places."""
    rows = []
    for _, document in documents:
        pose = [*document["pose"]["rotation_vector_rad"], *document["pose"]["translation_m"]]
        names = rig.controls.names[rig.controls.groups["pose"]]
        rows.append(rig.controls.pack(document["controls"] | dict(zip(names, pose, strict=True))))
    camera = next(document["camera"] for _, document in documents)
    width, height = (2 * middle for middle in camera["principal_point_px"])
    return Performance(
        seconds=torch.tensor([place / fps for place, _ in documents]),
        controls=torch.stack(rows),
        fov=2 * math.atan(height / 2 / camera["focal_px"]),
        aspect=width / height,
    )
