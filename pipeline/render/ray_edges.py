"""How a ray-traced picture changes when an outline or the edge of a shadow moves: edge sampling.

Rays say nothing of what lies between them, so the boundary terms of the derivative are estimated on their
own, from points drawn on the edges of the mesh that part what is seen from what is not (Li, Aittala, Durand
and Lehtinen, "Differentiable Monte Carlo ray tracing through edge sampling", 2018). If a boundary with C₊ on
the side of its unit normal n and C₋ on the other moves by δ, a piece of length s changes the picture by s ·
(C₋ − C₊) · n·δ.

For the camera the boundaries are the projected silhouettes. For a point of the light they are the silhouettes
as it sees them, cast on to the surface behind and projected from there: the shadow's edge moves with the edge
that casts it, with the surface that it falls on, with the light and with the camera.

The terms are worth zero; only their derivatives are not. So one code serves forward and reverse mode.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.render.camera import NEAR_M
from pipeline.render.rasterize import Fragments
from pipeline.render.ray_sampling import even
from pipeline.render.ray_scene import LIFT, RayScene, lifted, weights_along

PER_LENGTH = 4.0  # points on a piece of outline as long as a sample
BESIDE = 0.01  # of a sample: how far from an outline its two sides are looked at
BESIDE_SHADOW = 5e-4  # of the depth: how far from a shadow's edge
# A shadow ray points at least this far above the horizon. Wrapped light reaches beyond it: it has come in at
# the horizon and scattered on, so it is shadowed as light at the horizon is. It also hides the facets of
# smooth surfaces.
HORIZON = 0.1
LIGHT_POINTS = 8  # of a soft light, whose shadows' edges are drawn

Colors = Callable[[RayScene, Tensor, Tensor, Tensor], Tensor]


class Shading(Protocol):
    """What the edges of shadows need of a ray tracer."""

    softness: float

    def sun(self, item: Tensor, dice: Tensor) -> Tensor: ...

    def touch(
        self, fragments: Fragments, vertices: Tensor, homogeneous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def direct(
        self, fragments: Fragments, normal: Tensor, texel: Tensor, to_eye: Tensor, to_light: Tensor
    ) -> Tensor: ...


def moving_outlines(scene: RayScene, colors: Colors, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Zeros, to be added to the samples, whose derivative is that of the moving outlines.

    Args:
        colors: linear RGB `(N, 3)` that the camera sees, for pictures `(N,)`, samples `(N,)` and points `(N,
            2)`.

    Returns:
        `(N,)` int64 indices of samples in the flattened (B, height, width), and `(N, 3)`.
    """
    ends, faces = mesh_edges(scene.surface.triangles)
    homogeneous = scene.homogeneous.detach()
    a, b, c = (homogeneous.index_select(1, corner) for corner in scene.surface.triangles.unbind(1))
    facing = (a * torch.linalg.cross(b, c)).sum(-1) > 0  # [B, F] seen from the one or the other side
    in_front = (homogeneous[..., 2] > NEAR_M)[:, ends].all(-1)
    item, edge = (in_front & _parted(facing, faces)).nonzero().unbind(-1)

    corners = ends.index_select(0, edge) + (item * homogeneous.shape[1])[:, None]
    points = scene.homogeneous.flatten(0, 1).index_select(0, corners.flatten()).view(-1, 2, 3)
    start, end = (points[..., :2] / points[..., 2:]).unbind(1)
    along = (end - start).detach()
    length = along.norm(dim=-1) * _near_view(scene, start.detach() + 0.5 * along, along.norm(dim=-1))
    chosen, t, weight = _draw(length, math.prod(scene.size), generator)
    at = torch.lerp(start.index_select(0, chosen), end.index_select(0, chosen), t)
    normal = _across(along.index_select(0, chosen))
    item = item.index_select(0, chosen)

    inside, sample = _sample_of(scene, item, at.detach())
    at, normal, item, weight = (x.index_select(0, inside) for x in (at, normal, item, weight))
    with torch.no_grad():
        sides = [at + sign * BESIDE * normal for sign in (1, -1)]
        rays = [scene.camera_rays(item, side) for side in sides]
        over, under = (scene.first(item, NEAR_M * ray, ray) for ray in rays)
        parted = (over != under).nonzero().squeeze(-1)
        item, sample = item.index_select(0, parted), sample.index_select(0, parted)
        plus, minus = (colors(scene, item, sample, side.index_select(0, parted)) for side in sides)
    at, normal, weight = (x.index_select(0, parted) for x in (at, normal, weight))
    return sample, (minus - plus) * (_motion(at) * normal).sum(-1, keepdim=True) * weight


