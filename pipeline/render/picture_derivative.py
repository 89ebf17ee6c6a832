"""The derivative of a picture by the vertices, written out: a sum of small terms.

The colour of a sample depends on little: on its triangle's corners and the normals there. So does what an
outline adds: on the ends of an edge and on the colours of two samples. Three backward passes, one a channel,
over a mesh in which every sample has corners of its own give all these small Jacobians at once, from the
renderer's own formulas. After that, a derivative along a motion of the vertices is a weighted sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from pipeline.render import srgb
from pipeline.render.composite import pixel_of_sample
from pipeline.render.fused.terms import add_up
from pipeline.render.material import shade, unit
from pipeline.render.outlines import Outlines, find_outlines
from pipeline.render.rasterize import Fragments, seen_at, weigh
from pipeline.render.renderer import Renderer
from pipeline.render.silhouette import blend, piercing


@dataclass(frozen=True)
class Terms:
    """Parts of a derivative: the colour at `place` changes by Σₘ values[m] · (motion of corner m).

    Attributes:
        place: `(E,)` int64 index into the flattened (B, H, W), of samples or of pixels; many times each.
        corner: `(E, 3)` int64 index into the flattened (B, V) vertices.
        values: `(E, 3, 6, C)`: of a corner, by its position and its unit normal (xyz, xyz), of the channels.
    """

    place: Tensor
    corner: Tensor
    values: Tensor


class PictureDerivative:
    """∂X3/∂X2 of a renderer at vertices `(*B, V, 3)`.

    Args:
        renderer: a `Renderer`, not a subclass that draws otherwise.
    """

    @torch.no_grad()
    def __init__(self, renderer: Renderer, vertices: Tensor) -> None:
        self.renderer, self.vertices = renderer, vertices.detach()
        homogeneous = renderer.homogeneous(self.vertices)
        fragments = renderer.rasterize(homogeneous)
        parts = list(_parts(renderer, self.vertices, homogeneous, fragments))
        samples = Terms(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Terms)))
        pixel = pixel_of_sample(samples.place, fragments.size[2], renderer.samples)
        self.terms = Terms(pixel, samples.corner, samples.values / renderer.samples**2)

    @torch.no_grad()
    def push(self, tangents: Tensor) -> Tensor:
        """Changes `(n, *B, H, W, 3)` of the picture for motions `(n, *B, V, 3)` of the vertices."""
        vertices, size, normals = self.vertices, self.renderer.camera.size, self.renderer.surface.normals
        turning = torch.func.vmap(lambda d: torch.func.jvp(normals, (vertices,), (d,))[1])(tangents)
        motion = torch.cat([tangents, turning], -1).flatten(1, -2).permute(1, 2, 0)  # [B·V, 6, n]
        pixels = vertices.shape[:-2].numel() * size[0] * size[1]
        change = add_up(self.terms.place, self.terms.corner, self.terms.values, motion, pixels)
        change = change.flatten(0, 1).mT.contiguous()  # of a matrix that is quick
        return change.view(len(tangents), *vertices.shape[:-2], *size, -1)


def _parts(
    renderer: Renderer, vertices: Tensor, homogeneous: Tensor, fragments: Fragments
) -> Iterator[Terms]:
    """Terms of the samples' colours, and of the outlines between them."""
    batch, points = homogeneous.shape[:-2], homogeneous.reshape(-1, 3)
    metre = torch.eye(3, dtype=points.dtype, device=points.device)
    camera = renderer.camera.homogeneous(metre) * points.new_tensor([renderer.samples, renderer.samples, 1])
    camera = camera.expand(*batch, 3, 3).reshape(-1, 3, 3)  # [B, 3, 3]: homogeneous = position @ camera
    color, own = _shading(renderer, fragments, vertices, points, camera)
    yield Terms(fragments.pixel, fragments.corners, own)
    if not renderer.outlines:
        return
    found = find_outlines(fragments, homogeneous.reshape(-1, *homogeneous.shape[-2:]), renderer.surface)
    color = torch.cat([color, srgb.encode(renderer.background).to(color.dtype)[None]])
    owned = (found.edge[:, 0] >= 0).nonzero().squeeze(-1)
    pierced = (found.edge[:, 0] < 0).nonzero().squeeze(-1)
    yield from _edges(found[owned], fragments, points, color, own, camera)
    yield from _piercings(found[pierced], fragments, points, color, camera)


