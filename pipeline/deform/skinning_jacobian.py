"""Closed-form derivatives of skinning, linear and by dual quaternions, by rest shape, weights and pose."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.deform.dual_quaternion import (
    dual_quaternions,
    multiply_vector,
    signed_weights,
    transform,
)
from pipeline.derivatives.closed_form import cross_matrix


@dataclass(frozen=True)
class SkinningJacobian:
    """Derivatives of posed vertices y_v; those by other vertices' shape or weights are zero.

    Attributes:
        by_vertex: (*B, V, 3, 3) by the unposed vertex x_v.
        by_weight: (*B, V, 3, J) by its weights w_vj, each taken as free.
        by_twist: (*B, V, 3, J, 6) by (ω_j, τ_j), where a joint's (R, t) becomes (exp[ω]× R, t + τ).
    """

    by_vertex: Tensor
    by_weight: Tensor
    by_twist: Tensor


def linear_jacobian(
    vertices: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor
) -> SkinningJacobian:
    """Of `skinning.skin`: y_v = Σ_j w_vj (R_j x_v + t_j); arguments as there."""
    turned = vertices[..., None, :, :] @ rotation.mT  # R_j x_v [*B, J, V, 3]
    placed = (turned + translation[..., None, :]).movedim(-3, -1)  # [*B, V, 3, J]
    spun = -cross_matrix(turned).movedim(-4, -2)  # ω × R x = −[R x]× ω  [*B, V, 3, J, 3]
    eye = torch.eye(3, dtype=vertices.dtype, device=vertices.device)[:, None, :].expand_as(spun)
    return SkinningJacobian(
        by_vertex=(weights @ rotation.flatten(-2)).unflatten(-1, (3, 3)),
        by_weight=placed,
        by_twist=torch.cat([spun, eye], -1) * weights[:, None, :, None],
    )


def dual_quaternion_jacobian(
    vertices: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor
) -> SkinningJacobian:
    """Of `dual_quaternion.skin_dual_quaternion`; arguments as there."""
    dual = dual_quaternions(rotation, translation)
    signed = signed_weights(weights, dual)  # [*B, V, J]
    by_vertex, by_blend = transform_jacobian(signed @ dual, vertices)
    eye = torch.eye(3, dtype=dual.dtype, device=dual.device)
    twists = torch.stack([dual_tangent(dual, translation, w, t) for w, t in _unit_twists(eye)], -1)
    sign = torch.where(signed < 0, -1, 1)[..., None, :].to(dual.dtype)  # [*B, V, 1, J]
    return SkinningJacobian(
        by_vertex=by_vertex,
        by_weight=sign * (by_blend @ dual.mT[..., None, :, :]),
        by_twist=torch.einsum("...vab,...vj,...jbk->...vajk", by_blend, signed, twists),
    )


def transform_jacobian(dual: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Of `dual_quaternion.transform`: y = N(q, p, x)/|q|², so dy = (dN − y d|q|²)/|q|².

    Args:
        dual: (*B, V, 8) blended, not unit.
        points: (*B, V, 3).

    Returns:
        by point (*B, V, 3, 3), a rotation matrix; by dual quaternion (*B, V, 3, 8).
    """
    u, w, p, pw = dual.split([3, 1, 3, 1], -1)
    square = (w.square() + u.square().sum(-1, keepdim=True))[..., None]  # [*B, V, 1, 1]
    eye = torch.eye(3, dtype=dual.dtype, device=dual.device)
    x, y = points[..., None], transform(dual, points)[..., None]  # columns
    row, column, real, imaginary = u[..., None, :], u[..., None], w[..., None], pw[..., None]
    spin = cross_matrix(u)
    by_point = (real.square() - row @ column) * eye + 2 * (column @ row + real * spin)
    by_u = 2 * ((row @ x) * eye + column @ x.mT - x @ row - real * cross_matrix(points))
    by_u = by_u - 2 * (imaginary * eye + cross_matrix(p)) - 2 * y @ row
    by_w = 2 * (real * x + spin @ x + p[..., None]) - 2 * y * real
    by_dual = [by_u, by_w, 2 * (real * eye + spin), -2 * column]
    return by_point / square, torch.cat(by_dual, -1) / square


def dual_tangent(dual: Tensor, translation: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """How q, p = ½ t q change as (R, t) turns and shifts: δq = ½ ω q, δp = ½ (τ q + t δq).

    Args:
        dual: (*B, 8).
        translation: (*B, 3) t.
        turn, shift: (*B, 3) ω and τ.

    Returns:
        (*B, 8).
    """
    real = dual[..., :4]
    spun = 0.5 * multiply_vector(turn, real)
    moved = 0.5 * (multiply_vector(shift, real) + multiply_vector(translation, spun))
    return torch.cat([spun, moved], -1)


def _unit_twists(eye: Tensor) -> list[tuple[Tensor, Tensor]]:
    zero = torch.zeros_like(eye[0])
    return [(axis, zero) for axis in eye] + [(zero, axis) for axis in eye]
