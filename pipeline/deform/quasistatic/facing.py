"""Two sheets of flesh that face each other, each a smooth height field to the other: lip on lip.

The height of a point x over a sheet of samples y_j is a mean of its heights over their tangent planes,

    f = Σ_j w_j n_j · d_j,   d_j = x − y_j,   w_j ∝ a_j exp(−κ |P d_j|²/2),   κ = 1/`WIDTH_M`²

(a partition of unity: Ohtake et al., "Multi-level partition of unity implicits", 2003), with P the projection
along the direction `up` from sheet to sheet, a_j areas and n_j given normals, scaled to n_j · up = 1.
f is smooth in x and in the sheet, so that one energy is felt by both; and as P looks along `up`, a point deep
inside of the other lip still knows which way is out. With q_j = n_j · d_j − f and c_j = n_j − κ q_j P d_j:

    ∂f/∂d_j = w_j c_j,
    ∂²f/∂d_j∂d_k = κ w_j w_k (c_j P d_kᵀ + P d_j c_kᵀ) − δ_jk κ w_j (c_j P d_jᵀ + P d_j n_jᵀ + q_j P).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

WIDTH_M = 6e-4  # 1/√κ: near the distance between samples
_SPLIT = np.array([[4, 1, 1], [1, 4, 1], [1, 1, 4], [2, 2, 2]]) / 6  # middles of a triangle's four quarters


class Sheet(NamedTuple):
    """Attributes:
    nodes: (N,) free nodes.
    corners: (J, 3) which of `nodes` the samples lie between.
    weights: (J, 3) barycentric.
    area: (J,) of the samples.
    stiffness: (N,) N/m of the nodes' contacts with the other sheet.
    """

    nodes: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    area: np.ndarray
    stiffness: np.ndarray

    @classmethod
    def sampled(
        cls, nodes: np.ndarray, triangles: np.ndarray, area: np.ndarray, stiffness: np.ndarray
    ) -> "Sheet":
        """Four samples a triangle: triangles (F, 3) index `nodes`, areas are (F,)."""
        count = len(_SPLIT)
        return cls(
            nodes,
            np.repeat(triangles, count, axis=0),
            np.tile(_SPLIT, (len(triangles), 1)),
            np.repeat(area / count, count),
            stiffness,
        )

    def sample(self, values: Tensor) -> Tensor:
        """(*B, N, 3) of the nodes → (*B, J, 3) of the samples."""
        corners = values[..., torch.from_numpy(self.corners), :]
        return (torch.from_numpy(self.weights)[:, :, None] * corners).sum(-2)

    def gather(self, values: Tensor) -> Tensor:
        """The transpose of `sample`."""
        shared = (torch.from_numpy(self.weights)[:, :, None] * values[..., :, None, :]).flatten(-3, -2)
        out = values.new_zeros(*values.shape[:-2], len(self.nodes), 3)
        return out.index_add(-2, torch.from_numpy(self.corners.ravel()), shared)


class Facing(NamedTuple):
    """Attributes:
    upper, lower: the sheets; Z is how many nodes they have together, J how many samples, upper ones first.
    up: (3,) unit vector from the lower to the upper.
    """

    upper: Sheet
    lower: Sheet
    up: np.ndarray

    @property
    def nodes(self) -> np.ndarray:
        """(Z,)."""
        return np.concatenate([self.upper.nodes, self.lower.nodes])

    @property
    def stiffness(self) -> np.ndarray:
        """(Z,)."""
        return np.concatenate([self.upper.stiffness, self.lower.stiffness])


class _Seen(NamedTuple):
    """Points (I) of one sheet over the samples (J) of the other: w, q (*B, I, J), P d and c (*B, I, J, 3)."""

    f: Tensor
    w: Tensor
    q: Tensor
    flat: Tensor
    c: Tensor


def sheet_gap(x: Tensor, normal: Tensor, facing: Facing) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Heights (*B, Z) of the sheets' nodes over each other, from free nodes (*B, free, 3).

    Args:
        normal: (*B, J, 3) n_j of the samples, away from their flesh: n · up is −1 on the upper sheet and 1 on
            the lower.

    Returns:
        The heights, and the function that sums weights (*B, Z) times the heights' slopes by the Z nodes:
        (*B, Z, 3).
    """
    upper, lower = facing.upper, facing.lower
    on_upper, on_lower = normal.split([len(upper.corners), len(lower.corners)], -2)
    over_lower = _seen(x, upper, lower, on_lower, facing)
    over_upper = _seen(x, lower, upper, on_upper, facing)

    def slopes(weights: Tensor) -> Tensor:
        first, second = weights.split([len(upper.nodes), len(lower.nodes)], -1)
        down = (first[..., None] * over_lower.w)[..., None] * over_lower.c  # [*B, U, J of the lower, 3]
        rise = (second[..., None] * over_upper.w)[..., None] * over_upper.c
        on_first = down.sum(-2) - upper.gather(rise.sum(-3))
        return torch.cat([on_first, rise.sum(-2) - lower.gather(down.sum(-3))], -2)

    return torch.cat([over_lower.f, over_upper.f], -1), slopes


