"""Shapes that controls bring in together or halfway: combination correctives, in-betweens, pose correctives.

A corrective c is weighted by a product of ramps, one for each control that it listens to:

    weight_c(x) = Π_f ramp(x_f; start_f, peak_f, end_f)

A ramp is 0 up to `start`, 1 at `peak` and 0 from `end` on, with straight lines between; where `end` is
infinite it keeps rising beyond the peak. So (0, 1, ∞) is the control itself: of two such controls the product
is the usual combination corrective. (0, 0.5, 1) is an in-between sculpted for half strength.
"""

import torch
from torch import Tensor


def corrective_weights(x: Tensor, controls: Tensor, ramps: Tensor) -> Tensor:
    """The weights of correctives.

    At a corner of a ramp the derivative is that of the side with the larger x: at rest, into the range.

    Args:
        x: (*B, E) expression controls.
        controls: (C, F) int64 which of them each factor listens to; −1 is no factor.
        ramps: (C, F, 3) start, peak, end.

    Returns:
        (*B, C).
    """
    return _factors(x, controls, ramps)[0].prod(-1)


def corrective_slopes(x: Tensor, controls: Tensor, ramps: Tensor) -> Tensor:
    """∂weight_c/∂x_k, (*B, C, E): by the product rule, the slope of a factor times the others."""
    factors, slopes = _factors(x, controls, ramps)
    found = x.new_zeros(*x.shape[:-1], len(controls), x.shape[-1])
    for f in range(controls.shape[1]):
        others = torch.cat([factors[..., :f], factors[..., f + 1 :]], -1).prod(-1)
        listens = torch.nn.functional.one_hot(controls[:, f].clamp(min=0), x.shape[-1]).to(x)  # [C, E]
        found = found + (slopes[..., f] * others)[..., None] * listens
    return found


def _factors(x: Tensor, controls: Tensor, ramps: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes of the ramps, (*B, C, F) each."""
    start, peak, end = ramps.unbind(-1)
    value = x[..., controls.clamp(min=0)]  # [*B, C, F]
    rising = (value >= start) & ((value < peak) | end.isinf())
    falling = (value >= peak) & (value < end) & ~end.isinf()
    up, down = 1 / (peak - start), -1 / (torch.where(end.isinf(), peak + 1, end) - peak)
    none = torch.zeros_like(value)
    ramp = torch.where(rising, (value - start) * up, torch.where(falling, 1 + (value - peak) * down, none))
    slope = torch.where(rising, up, torch.where(falling, down, none))
    absent = controls < 0
    return torch.where(absent, torch.ones_like(ramp), ramp), torch.where(absent, none, slope)


def pose_features(rotations: Tensor, joints: Tensor) -> Tensor:
    """What pose correctives are linear in: the entries of R_j − I (Loper et al., "SMPL", 2015, eq. 9).

    Args:
        rotations: (*B, J, 3, 3) of each joint against its parent.
        joints: (Q,) int64 the joints that have correctives.

    Returns:
        (*B, 9 Q), row by row.
    """
    chosen = rotations[..., joints, :, :]
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (chosen - identity).flatten(-3)
