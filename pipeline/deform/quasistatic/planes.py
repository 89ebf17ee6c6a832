"""The contacts' planes, given by the head as blendshapes pose it and differentiable by it."""

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.quasistatic.closest_point import closest_barycentric, nearest_triangle
from pipeline.deform.quasistatic.contact import Planes
from pipeline.deform.quasistatic.touching import Lips

MARGIN_M = 2e-4  # that surfaces keep from each other
WINDOW_M = 0.004  # beside a tooth's surface, over which it stops holding


class Contacts:
    """All contacts of a face.

    Where the mean head at rest has surfaces nearer than `MARGIN_M`, or in each other, those vertices may stay
    so: at rest nothing pushes.

    - Lips: each lip's vertices stay on their side of the other lip, seen along the direction from lip to lip.
      The plane rides on the triangle of the other lip that lies across, so lips press on each other.
    - Eyes: the plane touches the ball where the vertex comes to it.
    - Teeth: the plane is that of the closest point of the row, with its normal between those of the vertices.

    Args:
        rest: (V, 3) the mean head.
        lips: or None.
        eyes: pairs of a ball's vertices and the skin's vertices that may touch it.
        teeth: pairs of triangles (F, 3) and the skin's vertices that may touch them.
        stiffness: (V,) N/m of a contact of each vertex.
        node_of_vertex: (V,) the flesh's node of a vertex.
    """

    def __init__(
        self,
        rest: Tensor,
        lips: Lips | None,
        eyes: list[tuple[np.ndarray, np.ndarray]],
        teeth: list[tuple[np.ndarray, np.ndarray]],
        stiffness: Tensor,
        node_of_vertex: np.ndarray,
    ) -> None:
        self.lips, self._eyes, self._teeth = lips, eyes, teeth
        sheets = [lips.upper, lips.lower] if lips is not None else []
        groups = [*sheets, *(near for _, near in eyes), *(near for _, near in teeth), np.empty(0, np.int64)]
        self._vertex = np.concatenate(groups)
        self._node = node_of_vertex
        self._stiffness = stiffness[self._vertex]
        self._gap = torch.zeros(len(self._vertex), dtype=torch.float64)
        if len(self._vertex):
            opposite, weights, normal, offset, _ = self._planes(rest)
            apart = rest[self._vertex] - (weights[..., None] * rest[opposite]).sum(-2)
            self._gap = ((normal * apart).sum(-1) - offset).clamp(max=MARGIN_M)

    @property
    def touching(self) -> np.ndarray:
        """The nodes among which contacts pass forces: those of the lips."""
        if self.lips is None:
            return np.empty(0, np.int64)
        return self._node[np.union1d(self.lips.upper, self.lips.lower)]

    def __call__(self, posed: Tensor) -> Planes:
        """Of vertices (*B, V, 3) in the head's frame, float64."""
        if not len(self._vertex):
            none = posed.new_zeros(*posed.shape[:-2], 0, 3)
            return Planes(self._vertex, none.long(), none, none, none[..., 0], none[..., 0])
        opposite, weights, normal, offset, window = self._planes(posed)
        opposite = torch.from_numpy(self._node)[opposite]
        return Planes(
            self._node[self._vertex], opposite, weights, normal, offset + self._gap, window * self._stiffness
        )

    def _planes(self, posed: Tensor) -> tuple[Tensor, ...]:
        """Opposite vertices, weights, normals, offsets and a share of the stiffness of all contacts."""
        groups = []
        if self.lips is not None:
            lips, up = self.lips, torch.from_numpy(self.lips.up)
            groups.append(_across(posed, lips.upper, lips.lower_triangles, up))
            groups.append(_across(posed, lips.lower, lips.upper_triangles, -up))
        groups += [_on_ball(posed, ball, near) for ball, near in self._eyes]
        groups += [_on_row(posed, row, near) for row, near in self._teeth]
        return tuple(
            torch.cat(parts, -1 - last)
            for parts, last in zip(zip(*groups, strict=True), (1, 1, 1, 0, 0), strict=True)
        )


def _across(posed: Tensor, vertices: np.ndarray, sheet: np.ndarray, up: Tensor) -> tuple[Tensor, ...]:
    """The sheet's height below each vertex, seen along `up`."""
    triangles = torch.from_numpy(sheet)
    seen = posed - (posed @ up)[..., None] * up
    points, corners = seen[..., torch.from_numpy(vertices), :], seen[..., triangles, :]
    which = nearest_triangle(points, corners)
    chosen = corners.gather(-3, which[..., None, None].expand(*which.shape, 3, 3))
    weights = closest_barycentric(points, chosen)
    offset = torch.zeros_like(weights[..., 0])
    return triangles[which], weights, up.expand_as(weights), offset, torch.ones_like(offset)


def _on_ball(posed: Tensor, ball: np.ndarray, near: np.ndarray) -> tuple[Tensor, ...]:
    points, vertex = posed[..., torch.from_numpy(ball), :], torch.from_numpy(near)
    centre = points.mean(-2, keepdim=True)
    radius = _length(points - centre).mean(-2)  # [*B, 1]
    away = posed[..., vertex, :] - centre
    normal = away / _length(away)
    return _fixed(normal, (normal * centre).sum(-1) + radius, vertex)


def _on_row(posed: Tensor, row: np.ndarray, near: np.ndarray) -> tuple[Tensor, ...]:
    vertex, triangles = torch.from_numpy(near), torch.from_numpy(row)
    points, corners = posed[..., vertex, :], posed[..., triangles, :]
    which = nearest_triangle(points, corners)[..., None, None]
    chosen = corners.gather(-3, which.expand(*which.shape[:-2], 3, 3))
    weights = closest_barycentric(points, chosen)
    at_corners = _vertex_normals(posed, triangles)[..., triangles, :]
    normal = (weights[..., None] * at_corners.gather(-3, which.expand(*which.shape[:-2], 3, 3))).sum(-2)
    normal = normal / _length(normal)
    closest = (weights[..., None] * chosen).sum(-2)
    aside = (points - closest) - ((points - closest) * normal).sum(-1, keepdim=True) * normal
    share = (1 - aside.square().sum(-1) / WINDOW_M**2).clamp(min=0).square()
    opposite, none, normal, offset, _ = _fixed(normal, (normal * closest).sum(-1), vertex)
    return opposite, none, normal, offset, share


def _fixed(normal: Tensor, offset: Tensor, vertex: Tensor) -> tuple[Tensor, ...]:
    """Planes that ride on no nodes."""
    opposite = vertex[:, None].expand(*normal.shape[:-1], 3)
    return opposite, torch.zeros_like(normal), normal, offset, torch.ones_like(offset)


def _length(v: Tensor) -> Tensor:
    """(*B, 3) → (*B, 1)."""
    return v.square().sum(-1, keepdim=True).sqrt()


def _vertex_normals(points: Tensor, triangles: Tensor) -> Tensor:
    a, b, c = points[..., triangles, :].unbind(-2)
    normal = (b - a).cross(c - a, -1)[..., None, :].expand(*a.shape[:-1], 3, 3)
    return torch.zeros_like(points).index_add(-2, triangles.flatten(), normal.flatten(-3, -2))
