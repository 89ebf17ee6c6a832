"""Jacobians written by hand, of the formulas that a face rig and its picture are made of.

A closed form is faster than any general method, shows what the derivative depends on, and says where it does
not exist. Every one here is held against automatic differentiation in the tests, and two are derived from the
formulas by scripts/derive_symbolically.py.
"""

import torch
from torch import Tensor


def blendshapes(basis: Tensor) -> Tensor:
    """∂(rest + Σ_k w_k δ_k)/∂w: the deltas themselves, wherever w is.

    Args:
        basis: `(K, 3P)` deltas of P points, flattened.

    Returns:
        `(P, 3, K)`.
    """
    return basis.unflatten(-1, (-1, 3)).movedim(0, -1)


def cross_matrix(v: Tensor) -> Tensor:
    """[v]×, the matrix of w ↦ v × w: `(*B, 3)` → `(*B, 3, 3)`."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def left_jacobian(rotation_vector: Tensor) -> Tensor:
    """J_l with R(v + dv) = R(J_l dv) · R(v) to first order.

        J_l = I + b [v]× + c [v]×²,   b = (1 − cos θ)/θ²,   c = (θ − sin θ)/θ³,   θ = ‖v‖

    (Chirikjian, "Stochastic Models, Information Theory, and Lie Groups", volume 2, 2011.) Its transpose is
    the right Jacobian: R(v + dv) = R(v) · R(J_lᵀ dv). b and c have removable singularities at θ = 0; near it
    their series in θ² are summed, as the quotients lose digits.

    Args:
        rotation_vector: `(*B, 3)` radians.

    Returns:
        `(*B, 3, 3)`.
    """
    s = rotation_vector.square().sum(-1)  # θ²
    near = s < 0.25  # below, c loses ε/θ² to cancellation, and its derivatives more
    far = torch.where(near, torch.ones_like(s), s)
    angle = far.sqrt()
    series = torch.where(near, s, torch.zeros_like(s))
    b, c = torch.zeros_like(s), torch.zeros_like(s)
    for k in range(8, -1, -1):  # Horner's rule on Σ (−s)ᵏ/(2k+2)! and Σ (−s)ᵏ/(2k+3)!
        b = (1 - series * b) / ((2 * k + 1) * (2 * k + 2))
        c = (1 - series * c) / ((2 * k + 2) * (2 * k + 3))
    b = torch.where(near, b, 0.5 * ((angle / 2).sin() / (angle / 2)).square())
    c = torch.where(near, c, (angle - angle.sin()) / (far * angle))
    K = cross_matrix(rotation_vector)
    identity = torch.eye(3, dtype=s.dtype, device=s.device)
    return identity + b[..., None, None] * K + c[..., None, None] * (K @ K)


def rotation(rotation_vector: Tensor, turned: Tensor) -> Tensor:
    """∂(R(v) p)/∂v = −[R p]× J_l(v): the turned point is all that it needs to know of R and p.

    Args:
        rotation_vector: `(*B, 3)`.
        turned: `(*B, P, 3)` R(v) p.

    Returns:
        `(*B, P, 3, 3)`, the last axis along v.
    """
    return -(cross_matrix(turned) @ left_jacobian(rotation_vector)[..., None, :, :])


def projection(matrix: Tensor, points: Tensor) -> Tensor:
    """∂(X/W, Y/W)/∂p for (X, Y, W) = M p: the rows of M, less what the pixel takes of the last, over W.

    Args:
        matrix: `(*B, 3, 3)` M.
        points: `(*B, P, 3)`; where W = 0 there is no pixel and no derivative (it is not finite).

    Returns:
        `(*B, P, 2, 3)`, the last axis along p.
    """
    homogeneous = points @ matrix.mT  # [*B, P, 3]
    depth = homogeneous[..., 2:, None]  # [*B, P, 1, 1]
    pixel = homogeneous[..., :2, None] / depth  # [*B, P, 2, 1]
    M = matrix[..., None, :, :]
    return (M[..., :2, :] - pixel * M[..., 2:, :]) / depth


def skinning(vertices: Tensor, weights: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of linear blend skinning y_v = Σ_j w_vj (R_j x_v + t_j).

    Args:
        vertices: `(*B, V, 3)` x.
        weights: `(V, J)`.
        rotations: `(*B, J, 3, 3)` R.

    Returns:
        by vertex: `(*B, V, 3, 3)`, ∂y_v/∂x_v = Σ_j w_vj R_j (of other vertices: 0);
        by transform: `(*B, V, J, 4)`, of a row of y_v by the same row of (R_j | t_j): w_vj (x_v, 1).
    """
    by_vertex = (weights @ rotations.flatten(-2)).unflatten(-1, (3, 3))
    homogeneous = torch.cat([vertices, torch.ones_like(vertices[..., :1])], -1)
    return by_vertex, weights[..., None] * homogeneous[..., None, :]


def soft_argmax(scores: Tensor, coordinates: Tensor, width: float = 1.0) -> Tensor:
    """∂y/∂s for y = Σ_i p_i c_i, p = softmax(s / width): p_i (c_i − y) / width.

    A cell pulls the answer toward itself, by its share and its distance. Where the scores agree, all cells
    pull; where one wins by far, none does: there the derivative dies.

    Args:
        scores: `(*B, N)`.
        coordinates: `(N, D)` of the cells.

    Returns:
        `(*B, D, N)`.
    """
    share = torch.softmax(scores / width, -1)
    answer = share @ coordinates  # [*B, D]
    return share[..., None, :] * (coordinates.mT - answer[..., None]) / width


def barycentrics(corners: Tensor, pixel_xy: Tensor) -> Tensor:
    """Derivative of the perspective-correct barycentrics λ of a pixel by its triangle's corners.

    With q_i = (X_i − x W_i, Y_i − y W_i), the λ solve Σ λ_i q_i = 0, Σ λ_i = 1: an implicit function. So

        ∂λ_i/∂q_k = −λ_k g_i,    g_0 = (q_1y − q_2y, q_2x − q_1x)/A  and so on around,

    where A is twice the triangle's area. (g_i is the gradient of λ_i over the pixel plane where W = 1.)

    Args:
        corners: `(*B, 3, 3)` homogeneous pixels (X, Y, W) of the corners.
        pixel_xy: `(*B, 2)`.

    Returns:
        `(*B, 3, 3, 3)`: weight i, corner k, coordinate (X, Y, W). Zero where the triangle has no area.
    """
    q = corners[..., :2] - pixel_xy[..., None, :] * corners[..., 2:]  # [*B, 3, 2]
    x, y = q.unbind(-1)
    after, before = [1, 2, 0], [2, 0, 1]
    areas = x[..., after] * y[..., before] - y[..., after] * x[..., before]  # [*B, 3]
    total = areas.sum(-1, keepdim=True)
    flat = total == 0
    inverse = torch.where(flat, torch.ones_like(total), total).reciprocal()
    weights = areas * inverse
    gradient = torch.stack([y[..., after] - y[..., before], x[..., before] - x[..., after]], -1)
    gradient = gradient * inverse[..., None]  # [*B, 3, 2]
    by_q = -weights[..., None, :, None] * gradient[..., :, None, :]  # [*B, i, k, 2]
    by_w = -(by_q * pixel_xy[..., None, None, :]).sum(-1, keepdim=True)
    return torch.cat([by_q, by_w], -1).masked_fill(flat[..., None, None], 0)
