"""Contact: half-spaces that nodes may not enter, each a smooth penalty.

A contact holds one node i against a plane of unit normal n that is fixed in space, or rides on three other
nodes j with weights w:

    s = o − n · (x_i − Σ_k w_k x_jk)       how far the node has come past the plane (metres),
    E = k e(s),  e′ = s²/2ε for 0 < s < ε, then s − ε/2;  e = e′ = e″ = 0 for s ≤ 0.

n, w, o and k are given by what drives the flesh, never by x: s is linear in x, every contact's Hessian is
positive semidefinite, and e is twice continuously differentiable, so the equilibrium moves smoothly
with what drives it except where a plane passes from one triangle to the next.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

EASE_M = 2e-4  # ε: over which a contact takes hold


class Planes(NamedTuple):
    """C contacts, as tensors `(*B, C, …)` or as numpy arrays without B.

    Attributes:
        node: (C,) the node that is held, a numpy array in either case.
        opposite: (*B, C, 3) the nodes the plane rides on; where it rides on none, `node` with weights 0.
        weights: (*B, C, 3).
        normal: (*B, C, 3).
        offset: (*B, C) metres.
        stiffness: (*B, C) N/m.
    """

    node: np.ndarray
    opposite: Any
    weights: Any
    normal: Any
    offset: Any
    stiffness: Any


def depth(planes: Planes, nodes: np.ndarray) -> np.ndarray:
    """s (C,) of node positions (N, 3)."""
    carried = (planes.weights[:, :, None] * nodes[planes.opposite]).sum(1)
    return planes.offset - (planes.normal * (nodes[planes.node] - carried)).sum(1)


def energy(planes: Planes, s: np.ndarray) -> float:
    """Joules."""
    s = s.clip(0)
    eased = np.where(s < EASE_M, s**3 / (6 * EASE_M), s**2 / 2 - s * EASE_M / 2 + EASE_M**2 / 6)
    return float((planes.stiffness * eased).sum())


def push(planes: Planes, s: np.ndarray) -> np.ndarray:
    """k e′ (C,), newtons along the normal."""
    s = s.clip(0)
    return planes.stiffness * np.where(s < EASE_M, s**2 / (2 * EASE_M), s - EASE_M / 2)


def add_gradient(planes: Planes, s: np.ndarray, out: np.ndarray) -> None:
    """Adds ∂E/∂x to (N, 3)."""
    force = -push(planes, s)[:, None] * planes.normal
    np.add.at(out, planes.node, force)
    np.add.at(out, planes.opposite, -planes.weights[:, :, None] * force[:, None, :])


def hessian_blocks(planes: Planes, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Node indices (C', 4) and blocks (C', 4, 4, 3, 3) of the contacts that hold."""
    held = s > 0
    nodes = np.concatenate([planes.node[held, None], planes.opposite[held]], axis=1)
    share = np.concatenate([np.ones((len(nodes), 1)), -planes.weights[held]], axis=1)
    normal, slope = planes.normal[held], planes.stiffness[held] * (s[held] / EASE_M).clip(0, 1)
    return nodes, np.einsum("c,ca,cb,ci,cj->cabij", slope, share, share, normal, normal)


def contact_gradient(planes: Planes, nodes: Tensor) -> Tensor:
    """∂E/∂x in plain torch, differentiable: (*B, N, 3) → (*B, N, 3)."""
    *batch, count, _ = nodes.shape
    node = torch.from_numpy(planes.node)
    held = planes.opposite.expand(*batch, *planes.opposite.shape[-2:])
    carried = nodes.gather(-2, held.flatten(-2)[..., None].expand(*batch, -1, 3)).unflatten(-2, (-1, 3))
    apart = nodes[..., node, :] - (planes.weights[..., None] * carried).sum(-2)
    s = (planes.offset - (planes.normal * apart).sum(-1)).clamp(min=0)
    slope = torch.where(s < EASE_M, s.square() / (2 * EASE_M), s - EASE_M / 2)
    force = -(planes.stiffness * slope)[..., None] * planes.normal  # [*B, C, 3]
    out = nodes.new_zeros(*batch, count, 3).index_add(-2, node, force.expand(*batch, -1, 3))
    back = (-planes.weights[..., None] * force[..., None, :]).flatten(-3, -2)
    return out.scatter_add(-2, held.flatten(-2)[..., None].expand(*batch, -1, 3), back.expand(*batch, -1, 3))
