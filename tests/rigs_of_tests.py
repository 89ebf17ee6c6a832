"""Small rigs for the tests of deformers and importers."""

from dataclasses import replace

import torch

from pipeline.deform.rig import Rig


def with_correctives(rig: Rig, skinning: str = "linear") -> Rig:
    """The rig of two or more expressions, with a combination, an in-between and a jaw's pose correctives."""
    g = torch.Generator().manual_seed(11)
    count = len(rig.rest)
    itself, halfway = [0.0, 1.0, float("inf")], [0.0, 0.5, 1.0]
    ramps = torch.tensor([[itself, itself], [halfway, itself]])
    return replace(
        rig,
        joint_expression_deltas=0.1 * torch.randn(2, 2, 3, generator=g, dtype=rig.rest.dtype),
        corrective_names=("jawOpen+smile", "jawOpen50"),
        corrective_deltas=0.1 * torch.randn(2, count, 3, generator=g, dtype=rig.rest.dtype),
        corrective_controls=torch.tensor([[0, 1], [0, -1]]),
        corrective_ramps=ramps.to(rig.rest.dtype),
        pose_corrective_joints=torch.tensor([1]),
        pose_corrective_deltas=0.1 * torch.randn(9, count, 3, generator=g, dtype=rig.rest.dtype),
        skinning=skinning,
    ).validated()


def renamed(rig: Rig, split: bool = False, anonymous: tuple[str, ...] = ()) -> Rig:
    """The rig with browInnerUp in two halves, or with some expressions under names that mean nothing."""
    names, deltas, drivers = list(rig.expression_names), rig.expression_deltas, rig.drivers
    names = [f"shape of {name}" if name in anonymous else name for name in names]
    if split:
        k, left = names.index("browInnerUp"), (rig.rest[:, :1] > 0).to(rig.rest)
        halves = torch.stack([deltas[k] * left, deltas[k] * (1 - left)])
        names[k : k + 1] = ["browInnerUpLeft", "browInnerUpRight"]
        deltas = torch.cat([deltas[:k], halves, deltas[k + 1 :]])
        drivers = torch.cat([drivers[:k], drivers[k : k + 1], drivers[k:]])
    return replace(rig, expression_names=tuple(names), expression_deltas=deltas, drivers=drivers).validated()
