"""Outlines, antialiased: how much of a sample's square lies on either side, so how it changes as they move.

Shading is differentiable inside a surface, but a pixel on an outline also changes because the outline sweeps
over it. A point sample cannot tell. So where an outline crosses the line from a sample A of the nearer
surface to its neighbour B at the distance u (`outlines.py` finds the edge of the mesh that does), the square
around the sample in which the crossing lies shows both sides:

    u < ½:  A ← A + c (½ − u) (B − A)          u > ½:  B ← B + c (u − ½) (A − B)

Both squares are then filtered exactly along the line, the picture is continuous as the outline moves from
sample to sample, and its derivative by u is the jump across the outline. An outline crosses rows and
columns; c, the squared component of its normal along the line, shares it out among them, so that the sum
over its crossings is the boundary term of the Reynolds transport theorem.

This is the antialiasing of Laine et al. ("Modular primitives for high-performance differentiable rendering",
2020, section 3.5), which blends where the visible triangle owns the outline's edge, with the walk of
`outlines.py` for the rest, and the pairs of Pidhorskyi, Simon, et al. ("Rasterized Edge Gradients", 2024),
whose term, worth zero, is left to surfaces that pierce each other: there no edge of the mesh is the outline,
and what moves is the point that the sample of the nearer surface sees.
"""

import torch
from torch import Tensor

from pipeline.render.outlines import Outlines
from pipeline.render.rasterize import Fragments, weigh


def edge_term(
    outlines: Outlines, fragments: Fragments, homogeneous: Tensor, color: Tensor, background: Tensor
) -> tuple[Tensor, Tensor]:
    """What outlines add to the samples; differentiable in all that is not an integer.

    Args:
        outlines: K crossings of `fragments`.
        fragments: P covered samples of B pictures.
        homogeneous: `(B, V, 3)` homogeneous coordinates on the grid of samples.
        color: `(P, C)` of the fragments.
        background: `(C,)` of the samples that see nothing.

    Returns:
        `(N,)` int64 indices of samples in the flattened (B, H, W), some more than once, and `(N, C)` to be
        added.
    """
    color = torch.cat([color, background[None]])
    points = homogeneous.flatten(0, 1)
    owned = (outlines.edge[:, 0] >= 0).nonzero().squeeze(-1)
    pierced = (outlines.edge[:, 0] < 0).nonzero().squeeze(-1)
    where, change = blend(outlines[owned], fragments, points, color)
    samples, zeros = piercing(outlines[pierced], fragments, points, color)
    return torch.cat([where, samples]), torch.cat([change, zeros])


def blend(outlines: Outlines, fragments: Fragments, points: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
    """Samples `(K,)` and what they gain `(K, C)` at outlines that are edges of the mesh.

    Args:
        points: `(N, 3)` homogeneous, that the edges join.
        color: `(P + 1, C)` of the fragments, and of nothing.
    """
    start, end = (points.index_select(0, i) for i in outlines.edge.unbind(1))
    start, end = start[:, :2] / start[:, 2:], end[:, :2] / end[:, 2:]
    along, across = outlines.axis[:, None], 1 - outlines.axis[:, None]
    slope = end - start
    centre = fragments.centre.index_select(0, outlines.front)
    share = (centre - start).gather(1, across) / slope.gather(1, across)
    crossing = start.gather(1, along) + share * slope.gather(1, along)
    towards = torch.where(outlines.other_sample > outlines.front_sample, 1, -1)[:, None]
    u = (towards * (crossing - centre.gather(1, along))).clamp(0, 1)  # [K, 1]
    normal = slope.gather(1, across).square() / slope.square().sum(-1, keepdim=True)

    front, other = color.index_select(0, outlines.front), color.index_select(0, outlines.other)
    inside = u.detach() < 0.5
    change = normal * torch.where(inside, (0.5 - u) * (other - front), (u - 0.5) * (front - other))
    return torch.where(inside.squeeze(-1), outlines.front_sample, outlines.other_sample), change


def piercing(
    outlines: Outlines, fragments: Fragments, points: Tensor, color: Tensor
) -> tuple[Tensor, Tensor]:
    """Samples `(2K,)`, and zeros `(2K, C)` that carry derivatives: half of the jump to either side.

    As `blend`, at outlines where surfaces pierce each other.
    """
    front = color.index_select(0, outlines.front).detach()
    other = color.index_select(0, outlines.other).detach()
    corners = fragments.corners.index_select(0, outlines.front)
    weights = fragments.barycentric.detach().index_select(0, outlines.front)
    point = weigh(points, corners, weights)
    at = (point[:, :2] / point[:, 2:]).gather(1, outlines.axis[:, None])
    towards = torch.where(outlines.other_sample > outlines.front_sample, 1, -1)[:, None]
    change = 0.5 * towards * (at - at.detach()) * (front - other)
    return torch.cat([outlines.front_sample, outlines.other_sample]), torch.cat([change, change])
