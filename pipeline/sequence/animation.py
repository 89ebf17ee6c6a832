"""sequence.glb: a person's rig with the motion of a sequence, a key a frame; it opens with the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pygltflib import Animation, AnimationChannel, AnimationChannelTarget, AnimationSampler
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.outputs.person_glb import Lens, PersonWriter
from pipeline.rigs.texture import albedo_of


@dataclass(frozen=True)
class Performance:
    """Controls of a rig over time.

    Attributes:
        seconds: `(T,)` of the keys, rising.
        controls: `(T, K)` of the rig.
    """

    seconds: Tensor
    controls: Tensor
    lens: Lens


def export_motion(
    rig: Rig,
    motion: Performance,
    identity: Mapping[str, float],
    colours: Mapping[str, Sequence[float]] | None = None,
) -> bytes:
    """The bytes of a .glb.

    Args:
        identity: of the person, which goes into the mesh.
        colours: of the person, see `albedo_of`.
    """
    return b"".join(_MotionWriter(rig, motion, identity, albedo_of(rig, colours)).gltf().save_to_bytes())


class _MotionWriter(PersonWriter):
    def __init__(self, rig: Rig, motion: Performance, identity: Mapping[str, float], albedo: Tensor) -> None:
        super().__init__(rig, identity, motion.lens, albedo, motion.controls)
        self.motion = motion

    def animations(self) -> list[Animation]:
        times = self.buffer.add(self.motion.seconds.numpy().astype(np.float32), bounds=True)
        animation = Animation(name="sequence")
        for track in self.tracks:
            values = track.values.reshape(-1, 1) if track.path == "weights" else track.values
            output = self.buffer.add(values.numpy().astype(np.float32))
            sampler = AnimationSampler(input=times, output=output, interpolation="LINEAR")
            target = AnimationChannelTarget(node=track.node, path=track.path)
            animation.channels.append(AnimationChannel(sampler=len(animation.samplers), target=target))
            animation.samplers.append(sampler)
        return [animation]


def performance_of(rig: Rig, documents: Sequence[tuple[int, Mapping[str, Any]]], fps: float) -> Performance:
    """From the fit.json documents of frames, and their places."""
    rows = []
    for _, document in documents:
        pose = [*document["pose"]["rotation_vector_rad"], *document["pose"]["translation_m"]]
        names = rig.controls.names[rig.controls.groups["pose"]]
        rows.append(rig.controls.pack(document["controls"] | dict(zip(names, pose, strict=True))))
    camera = next(document["camera"] for _, document in documents)
    return Performance(
        seconds=torch.tensor([place / fps for place, _ in documents]),
        controls=torch.stack(rows),
        lens=Lens.of_photo(camera["focal_px"], camera["principal_point_px"]),
    )
