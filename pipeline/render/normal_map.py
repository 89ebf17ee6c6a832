"""Normals bent by a normal map in tangent space."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.render.rasterize import Fragments
from pipeline.render.surface import Surface
from pipeline.render.texture import Mipmaps


def bent_normals(
    surface: Surface,
    normal_map: Tensor,
    fragments: Fragments,
    vertices: Tensor,
    normal: Tensor,
    uv: Tensor,
    level: Tensor,
) -> Tensor:
    """Unit normals `(P, 3)` of fragments.

    The tangents of a triangle are the derivatives of its points by u and by v, made perpendicular to the
    interpolated normal (Mikkelsen, "Simulation of wrinkled surfaces revisited", 2008, without his averaging
    over vertices: tangents are only as smooth as the triangles are small).

    Args:
        normal_map: `(Hn, Wn, 3)` unit vectors in tangent space.
        vertices: `(*B, V, 3)`.
        normal: `(P, 3)` unit, interpolated.
        uv: `(P, 2)`.
        level: `(P,)` mip levels.
    """
    points = vertices.reshape(-1, vertices.shape[-1])
    if len(points) < fragments.size[0] * vertices.shape[-2]:  # one mesh before several cameras
        points = points.repeat(fragments.size[0], 1)
    edges = _edges(points, fragments.corners)  # [P, 2, 3]
    spans = _edges(surface.uv, surface.uv_triangles.index_select(0, fragments.triangle))  # [P, 2, 2]
    (u1, v1), (u2, v2) = (span.unbind(-1) for span in spans.unbind(1))
    handed = torch.where(u1 * v2 - u2 * v1 < 0, -1.0, 1.0).to(v1.dtype)[:, None]
    along_u = handed * (v2[:, None] * edges[:, 0] - v1[:, None] * edges[:, 1])
    along_v = handed * torch.linalg.cross(normal, along_u)
    tangent = functional.normalize(along_u - (along_u * normal).sum(-1, keepdim=True) * normal, dim=-1)
    bitangent = functional.normalize(along_v, dim=-1)
    x, y, z = Mipmaps(normal_map).sample(uv, level).split(1, dim=-1)
    return functional.normalize(x * tangent + y * bitangent + z * normal, dim=-1)


def _edges(points: Tensor, corners: Tensor) -> Tensor:
    """The two edges from the first corner: `(N, C)`, `(P, 3)` → `(P, 2, C)`."""
    first, second, third = (points.index_select(0, corner) for corner in corners.unbind(1))
    return torch.stack([second - first, third - first], dim=1)
