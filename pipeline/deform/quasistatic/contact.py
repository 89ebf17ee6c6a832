"""Contact: what keeps x from going through what is beside it, each contact a smooth penalty on its gap.

Three kinds, of C contacts each:

- planes, given by what drives the flesh: gap = n · x − offset;
- balls, which may move: gap = |x − centre| − radius;
- facing sheets (`facing.py`), both of them flesh: gap = height over the other sheet.

    E = k e(s),  s = keep − gap;    e′ = s²/2ε for 0 < s < ε, then s − ε/2;  e = e′ = e″ = 0 for s ≤ 0.

`keep` is the margin that surfaces keep, or what gap there is in the shape that is free of stress, if that is
less. e is twice continuously differentiable and so are the gaps by x: there is one energy, and its
equilibrium moves smoothly with what drives it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.quasistatic.facing import Facing, sheet_gap, sheet_hessian

EASE_M = 2e-4  # ε: over which a contact takes hold


@dataclass(frozen=True)
class Touching:
    """What may touch what; does not change.

    Attributes:
        plane_nodes: (P,) free nodes that have a plane.
        ball_nodes: (Q,) free nodes that have a ball.
        ball_stiffness: (Q,) N/m.
        lips: two sheets of free nodes, or None.
    """

    plane_nodes: np.ndarray
    ball_nodes: np.ndarray
    ball_stiffness: np.ndarray
    lips: Facing | None = None

    @property
    def passing(self) -> np.ndarray:
        """(Z,) nodes among which contacts pass forces."""
        return np.empty(0, np.int64) if self.lips is None else self.lips.nodes


class Obstacles(NamedTuple):
    """What contacts are given from outside: tensors `(*B, …)`, or numpy arrays without B.

    Attributes:
        plane_normal: (*B, P, 3) unit vectors, away from the obstacle.
        plane_offset: (*B, P) metres, with what a node keeps.
        plane_stiffness: (*B, P) N/m.
        ball_centre: (*B, Q, 3) metres.
        ball_radius: (*B, Q) metres, with what a node keeps.
        lip_normal: (*B, J, 3) of the sheets' samples, see `sheet_gap`.
        lip_keep: (*B, Z) metres.
    """

    plane_normal: Any
    plane_offset: Any
    plane_stiffness: Any
    ball_centre: Any
    ball_radius: Any
    lip_normal: Any
    lip_keep: Any


def contact_energy(x: Tensor, at: Obstacles, touching: Touching) -> Tensor:
    """Joules (*B,) of free nodes (*B, free, 3)."""
    total = (at.plane_stiffness * _ease(_of_planes(x, at, touching))).sum(-1)
    apart, _ = _of_balls(x, at, touching)
    total = total + (torch.from_numpy(touching.ball_stiffness) * _ease(apart)).sum(-1)
    if touching.lips is not None:
        gap = sheet_gap(x, at.lip_normal, touching.lips)[0]
        total = total + (torch.from_numpy(touching.lips.stiffness) * _ease(at.lip_keep - gap)).sum(-1)
    return total


def contact_gradient(x: Tensor, at: Obstacles, touching: Touching) -> Tensor:
    """∂E/∂x (*B, free, 3), itself differentiable by x and by the obstacles."""
    push = (at.plane_stiffness * _push(_of_planes(x, at, touching)))[..., None] * at.plane_normal
    out = torch.zeros_like(x).index_add(-2, torch.from_numpy(touching.plane_nodes), -push)
    s, normal = _of_balls(x, at, touching)
    push = (torch.from_numpy(touching.ball_stiffness) * _push(s))[..., None] * normal
    out = out.index_add(-2, torch.from_numpy(touching.ball_nodes), -push)
    if touching.lips is not None:
        gap, slope = sheet_gap(x, at.lip_normal, touching.lips)
        push = torch.from_numpy(touching.lips.stiffness) * _push(at.lip_keep - gap)
        out = out.index_add(-2, torch.from_numpy(touching.lips.nodes), -slope(push))
    return out


def contact_hessian(
    x: Tensor, at: Obstacles, touching: Touching, projected: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Without batch axes: nodes (P + Q,), their blocks (P + Q, 3, 3), and those of the lips (Z, Z, 3, 3).

    Args:
        projected: without what makes it indefinite, the gaps' own curvature.
    """
    slope = (at.plane_stiffness * _grip(_of_planes(x, at, touching)))[:, None, None]
    planes = slope * at.plane_normal[:, :, None] * at.plane_normal[:, None, :]
    s, normal = _of_balls(x, at, touching)
    stiffness, along = torch.from_numpy(touching.ball_stiffness), normal[:, :, None] * normal[:, None, :]
    balls = (stiffness * _grip(s))[:, None, None] * along
    if not projected:
        away = x[torch.from_numpy(touching.ball_nodes)] - at.ball_centre
        bent = stiffness * _push(s) / away.norm(dim=-1)
        balls = balls - bent[:, None, None] * (torch.eye(3, dtype=x.dtype) - along)
    nodes = np.concatenate([touching.plane_nodes, touching.ball_nodes])
    blocks = torch.cat([planes, balls]).numpy()
    if touching.lips is None:
        return nodes, blocks, np.zeros((0, 0, 3, 3))
    gap = sheet_gap(x, at.lip_normal, touching.lips)[0]
    s, stiffness = at.lip_keep - gap, torch.from_numpy(touching.lips.stiffness)
    push = torch.zeros_like(s) if projected else stiffness * _push(s)
    return nodes, blocks, sheet_hessian(x, at.lip_normal, touching.lips, stiffness * _grip(s), push).numpy()


