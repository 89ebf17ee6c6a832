"""How the picture changes when an outline moves: rasterized edges.

Shading is differentiable inside a surface, but a pixel on an outline also changes because the outline sweeps over it.
Between two neighbouring samples A | B that see different surfaces runs a piece of outline one sample long. If the nearer
surface moves by δ samples from A towards B, the picture around the pair changes by δ·(C_A − C_B), half of it in each of the two. The nearer surface moves as
the point of it that the sample sees. Horizontal pairs carry the motion in x, vertical pairs that in y: on an outline of any
slope the two counts are in the proportion of the normal's components, so their sum is the boundary term of the Reynolds
transport theorem (Pidhorskyi, Simon, et al., "Rasterized Edge Gradients", 2024).

The term added here is worth zero; only its derivative is not. So one code serves forward and reverse mode.
"""

import torch
from torch import Tensor

from pipeline.render.rasterize import Fragments, barycentrics, pixel_centres, weigh

DEPTH_JUMP_M = 0.0015  # a step in depth beyond the surface's own slope that counts as one thing in front of another


def edge_term(fragments: Fragments, homogeneous: Tensor, part_of_triangle: Tensor, color: Tensor) -> Tensor:
    """The zero-valued picture whose derivative is that of the moving outlines.

    Args:
        fragments: P covered pixels of B pictures.
        homogeneous: `(B, V, 3)` homogeneous pixels; W is the depth in metres.
        part_of_triangle: `(F,)` int64: outlines between two parts count whatever their depth.
        color: `(B, H, W, C)` the samples, before they are filtered to pixels.

    Returns:
        `(B, H, W, C)` zeros that carry derivatives to `homogeneous`.
    """
    device = color.device
    points = homogeneous.flatten(0, 1)
    count = fragments.size[0] * fragments.size[1] * fragments.size[2]
    part = part_of_triangle[fragments.triangle]
    depth = weigh(points[:, 2:].detach(), fragments.corners, fragments.barycentric.detach()).squeeze(-1)
    # The same as maps: −1 and infinitely far where nothing is seen.
    slot = torch.full((count,), -1, device=device).index_put((fragments.pixel,), torch.arange(len(depth), device=device))
    parts = torch.full((count,), -1, device=device).index_put((fragments.pixel,), part)
    depths = torch.full((count,), torch.inf, dtype=depth.dtype, device=device).index_put((fragments.pixel,), depth)
    flat = color.detach().flatten(0, 2)
    term = torch.zeros_like(flat)
    for axis in (0, 1):  # pairs side by side, then one above the other
        first, second = _pairs(parts.view(fragments.size), depths.view(fragments.size), axis)
        a, b = slot[first], slot[second]
        keep = _is_outline(fragments, points.detach(), part, depth, a, b)
        first, second, a, b = first[keep], second[keep], a[keep], b[keep]
        front = torch.where(depths[first] <= depths[second], a, b)
        at = weigh(points, fragments.corners[front], fragments.barycentric[front].detach())  # the nearer surface's point
        position = at[:, axis : axis + 1] / at[:, 2:]
        motion = position - position.detach()  # worth 0, moves with the surface
        change = 0.5 * motion * (flat[first] - flat[second])
        term = term.index_add(0, first, change).index_add(0, second, change)
    return term.view_as(color)


def _pairs(parts: Tensor, depths: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Neighbours `(N,)`, `(N,)` in x (axis 0) or y (axis 1) that may have an outline between them: other parts, or a step.

    A cheap test of all pairs of the maps `(B, H, W)`; indices into the flattened maps.
    """
    length = parts.shape[2 - axis] - 1
    parts_a, parts_b = parts.narrow(2 - axis, 0, length), parts.narrow(2 - axis, 1, length)
    depth_a, depth_b = depths.narrow(2 - axis, 0, length), depths.narrow(2 - axis, 1, length)
    found = ((parts_a != parts_b) | ((depth_a - depth_b).abs() > DEPTH_JUMP_M)).nonzero()
    height, width = parts.shape[1:]
    first = (found[:, 0] * height + found[:, 1]) * width + found[:, 2]
    return first, first + (1 if axis == 0 else width)


def _is_outline(fragments: Fragments, points: Tensor, part: Tensor, depth: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Drops the pairs of fragments whose step in depth is only a steep surface's: there a plane explains the other's depth.

    −1, nothing seen, reads the last fragment; `empty` has decided those pairs.
    """
    empty = (a < 0) | (b < 0)
    other_part = part[a] != part[b]
    # A curved surface leaves its own plane near its contour, but by less than half the step.
    jump = (0.5 * (depth[a] - depth[b]).abs()).clamp(min=DEPTH_JUMP_M)

    def beyond(here: Tensor, there: Tensor) -> Tensor:
        positions = points.index_select(0, fragments.corners[here].flatten()).view(-1, 3, 3)
        centre = pixel_centres(fragments.pixel[there], fragments.size, points.dtype)
        on_plane = (barycentrics(positions, centre) * positions[..., 2]).sum(-1)
        return (on_plane - depth[there]).abs() > jump

    return empty | other_part | (beyond(a, b) & beyond(b, a))
