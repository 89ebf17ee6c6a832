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
    batch, height, width = fragments.size
    device = color.device
    slot = torch.full((batch * height * width,), -1, dtype=torch.int64, device=device)
    slot[fragments.pixel] = torch.arange(len(fragments.pixel), device=device)
    points = homogeneous.flatten(0, 1)
    depth = weigh(points[:, 2:].detach(), fragments.corners, fragments.barycentric.detach()).squeeze(-1)
    grid = slot.view(batch, height, width)
    index = torch.arange(batch * height * width, device=device).view(batch, height, width)
    flat = color.detach().flatten(0, 2)
    term = torch.zeros_like(flat)
    for axis, (first, second) in enumerate(
        [((slice(None), slice(None), slice(0, -1)), (slice(None), slice(None), slice(1, None))),
         ((slice(None), slice(0, -1)), (slice(None), slice(1, None)))]
    ):  # fmt: skip
        a, b = grid[first].reshape(-1), grid[second].reshape(-1)
        pair = _candidates(fragments, part_of_triangle, depth, a, b)
        a, b = a[pair], b[pair]
        keep = _is_outline(fragments, points.detach(), part_of_triangle, depth, a, b)
        a, b, pair = a[keep], b[keep], pair[keep]
        infinite = torch.full((), torch.inf, dtype=depth.dtype, device=device)
        depth_a = torch.where(a >= 0, depth[a.clamp(min=0)], infinite)
        depth_b = torch.where(b >= 0, depth[b.clamp(min=0)], infinite)
        front = torch.where(depth_a <= depth_b, a, b)
        at = weigh(points, fragments.corners[front], fragments.barycentric[front].detach())  # the nearer surface's point
        position = at[:, axis : axis + 1] / at[:, 2:]
        motion = position - position.detach()  # worth 0, moves with the surface
        pixel_a, pixel_b = index[first].reshape(-1)[pair], index[second].reshape(-1)[pair]
        change = 0.5 * motion * (flat[pixel_a] - flat[pixel_b])
        term = term.index_add(0, pixel_a, change).index_add(0, pixel_b, change)
    return term.view_as(color)


def _candidates(fragments: Fragments, part: Tensor, depth: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Pairs that may be an outline: one side empty, another part, or a step in depth. A cheap test of all pairs."""
    if not len(fragments.pixel):
        return torch.zeros(0, dtype=torch.int64, device=a.device)
    # −1, nothing there, reads the last entry; the first test has already decided those pairs.
    parts = part[fragments.triangle]
    step = (depth[a] - depth[b]).abs() > DEPTH_JUMP_M
    both = (a >= 0) & (b >= 0)
    return (((a >= 0) != (b >= 0)) | (both & (step | (parts[a] != parts[b])))).nonzero().squeeze(-1)


def _is_outline(fragments: Fragments, points: Tensor, part: Tensor, depth: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Drops the pairs whose step in depth is only a steep surface: there one plane explains the other sample's depth."""
    empty = (a < 0) | (b < 0)
    parts = part[fragments.triangle]
    other_part = parts[a] != parts[b]
    # A curved surface leaves its own plane near its contour, but by less than half the step.
    jump = (0.5 * (depth[a] - depth[b]).abs()).clamp(min=DEPTH_JUMP_M)

    def beyond(here: Tensor, there: Tensor) -> Tensor:
        positions = points.index_select(0, fragments.corners[here].flatten()).view(-1, 3, 3)
        centre = pixel_centres(fragments.pixel[there], fragments.size, points.dtype)
        on_plane = (barycentrics(positions, centre) * positions[..., 2]).sum(-1)
        return (on_plane - depth[there]).abs() > jump

    return empty | other_part | (beyond(a, b) & beyond(b, a))