def cleared(x: Tensor, at: Obstacles, touching: Touching) -> Tensor:
    """Nodes (*B, free, 3) moved out of the balls and the lips that they are in, each contact by itself.

    Lips that are in each other give way by half each. Continuously differentiable in all.
    """
    s, normal = _of_balls(x, at, touching)
    out = x.index_add(-2, torch.from_numpy(touching.ball_nodes), _push(s)[..., None] * normal)
    if touching.lips is None:
        return out
    upper, lower, up = touching.lips
    s = at.lip_keep - sheet_gap(x, at.lip_normal, touching.lips)[0]
    half = torch.tensor([0.5] * len(upper.nodes) + [-0.5] * len(lower.nodes)).to(x)
    push = (half * _push(s))[..., None] * torch.from_numpy(up)
    return out.index_add(-2, torch.from_numpy(touching.lips.nodes), push)


def _of_planes(x: Tensor, at: Obstacles, touching: Touching) -> Tensor:
    """s (*B, P)."""
    return at.plane_offset - (at.plane_normal * x[..., torch.from_numpy(touching.plane_nodes), :]).sum(-1)


def _of_balls(x: Tensor, at: Obstacles, touching: Touching) -> tuple[Tensor, Tensor]:
    """s (*B, Q) and unit vectors away from the centres (*B, Q, 3)."""
    away = x[..., torch.from_numpy(touching.ball_nodes), :] - at.ball_centre
    distance = away.square().sum(-1).sqrt()
    return at.ball_radius - distance, away / distance[..., None]


def _ease(s: Tensor) -> Tensor:
    """e."""
    s = s.clamp(min=0)
    return torch.where(s < EASE_M, s**3 / (6 * EASE_M), s**2 / 2 - s * EASE_M / 2 + EASE_M**2 / 6)


def _push(s: Tensor) -> Tensor:
    """e′."""
    s = s.clamp(min=0)
    return torch.where(s < EASE_M, s**2 / (2 * EASE_M), s - EASE_M / 2)


def _grip(s: Tensor) -> Tensor:
    """e″."""
    return (s / EASE_M).clamp(0, 1)
