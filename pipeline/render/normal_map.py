"""Normals bent by a normal map in tangent space."""

import torch
from torch import Tensor

from pipeline.render.material import dot, unit
from pipeline.render.rasterize import Fragments
from pipeline.render.surface import Surface


def bent_normals(
    surface: Surface, fragments: Fragments, points: Tensor, normal: Tensor, bend: Tensor
) -> Tensor:
    """Unit normals `(P, 3)` of fragments.

    The tangents of a triangle are the derivatives of its points by u and by v, made perpendicular to the
    interpolated normal (Mikkelsen, "Simulation of wrinkled surfaces revisited", 2008, without his averaging
    over vertices: tangents are only as smooth as the triangles are small).

    Args:
        points: `(B·V, 3)` vertices of all pictures.
        normal: `(P, 3)` unit, interpolated.
        bend: `(P, 3)` of the normal map, in tangent space.
    """
    edges = _edges(points, fragments.corners)  # [P, 2, 3]
    spans = _edges(surface.uv, surface.uv_triangles.index_select(0, fragments.triangle))  # [P, 2, 2]
    (u1, v1), (u2, v2) = (span.unbind(-1) for span in spans.unbind(1))
    handed = torch.where(u1 * v2 - u2 * v1 < 0, -1.0, 1.0).to(v1.dtype)[:, None]
    along_u = handed * (v2[:, None] * edges[:, 0] - v1[:, None] * edges[:, 1])
    along_v = handed * torch.linalg.cross(normal, along_u)
    tangent = unit(along_u - dot(along_u, normal) * normal)
    x, y, z = bend.split(1, dim=-1)
    return unit(x * tangent + y * unit(along_v) + z * normal)


def _edges(points: Tensor, corners: Tensor) -> Tensor:
    """The two edges from the first corner: `(N, C)`, `(P, 3)` → `(P, 2, C)`."""
    first, second, third = (points.index_select(0, corner) for corner in corners.unbind(1))
    return torch.stack([second - first, third - first], dim=1)
