"""The point of a triangle, and of a set of triangles, that is closest to a point."""

import torch
from torch import Tensor


def closest_barycentric(point: Tensor, corners: Tensor) -> Tensor:
    """Barycentric coordinates of the triangle's point closest to `point`.

    Continuous, and differentiable wherever the closest point does not change from the inside to an edge or to
    a corner. Triangles may have no area: then only their edges count.

    Args:
        point: (*B, 3).
        corners: (*B, 3, 3), one corner a row.

    Returns:
        (*B, 3), none negative, of sum 1.
    """
    inside = _plane_barycentric(point, corners)
    candidates = torch.stack([inside, *(_edge_barycentric(point, corners, i) for i in range(3))], -2)
    apart = ((candidates @ corners) - point[..., None, :]).square().sum(-1)  # [*B, 4]
    outside = torch.zeros_like(apart)
    outside[..., 0] = torch.where((inside >= 0).all(-1), 0.0, torch.inf)
    best = (apart + outside).detach().argmin(-1)
    return candidates.gather(-2, best[..., None, None].expand(*best.shape, 1, 3)).squeeze(-2)


def nearest_triangle(points: Tensor, corners: Tensor) -> Tensor:
    """Which triangle of each set holds the point closest to each point; no derivative.

    Args:
        points: (*B, P, 3).
        corners: (*B, F, 3, 3).

    Returns:
        (*B, P) indices into F.
    """
    with torch.no_grad():
        shape = (*points.shape[:-1], corners.shape[-3])
        point = points[..., :, None, :].expand(*shape, 3)
        triangle = corners[..., None, :, :, :].expand(*shape, 3, 3)
        weights = closest_barycentric(point, triangle)
        return ((weights[..., None, :] @ triangle).squeeze(-2) - point).square().sum(-1).argmin(-1)


def _plane_barycentric(point: Tensor, corners: Tensor) -> Tensor:
    """Of the foot on the triangle's plane: the normal equations of two edges."""
    a, b, c = corners.unbind(-2)
    e, f, d = b - a, c - a, point - a
    ee, ef, ff, de, df = ((u * v).sum(-1) for u, v in ((e, e), (e, f), (f, f), (d, e), (d, f)))
    area = ee * ff - ef * ef
    flat = area <= 1e-12 * ee * ff
    area = torch.where(flat, torch.ones_like(area), area)
    s, t = (ff * de - ef * df) / area, (ee * df - ef * de) / area
    first = torch.where(flat, -torch.ones_like(s), 1 - s - t)
    return torch.stack([first, s, t], -1)


def _edge_barycentric(point: Tensor, corners: Tensor, i: int) -> Tensor:
    a, b = corners[..., i, :], corners[..., (i + 1) % 3, :]
    e = b - a
    square = e.square().sum(-1)
    t = ((point - a) * e).sum(-1) / torch.where(square == 0, torch.ones_like(square), square)
    t = t.clamp(0, 1)
    weights = [torch.zeros_like(t)] * 3
    weights[i], weights[(i + 1) % 3] = 1 - t, t
    return torch.stack(weights, -1)