def sheet_hessian(x: Tensor, normal: Tensor, facing: Facing, grip: Tensor, push: Tensor) -> Tensor:
    """Σ_i grip_i ∇f_i ∇f_iᵀ − push_i ∇²f_i over the Z nodes: (Z, Z, 3, 3).

    Args:
        grip, push: (Z,).
    """
    count, total = len(facing.upper.nodes), len(facing.nodes)
    out = x.new_zeros(total, total, 3, 3)
    on_upper, on_lower = normal.split([len(facing.upper.corners), len(facing.lower.corners)], -2)
    first, second = torch.arange(count), torch.arange(count, total)
    for own, other, n, mine, theirs in (
        (facing.upper, facing.lower, on_lower, first, second),
        (facing.lower, facing.upper, on_upper, second, first),
    ):
        held = ((grip[mine] > 0) | (push[mine] > 0)).nonzero()[:, 0]
        if len(held):
            seen = _seen(x, own._replace(nodes=own.nodes[held.numpy()]), other, n, facing)
            _add_hessian(out, seen, n, other, mine[held], theirs, grip[mine][held], push[mine][held], facing)
    return out


def _add_hessian(
    out: Tensor,
    seen: _Seen,
    n: Tensor,
    other: Sheet,
    i: Tensor,
    theirs: Tensor,
    grip: Tensor,
    push: Tensor,
    facing: Facing,
) -> None:
    """Of the nodes i (I,) of one sheet over the samples of the other, whose nodes are `theirs`."""
    total, kappa = len(out), 1 / WIDTH_M**2

    def rows(of_pairs: Tensor) -> Tensor:
        """Σ_j v_j · ∂d_j by the nodes: (I, J, 3) → (I, 3 Z)."""
        row = out.new_zeros(len(i), total, 3)
        row[:, theirs] = -other.gather(of_pairs)
        row[torch.arange(len(i)), i] = of_pairs.sum(1)
        return row.flatten(1)

    def blocks(left: Tensor, right: Tensor) -> Tensor:
        return (left.mT @ right).view(total, 3, total, 3).permute(0, 2, 1, 3)

    slopes = rows(seen.w[..., None] * seen.c)
    out += blocks(slopes, grip[:, None] * slopes)
    if not push.any():
        return
    aside = rows(seen.w[..., None] * seen.flat)
    crossed = blocks(slopes, (kappa * push)[:, None] * aside)
    out -= crossed + crossed.permute(1, 0, 3, 2)
    up = torch.from_numpy(facing.up)
    P = torch.eye(3, dtype=out.dtype) - up[:, None] * up
    flat = seen.flat[..., None, :]
    bent = seen.c[..., None] * flat + seen.flat[..., None] * n[:, None, :] + seen.q[..., None, None] * P
    bent = (kappa * push[:, None] * seen.w)[..., None, None] * bent  # [I, J, 3, 3]
    out[i, i] += bent.sum(1)
    across = other.gather(bent.movedim(-2, 1)).movedim(1, -2)  # [I, N, 3, 3]
    out[i[:, None], theirs] -= across
    out[theirs, i[:, None]] -= across.mT
    share, where = torch.from_numpy(other.weights), theirs[torch.from_numpy(other.corners)]
    both = share[:, :, None, None, None] * share[:, None, :, None, None] * bent.sum(0)[:, None, None]
    pairs = where[:, :, None].expand(-1, 3, 3), where[:, None, :].expand(-1, 3, 3)
    out.index_put_(pairs, both, accumulate=True)


def _seen(x: Tensor, own: Sheet, other: Sheet, normal: Tensor, facing: Facing) -> _Seen:
    points = x[..., torch.from_numpy(own.nodes), :]
    samples = other.sample(x[..., torch.from_numpy(other.nodes), :])
    up = torch.from_numpy(facing.up)
    d = points[..., :, None, :] - samples[..., None, :, :]  # [*B, I, J, 3]
    flat = d - (d @ up)[..., None] * up
    w = (torch.from_numpy(other.area).log() - flat.square().sum(-1) / (2 * WIDTH_M**2)).softmax(-1)
    height = (d * normal[..., None, :, :]).sum(-1)
    f = (w * height).sum(-1)
    q = height - f[..., None]
    c = normal[..., None, :, :] - (q / WIDTH_M**2)[..., None] * flat
    return _Seen(f, w, q, flat, c)