def _shading(
    renderer: Renderer, fragments: Fragments, vertices: Tensor, points: Tensor, camera: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours `(P, C)` of fragments, and their derivatives `(P, 3, 6, C)` by the corners."""
    surface, batch = renderer.surface, vertices.shape[:-2]
    uv_corners = surface.uv_triangles.index_select(0, fragments.triangle)
    attributes = torch.cat([vertices, surface.normals(vertices)], dim=-1).reshape(-1, 6)
    with torch.enable_grad():
        own, projected = (
            values.index_select(0, fragments.corners.flatten()).requires_grad_()
            for values in (attributes, points)
        )
        corners = torch.arange(len(own), device=own.device).view(-1, 3)  # no two fragments share a corner
        weights = seen_at(projected, corners, fragments.centre)
        alone = replace(fragments, corners=corners, barycentric=weights)
        position, normal = weigh(own, corners, weights).split(3, dim=-1)
        uv, level = weigh(surface.uv, uv_corners, weights), renderer.levels(projected, corners, uv_corners)
        normal, texel = renderer.look_up(alone, own[:, :3], unit(normal), uv, level)
        light = renderer.light.of_batch(batch)
        radiance = shade(renderer.material, light, texel, normal, unit(-position), fragments.item).radiance
        color = srgb.encode(radiance)
        by_own, by_projected = _by_channel(color, own, projected)
    by_own, by_projected = (by.unflatten(0, (-1, 3)) for by in (by_own, by_projected))
    by_own[:, :, :3] += _by_position(by_projected, camera, fragments.item)
    return color.detach(), by_own


def _edges(
    found: Outlines, fragments: Fragments, points: Tensor, color: Tensor, own: Tensor, camera: Tensor
) -> Iterator[Terms]:
    """Of outlines that are edges: by their ends, and by the colours on both sides."""
    one = torch.arange(len(found.front), device=points.device)
    two = one + len(one)
    alone = replace(found, front=one, other=two, edge=torch.stack([one, two], -1))
    item = fragments.item.index_select(0, found.front)
    with torch.enable_grad():
        ends = points.index_select(0, found.edge.mT.flatten()).requires_grad_()
        sides = color.index_select(0, torch.cat([found.front, found.other])).requires_grad_()
        centred = replace(fragments, centre=fragments.centre.index_select(0, found.front))
        where, change = blend(alone, centred, ends, sides)
        by_ends, by_sides = _by_channel(change, ends, sides)
    by_ends = by_ends.unflatten(0, (2, -1)).movedim(0, 1)  # [K, 2, 3, C]
    values = own.new_zeros(len(one), *own.shape[1:])
    values[:, :2, :3] = _by_position(by_ends, camera, item)
    yield Terms(where, found.edge[:, [0, 1, 1]], values)
    amounts = by_sides.diagonal(dim1=-2, dim2=-1).unflatten(0, (2, -1))  # [2, K, C]
    for side, amount in ((found.front, amounts[0]), (found.other, amounts[1])):
        seen = (side < len(own)).nonzero().squeeze(-1)  # where nothing is seen, nothing changes
        fragment = side[seen]
        yield Terms(where[seen], fragments.corners[fragment], own[fragment] * amount[seen][:, None, None])


def _piercings(
    found: Outlines, fragments: Fragments, points: Tensor, color: Tensor, camera: Tensor
) -> Iterator[Terms]:
    """Of outlines where surfaces pierce each other: by the corners of the nearer one."""
    one = torch.arange(len(found.front), device=points.device)
    corners = fragments.corners.index_select(0, found.front)
    alone = replace(found, front=one, other=one + len(one))
    with torch.enable_grad():
        own = points.index_select(0, corners.flatten()).requires_grad_()
        sides = color.index_select(0, torch.cat([found.front, found.other]))
        seen = replace(
            fragments,
            corners=torch.arange(len(own), device=own.device).view(-1, 3),
            barycentric=fragments.barycentric.index_select(0, found.front),
        )
        where, change = piercing(alone, seen, own, sides)
        (by_own,) = _by_channel(change[: len(one)], own)
    by_position = _by_position(
        by_own.unflatten(0, (-1, 3)), camera, fragments.item.index_select(0, found.front)
    )
    values = torch.cat([by_position, torch.zeros_like(by_position)], dim=-2)
    yield Terms(where, corners.repeat(2, 1), values.repeat(2, 1, 1, 1))


def _by_channel(outputs: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Of outputs `(N, C)`, each of which depends on inputs of its own: derivatives `(*input, C)`."""
    rows = [torch.autograd.grad(one.sum(), inputs, retain_graph=True) for one in outputs.unbind(-1)]
    return [torch.stack(by, -1) for by in zip(*rows, strict=True)]


def _by_position(by_projected: Tensor, camera: Tensor, item: Tensor) -> Tensor:
    """Derivatives `(N, m, 3, C)` by positions in metres of those by homogeneous coordinates."""
    if len(camera) == 1:
        return camera[0] @ by_projected
    return camera.index_select(0, item)[:, None] @ by_projected
