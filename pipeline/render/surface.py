"""The mesh as a renderer needs it: which vertices make a triangle, and where it lies on the texture."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ChainRigError


class Surface(nn.Module):
    """Topology of a mesh: parameters C2 that no fit changes.

    Args:
        triangles: `(F, 3)` int64 corners, counter-clockwise from outside.
        uv: `(T, 2)` texture coordinates, v up; None for a surface of one material.
        uv_triangles: `(F, 3)` int64 into `uv`; None where `triangles` index it too.
        part_of_triangle: `(F,)` int64; outlines between parts carry gradients whatever their depth. One part
            if omitted.

    Raises:
        ChainRigError: a shape does not fit, or `uv_triangles` points beyond `uv`.
    """

    triangles: Tensor
    uv: Tensor
    uv_triangles: Tensor
    part_of_triangle: Tensor
    neighbours: Tensor

    def __init__(
        self,
        triangles: Tensor,
        uv: Tensor | None = None,
        uv_triangles: Tensor | None = None,
        part_of_triangle: Tensor | None = None,
    ) -> None:
        super().__init__()
        if triangles.dim() != 2 or triangles.shape[1] != 3:
            raise ChainRigError(
                f"Triangles are rows of three corners, not of shape {tuple(triangles.shape)}."
            )
        self.textured = uv is not None
        if uv is None:
            uv, uv_triangles = torch.full((1, 2), 0.5, device=triangles.device), torch.zeros_like(triangles)
        if uv_triangles is None:
            uv_triangles = triangles
        if part_of_triangle is None:
            part_of_triangle = torch.zeros_like(triangles[:, 0])
        if uv_triangles.shape != triangles.shape or part_of_triangle.shape != triangles.shape[:1]:
            raise ChainRigError(
                f"{len(triangles)} triangles need as many of the texture and as many part numbers, not "
                f"{len(uv_triangles)} and {len(part_of_triangle)}."
            )
        _require_range(uv_triangles, len(uv), "texture coordinates")
        if triangles.numel():
            _require_range(triangles, int(triangles.max()) + 1, "vertices")
        self.register_buffer("triangles", triangles)
        self.register_buffer("uv", uv)
        self.register_buffer("uv_triangles", uv_triangles)
        self.register_buffer("part_of_triangle", part_of_triangle)
        self.register_buffer("neighbours", neighbours(triangles))
        self.corner_limit = int(triangles.max()) + 1 if triangles.numel() else 0

    def require_vertices(self, vertices: Tensor) -> None:
        """Raises ChainRigError where `(*B, V, 3)` vertices are too few for the triangles, or not points."""
        if vertices.dim() < 2 or vertices.shape[-1] != 3 or vertices.shape[-2] < self.corner_limit:
            raise ChainRigError(
                f"This mesh needs at least {self.corner_limit} vertices of three coordinates, not an array "
                f"of shape {tuple(vertices.shape)}."
            )

    def normals(self, vertices: Tensor) -> Tensor:
        """Unit normals `(*B, V, 3)` of vertices `(*B, V, 3)`, the mean of the neighbouring faces' by area.

        Zero where a vertex has no face with area. Faces with a corner that is not finite do not count.
        """
        known = torch.where(vertices.isfinite(), vertices, 0)  # 0 · NaN would spoil the others' derivatives
        finite = vertices.isfinite().all(-1)
        a, b, c = (known.index_select(-2, self.triangles[:, i]) for i in range(3))
        whole = torch.stack([finite.index_select(-1, self.triangles[:, i]) for i in range(3)]).all(0)
        face = torch.linalg.cross(b - a, c - a) * whole[..., None]
        normal = torch.zeros_like(vertices)
        for i in range(3):
            normal = normal.index_add(-2, self.triangles[:, i], face)
        return functional.normalize(normal, dim=-1, eps=1e-20)


def neighbours(triangles: Tensor) -> Tensor:
    """What lies beyond each edge of `(F, 3)` triangles: `(F, 3)` int64.

    Entry (f, k) is about the edge opposite to corner k: 3·g + m if that is also the edge of triangle g
    opposite to its corner m; −1 if it is no other's edge, or those of several.
    """
    ends = torch.stack([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]], dim=1).flatten(
        0, 1
    )
    count = int(triangles.max()) + 1 if triangles.numel() else 1
    name, order = (ends.amin(-1) * count + ends.amax(-1)).sort(stable=True)
    _, size = name.unique_consecutive(return_counts=True)
    first = (size.cumsum(0) - size)[size == 2]
    one, two = order[first], order[first + 1]
    beyond = torch.full_like(order, -1)
    beyond[one], beyond[two] = two, one
    return beyond.view(-1, 3)


def _require_range(indices: Tensor, count: int, of: str) -> None:
    outside = indices[(indices < 0) | (indices >= count)]
    if outside.numel():
        raise ChainRigError(
            f"A triangle points at {of} number {int(outside[0])} of {count}, counted from 0: "
            "the mesh is damaged."
        )
