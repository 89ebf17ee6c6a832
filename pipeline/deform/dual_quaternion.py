"""Dual quaternion skinning (DQS): joints blend as screw motions, so that a twist keeps its volume.

A rigid motion x ↦ R x + t is the unit dual quaternion q + ε p, q = (cos θ/2, n sin θ/2), p = ½ (0, t) q.
Quaternions here are (x, y, z, w), as roma has them.
"""

import roma
import torch
from torch import Tensor


def skin_dual_quaternion(vertices: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Every vertex by the weighted mean of the joints' dual quaternions, made unit again.

    Kavan, Collins, Žára, O'Sullivan, "Skinning with Dual Quaternions" (2007), algorithm 1. Of q and −q, which
    are one rotation, that is taken which is nearer to the vertex's strongest joint: joints turn against it
    by less than 360° the short way around, and the blend never vanishes (where weights are not negative).

    Args:
        vertices: (*B, V, 3) unposed.
        weights: (V, J), rows summing to 1.
        rotation, translation: (*B, J, 3, 3) and (*B, J, 3), from `joint_transforms`.

    Returns:
        (*B, V, 3).
    """
    return transform(blended(weights, dual_quaternions(rotation, translation)), vertices)


def dual_quaternions(rotation: Tensor, translation: Tensor) -> Tensor:
    """(*B, J, 3, 3) and (*B, J, 3) → (*B, J, 8): q, then p = ½ (0, t) q."""
    real = roma.rotmat_to_unitquat(rotation)
    return torch.cat([real, 0.5 * multiply_vector(translation, real)], -1)


def blended(weights: Tensor, dual: Tensor) -> Tensor:
    """Σ_j w_vj (± q_j, ± p_j): (V, J) and (*B, J, 8) → (*B, V, 8), not unit."""
    return signed_weights(weights, dual) @ dual


def signed_weights(weights: Tensor, dual: Tensor) -> Tensor:
    """(*B, V, J): the weights, negative where a joint's q points away from that of the strongest joint."""
    real = dual[..., :4].detach()
    away = real @ real.mT < 0  # [*B, J, J]
    strongest = weights.detach().argmax(-1)  # [V]
    return torch.where(away[..., strongest, :], -weights, weights)


def transform(dual: Tensor, points: Tensor) -> Tensor:
    """Points moved by dual quaternions that need not be unit: (*B, V, 8) and (*B, V, 3) → (*B, V, 3).

    y = N / |q|², N = (w² − u·u) x + 2 (u·x) u + 2 w u × x + 2 (w p⃗ − p_w u + u × p⃗), q = (u, w): what unit
    ones do, with every q and p divided by |q|.
    """
    u, w, p, pw = dual.split([3, 1, 3, 1], -1)
    turned = (w.square() - _dot(u, u)) * points + 2 * (_dot(u, points) * u + w * _cross(u, points))
    return (turned + 2 * (w * p - pw * u + _cross(u, p))) / (w.square() + _dot(u, u))


def multiply_vector(v: Tensor, q: Tensor) -> Tensor:
    """The product (v, 0) q of quaternions: (*B, 3) and (*B, 4) → (*B, 4)."""
    u, w = q[..., :3], q[..., 3:]
    return torch.cat([w * v + _cross(v, u), -_dot(v, u)], -1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.cross(*torch.broadcast_tensors(a, b))
