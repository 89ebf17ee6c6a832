"""What a head posed by blendshapes puts in the way of its flesh: teeth, eyeballs, the lips' normals."""

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.quasistatic.closest_point import closest_barycentric, nearest_triangle
from pipeline.deform.quasistatic.contact import Obstacles, Touching
from pipeline.deform.quasistatic.facing import Facing, Sheet, sheet_gap
from pipeline.deform.quasistatic.touching import Lips

MARGIN_M = 2e-4  # that surfaces keep from each other
WINDOW_M = 0.004  # beside a tooth's surface, over which it stops holding
LEAST_COSINE = 0.4  # of a lip's normal with the direction between the lips: steeper counts as this


class Contacts:
    """All contacts of a face.

    Where surfaces are nearer than `MARGIN_M`, or in each other, in the neutral face of an identity, those
    vertices may stay so: there nothing pushes.

    - Lips: each lip's vertices stay on their side of the other lip (`facing.py`).
    - Eyes: vertices of the lids stay outside of the ball.
    - Teeth: a plane for each vertex nearby, that of the closest point of the row where blendshapes have both,
      with its normal between those of the row's vertices.

    Args:
        rest: (V, 3) the mean head.
        lips: or None.
        eyes: pairs of a ball's vertices and the skin's vertices that may touch it.
        teeth: pairs of triangles (F, 3) and the skin's vertices that may touch them.
        area: (V,) m² of each vertex.
        stiffness: N/m³ of a contact.
        skin: (M,) the vertices of free nodes, in the solver's order: node i is that of vertex `skin[i]`.

    Attributes:
        touching: the same for the solver.
    """

    def __init__(
        self,
        rest: np.ndarray,
        lips: Lips | None,
        eyes: list[tuple[np.ndarray, np.ndarray]],
        teeth: list[tuple[np.ndarray, np.ndarray]],
        area: np.ndarray,
        stiffness: float,
        skin: np.ndarray,
    ) -> None:
        self.lips, self._eyes, self._teeth, self._skin = lips, eyes, teeth, torch.from_numpy(skin)
        node = np.full(len(area), -1)
        node[skin] = np.arange(len(skin))
        none = np.empty(0, np.int64)
        planes = np.concatenate([none, *(near for _, near in teeth)])
        balls = np.concatenate([none, *(near for _, near in eyes)])
        self._plane_stiffness = torch.from_numpy(stiffness * area[planes])
        facing = None
        if lips is not None:
            upper, lower = (_sheet(rest, sheet, node, stiffness * area) for sheet in lips.triangles)
            facing = Facing(upper, lower, lips.up)
        self.touching = Touching(node[planes], node[balls], stiffness * area[balls], facing)

    def __call__(self, posed: Tensor, neutral: Tensor) -> Obstacles:
        """Of vertices (*B, V, 3) in the head's frame, float64: posed, and in the neutral face."""
        normal, offset, share = self._planes(posed)
        kept, rest, _ = self._planes(neutral)
        vertices = self._vertices([near for _, near in self._teeth])
        own = ((kept * neutral[..., vertices, :]).sum(-1) - rest).clamp(max=MARGIN_M)
        centre, radius = self._balls(posed)
        before, size = self._balls(neutral)
        vertices = self._vertices([near for _, near in self._eyes])
        gap = (neutral[..., vertices, :] - before).square().sum(-1).sqrt() - size
        lip_keep = posed.new_zeros(*posed.shape[:-2], 0)
        if self.touching.lips is not None:
            flesh = neutral[..., self._skin, :]
            lip_keep = sheet_gap(flesh, self._lip_normals(neutral), self.touching.lips)[0]
        return Obstacles(
            normal,
            offset + own,
            share * self._plane_stiffness,
            centre,
            radius + gap.clamp(max=MARGIN_M),
            self._lip_normals(posed),
            lip_keep.clamp(max=MARGIN_M),
        )

    def _vertices(self, groups: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *groups]))

    def _planes(self, posed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normals, offsets and a share of the stiffness."""
        none = posed.new_zeros(*posed.shape[:-2], 0, 3)
        rows = [(none, none[..., 0], none[..., 0])]
        rows += [_on_row(posed, row, near) for row, near in self._teeth]
        normal, offset, share = zip(*rows, strict=True)
        return torch.cat(normal, -2), torch.cat(offset, -1), torch.cat(share, -1)

    def _balls(self, posed: Tensor) -> tuple[Tensor, Tensor]:
        """Centres and radii, for each contact."""
        centres, radii = [posed.new_zeros(*posed.shape[:-2], 0, 3)], [posed.new_zeros(*posed.shape[:-2], 0)]
        for ball, near in self._eyes:
            points = posed[..., torch.from_numpy(ball), :]
            centre = points.mean(-2, keepdim=True)
            radius = (points - centre).square().sum(-1).sqrt().mean(-1, keepdim=True)
            centres.append(centre.expand(*centre.shape[:-2], len(near), 3))
            radii.append(radius.expand(*radius.shape[:-1], len(near)))
        return torch.cat(centres, -2), torch.cat(radii, -1)

    def _lip_normals(self, posed: Tensor) -> Tensor:
        """(*B, J, 3) of both sheets' samples, scaled along the direction between them."""
        normals, facing = [posed.new_zeros(*posed.shape[:-2], 0, 3)], self.touching.lips
        if self.lips is not None and facing is not None:
            up, sheets = torch.from_numpy(self.lips.up), (facing.upper, facing.lower)
            for sheet, triangles, sign in zip(sheets, self.lips.triangles, (-1.0, 1.0), strict=True):
                normal = _vertex_normals(posed, torch.from_numpy(triangles))[..., self._skin[sheet.nodes], :]
                normal = sheet.sample(normal / _length(normal))
                normal = normal / _length(normal)
                along = sign * (normal @ up)[..., None]
                normals.append(sign * up + (normal - sign * along * up) / along.clamp(min=LEAST_COSINE))
        return torch.cat(normals, -2)


def _sheet(rest: np.ndarray, triangles: np.ndarray, node: np.ndarray, stiffness: np.ndarray) -> Sheet:
    vertices, corners = np.unique(triangles, return_inverse=True)
    a, b, c = rest[triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return Sheet.sampled(node[vertices], corners.reshape(-1, 3), area, stiffness[vertices])


def _on_row(posed: Tensor, row: np.ndarray, near: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
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
    return normal, (normal * closest).sum(-1), share


def _length(v: Tensor) -> Tensor:
    """(*B, 3) → (*B, 1)."""
    return v.square().sum(-1, keepdim=True).sqrt()


def _vertex_normals(points: Tensor, triangles: Tensor) -> Tensor:
    a, b, c = points[..., triangles, :].unbind(-2)
    normal = (b - a).cross(c - a, -1)[..., None, :].expand(*a.shape[:-1], 3, 3)
    return torch.zeros_like(points).index_add(-2, triangles.flatten(), normal.flatten(-3, -2))