def moving_shadows(scene: RayScene, tracer: Shading, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """As `moving_outlines`, for the edges of the shadows that the directional light casts."""
    item, to_light, ends, t, weight = _casting_edges(scene, tracer, generator)
    start, end = scene.points(ends).unbind(1)
    caster = torch.lerp(start, end, t)
    with torch.no_grad():
        triangle = scene.first(item, caster - LIFT * caster[:, 2:].abs() * to_light, -to_light)
    which = (triangle >= 0).nonzero().squeeze(-1)
    item, to_light, caster, run, weight, triangle = (
        x.index_select(0, which) for x in (item, to_light, caster, (end - start).detach(), weight, triangle)
    )

    # The shadow falls along the light on the triangle's plane.
    corners = scene.corners(item, triangle)
    a, b, c = scene.points(corners).unbind(1)
    plane = torch.linalg.cross(b - a, c - a)
    fallen = caster - _dot(plane, caster - a) / _dot(plane, to_light) * to_light
    to_pixels = scene.to_pixels.index_select(0, item)
    homogeneous = (fallen[:, None] @ to_pixels).squeeze(1)
    at = homogeneous[:, :2] / homogeneous[:, 2:]

    with torch.no_grad():
        run = run - _dot(plane, run) / _dot(plane, to_light) * to_light  # per unit of t, as far as the plane
        aside = functional.normalize(torch.linalg.cross(plane, run), dim=-1)
        moves = torch.stack([run, aside], dim=1) @ to_pixels  # [N, 2, 3]
        run, across = ((moves[..., :2] - at[:, None] * moves[..., 2:]) / homogeneous[:, None, 2:]).unbind(1)
        normal = _across(run)
        normal = torch.where(_dot(normal, across) < 0, -normal, normal)
        weight = weight * run.norm(dim=-1, keepdim=True)

        inside, sample = _sample_of(scene, item, at)
        rays = scene.camera_rays(item, at)
        seen = scene.first(item, NEAR_M * rays, rays).index_select(0, inside) == triangle.index_select(
            0, inside
        )
        inside, sample = inside[seen], sample[seen]
        item, triangle, to_light, aside, normal, weight, corners = (
            x.index_select(0, inside) for x in (item, triangle, to_light, aside, normal, weight, corners)
        )
        place, seen_at = fallen.index_select(0, inside), at.index_select(0, inside)
        weights = weights_along(scene.points(corners), place)
        fragments = Fragments(scene.size, sample, item, seen_at, triangle, corners, weights)
        _, shading_normal, texel = tracer.touch(fragments, scene.vertices, scene.homogeneous)
        sides = [place + sign * BESIDE_SHADOW * place[:, 2:] * aside for sign in (-1, 1)]
        plus, minus = (~scene.blocked(item, lifted(side, shading_normal), to_light) for side in sides)
        to_eye = functional.normalize(-place, dim=-1)
        light = tracer.direct(fragments, shading_normal, texel, to_eye, to_light)
        # Where the light comes in too low, shadow rays are bent and these edges are not where shadows end.
        light = light * (_dot(shading_normal, to_light) > HORIZON)
        change = (minus.to(light.dtype) - plus.to(light.dtype)) * light
    at = at.index_select(0, inside)
    return sample, change * (_motion(at) * normal).sum(-1, keepdim=True) * weight


def _casting_edges(
    scene: RayScene, tracer: Shading, generator: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Points on edges that part lit from unlit triangles, for points of the light.

    Returns:
        Pictures `(N,)`, unit vectors to the light `(N, 3)`, the edges' ends `(N, 2)` as indices into the
        flattened (B, V), the places `(N, 1)` between them in [0, 1], and the lengths `(N, 1)` that the points
        stand for, in units of the edge's and weighted by the share of the point of the light.
    """
    ends, faces = mesh_edges(scene.surface.triangles)
    vertices = scene.vertices.detach()
    count, points = len(vertices), LIGHT_POINTS if tracer.softness > 0 else 1
    shift = torch.from_numpy(generator.random((1, 2))).to(vertices)
    dice = even(torch.arange(points, device=vertices.device), shift).repeat(count, 1)
    owner = torch.arange(count, device=vertices.device).repeat_interleave(points)
    lights = tracer.sun(owner, dice)  # [B * K, 3]

    a, b, c = (vertices.index_select(1, corner) for corner in scene.surface.triangles.unbind(1))
    facing = torch.linalg.cross(b - a, c - a) @ lights.detach().view(count, points, 3).mT > 0  # [B, F, K]
    light, edge = _parted(facing.transpose(1, 2).flatten(0, 1), faces).nonzero().unbind(-1)
    item = owner.index_select(0, light)
    corners = ends.index_select(0, edge) + (item * vertices.shape[1])[:, None]
    pixels = scene.homogeneous.detach().flatten(0, 1).index_select(0, corners.flatten()).view(-1, 2, 3)
    size = (pixels[..., :2] / pixels[..., 2:].clamp(min=NEAR_M)).diff(dim=1).squeeze(1).norm(dim=-1)
    chosen, t, weight = _draw(size, math.prod(scene.size), generator)
    weight = weight / (points * size.index_select(0, chosen)[:, None])
    item, light, corners = (x.index_select(0, chosen) for x in (item, light, corners))
    return item, lights.index_select(0, light), corners, t, weight


def _parted(facing: Tensor, faces: Tensor) -> Tensor:
    """Which edges `(N, E)` have but one triangle, or two `(E, 2)` that face different ways, `facing` `(N,
    F)`."""
    one, other = facing.index_select(1, faces[:, 0]), facing.index_select(1, faces[:, 1].clamp(min=0))
    return (one != other) | (faces[:, 1] < 0)


def _draw(length: Tensor, limit: int, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points spread evenly over pieces of `length` `(S,)`.

    Returns:
        The pieces `(N,)` int64, the places on them `(N, 1)` in [0, 1], and the length `(N, 1)` that a point
        stands for, all for N points: `PER_LENGTH` a unit, but not more than `limit`.
    """
    length = length.nan_to_num(0, 0, 0)
    total = length.sum()
    count = min(int((total * PER_LENGTH).ceil()), limit)
    offset = torch.from_numpy(generator.random(count)).to(length)
    stops = length.cumsum(0)
    along = (torch.arange(count, device=length.device) + offset) / max(count, 1) * total
    piece = torch.searchsorted(stops, along).clamp(max=len(length) - 1)
    size = length.index_select(0, piece)
    t = 1 - (stops.index_select(0, piece) - along) / size.clamp(min=1e-12)
    return piece, t.clamp(0, 1)[:, None], (total / max(count, 1)).expand(count, 1)


def _sample_of(scene: RayScene, item: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Which points `(N, 2)` are on the grids, `(M,)`, and the indices `(M,)` of the samples about them."""
    _, height, width = scene.size
    column, row = at.detach().floor().to(torch.int64).unbind(-1)
    inside = ((column >= 0) & (column < width) & (row >= 0) & (row < height)).nonzero().squeeze(-1)
    sample = (item * height + row) * width + column
    return inside, sample.index_select(0, inside)


def _near_view(scene: RayScene, middle: Tensor, length: Tensor) -> Tensor:
    """Whether pieces of `length` `(S,)` about points `(S, 2)` may touch the grid."""
    _, height, width = scene.size
    x, y = middle.unbind(-1)
    return (x > -length) & (x < width + length) & (y > -length) & (y < height + length)


def _motion(at: Tensor) -> Tensor:
    """Worth 0, moves as `at` does."""
    return at - at.detach()


def _across(along: Tensor) -> Tensor:
    """Unit vectors perpendicular to `(N, 2)`."""
    return functional.normalize(torch.stack([along[:, 1], -along[:, 0]], dim=-1), dim=-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def mesh_edges(triangles: Tensor) -> tuple[Tensor, Tensor]:
    """The ends `(E, 2)` of a mesh's edges, and the triangles `(E, 2)` at each; −1 for the second if not
    two."""
    pairs = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).sort(-1).values
    base = int(triangles.max()) + 1 if len(triangles) else 1
    keys, edge, count = (pairs[:, 0] * base + pairs[:, 1]).unique(return_inverse=True, return_counts=True)
    ends = torch.stack([torch.div(keys, base, rounding_mode="floor"), keys % base], dim=-1)
    face = torch.arange(len(triangles), device=triangles.device).repeat(3)
    order = edge.argsort(stable=True)
    first = count.cumsum(0) - count
    second = (first + 1).clamp(max=len(order) - 1)
    ordered = face.index_select(0, order)
    faces = torch.stack([ordered.index_select(0, first), ordered.index_select(0, second)], dim=-1)
    faces[:, 1] = torch.where(count == 2, faces[:, 1], -1)
    return ends, faces
