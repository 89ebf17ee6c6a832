"""Where does the outline between two neighbouring samples run?

Between two samples that see different surfaces lies an outline: an edge of the mesh at which the nearer
surface ends or turns away from the camera. On a dense mesh it is seldom an edge of the triangle that the
sample sees, so it is walked to: from the sample's triangle towards the other sample, over its neighbours,
until one is missing or faces the other way. A walk that arrives at the other sample's triangle, or at one
that touches it, has found that there is no outline, only a steep surface.

Like the triangle ids, all this is integers and has no derivative. `find_plainly` is the reference, for any
device; on a CPU `fused/outlines.py` does the same in one pass.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pipeline.render.fused.outlines import outline_rows
from pipeline.render.rasterize import Fragments, weigh
from pipeline.render.surface import Surface

# Neighbours of one part whose depths differ by less are taken for one surface, without a walk.
DEPTH_JUMP_M = 0.0015
MAX_STEPS = 32  # of a walk; few outlines are so far from the sample in triangles


@dataclass(frozen=True)
class Outlines:
    """K places where an outline crosses the line from a sample to its right or lower neighbour.

    Attributes:
        axis: `(K,)` int64: 0 if the samples lie side by side, 1 if one above the other.
        front: `(K,)` int64: the fragment of the nearer surface.
        other: `(K,)` int64: the fragment behind it; P, their number, where nothing is seen.
        front_sample: `(K,)` int64 index into the flattened (B, H, W). Likewise `other_sample`.
        edge: `(K, 2)` int64: the ends of the mesh's edge in the flattened (B, V) vertices; −1 where the
            surfaces pierce each other, or the walk got lost.
    """

    axis: Tensor
    front: Tensor
    other: Tensor
    front_sample: Tensor
    other_sample: Tensor
    edge: Tensor

    def __getitem__(self, kept: Tensor) -> "Outlines":
        return Outlines(*(getattr(self, field.name)[kept] for field in fields(self)))


def find_outlines(fragments: Fragments, homogeneous: Tensor, surface: Surface) -> Outlines:
    """The outlines between all pairs of neighbouring samples.

    Args:
        fragments: what the samples of B pictures see.
        homogeneous: `(B, V, 3)` homogeneous coordinates on the grid of samples; W is the depth in metres.
        surface: the mesh.
    """
    if homogeneous.device.type != "cpu":
        return find_plainly(fragments, homogeneous.detach(), surface)
    rows = outline_rows(
        list(fragments.size),
        fragments.pixel,
        fragments.item,
        fragments.triangle,
        fragments.centre,
        fragments.corners,
        fragments.barycentric.detach(),
        homogeneous.detach().flatten(0, 1),
        homogeneous.shape[1],
        surface.triangles,
        surface.neighbours,
        surface.part_of_triangle,
        DEPTH_JUMP_M,
        MAX_STEPS,
    )
    return Outlines(*rows[:, :5].unbind(1), edge=rows[:, 5:])


def find_plainly(fragments: Fragments, homogeneous: Tensor, surface: Surface) -> Outlines:
    """`find_outlines` in plain torch, in another order."""
    pairs = _pairs(fragments, homogeneous, surface)
    triangle = torch.cat([fragments.triangle, fragments.triangle.new_tensor([-1])])
    apart = ~_one_surface(triangle[pairs.front], triangle[pairs.other], surface)
    pairs = pairs[apart.nonzero().squeeze(-1)]
    end, edge = _walk(pairs, fragments, homogeneous, surface)
    found = Outlines(**{**vars(pairs), "edge": edge})
    arrived = (edge[:, 0] < 0) & _one_surface(end, triangle[pairs.other], surface)
    return found[(~arrived).nonzero().squeeze(-1)]


def _one_surface(one: Tensor, other: Tensor, surface: Surface) -> Tensor:
    """Whether triangles `(K,)` and `(K,)` of a part touch; −1 is none."""
    some, other = other >= 0, other.clamp(min=0)
    shared = surface.triangles[one][:, :, None] == surface.triangles[other][:, None, :]
    part = surface.part_of_triangle
    return some & (part[one] == part[other]) & shared.flatten(1).any(-1)


def _pairs(fragments: Fragments, homogeneous: Tensor, surface: Surface) -> Outlines:
    """Neighbours of different parts, or with a step in depth: candidates, their edges not known yet."""
    count, height, width = fragments.size
    nothing = len(fragments.pixel)
    depth = weigh(homogeneous.flatten(0, 1)[:, 2:], fragments.corners, fragments.barycentric).squeeze(-1)
    depth = torch.cat([depth, depth.new_tensor([torch.inf])])
    part = surface.part_of_triangle.index_select(0, fragments.triangle)
    part = torch.cat([part, part.new_tensor([-1])])
    seen = torch.full((count * height * width,), nothing, device=depth.device)
    seen[fragments.pixel] = torch.arange(nothing, device=depth.device)
    parts, depths = (x.index_select(0, seen).view(fragments.size) for x in (part, depth))

    found = []
    for axis, stride in ((0, 1), (1, width)):
        length = fragments.size[2 - axis] - 1
        (part_a, part_b), (depth_a, depth_b) = (
            (x.narrow(2 - axis, 0, length), x.narrow(2 - axis, 1, length)) for x in (parts, depths)
        )
        candidate = (part_a != part_b) | ((depth_a - depth_b).abs() > DEPTH_JUMP_M)
        item, row, column = candidate.nonzero().unbind(-1)
        first = (item * height + row) * width + column
        a, b = seen[first], seen[first + stride]
        ahead = depth[a] <= depth[b]
        found.append(
            Outlines(
                axis=torch.full_like(a, axis),
                front=torch.where(ahead, a, b),
                other=torch.where(ahead, b, a),
                front_sample=torch.where(ahead, first, first + stride),
                other_sample=torch.where(ahead, first + stride, first),
                edge=a.new_full((len(a), 2), -1),
            )
        )
    return Outlines(*(torch.cat([getattr(one, field.name) for one in found]) for field in fields(Outlines)))


def _walk(
    pairs: Outlines, fragments: Fragments, homogeneous: Tensor, surface: Surface
) -> tuple[Tensor, Tensor]:
    """For each pair, the triangle `(K,)` at which the walk ended, and the outline's edge `(K, 2)` or −1."""
    triangles, neighbours = surface.triangles, surface.neighbours.flatten()
    points = homogeneous.flatten(0, 1).double()
    in_front = (points[:, 2] > 0) & points.isfinite().all(-1)
    screen = points[:, :2] / torch.where(in_front, points[:, 2], 1)[:, None]
    base = fragments.item.index_select(0, pairs.front) * homogeneous.shape[1]
    centre = fragments.centre.index_select(0, pairs.front).double()
    towards = torch.where(pairs.other_sample > pairs.front_sample, 1.0, -1.0).to(centre)
    end, edge = fragments.triangle.index_select(0, pairs.front), pairs.edge.clone()

    going = torch.arange(len(end), device=end.device)
    triangle, side, facing = end.clone(), torch.full_like(end, -1), torch.zeros_like(towards)
    for step in range(MAX_STEPS):
        corners = triangles[triangle] + base[going][:, None]
        usable = in_front[corners].all(-1)
        offset = screen[corners] - centre[going][:, None]  # [N, 3, 2]
        axis = pairs.axis[going][:, None, None].expand(-1, 3, 1)
        along = offset.gather(-1, axis).squeeze(-1) * towards[going][:, None]  # the walk runs from 0 to 1,
        across = offset.gather(-1, 1 - axis).squeeze(-1)  # where this is 0
        area = (along[:, 1] - along[:, 0]) * (across[:, 2] - across[:, 0])
        area = area - (along[:, 2] - along[:, 0]) * (across[:, 1] - across[:, 0])
        turned = (area * facing < 0) | (area == 0) if step else torch.zeros_like(usable)
        if step:  # the surface turns away at the edge by which the walk came here
            over = (usable & turned).nonzero().squeeze(-1)
            edge[going[over]] = corners[over].gather(1, _ends(side[over]))
        on = (usable & ~turned).nonzero().squeeze(-1)
        going, triangle, side, along, across = going[on], triangle[on], side[on], along[on], across[on]
        facing, corners = area[on].sign(), corners[on]
        end[going] = triangle

        leave, at = side.new_full(side.shape, -1), torch.full_like(facing, -torch.inf)
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            crosses = (across[:, i] <= 0) != (across[:, j] <= 0)
            rise = torch.where(crosses, across[:, i] - across[:, j], 1)
            place = along[:, i] + across[:, i] / rise * (along[:, j] - along[:, i])
            better = crosses & (side != k) & (place > at)
            leave, at = torch.where(better, k, leave), torch.where(better, place, at)
        inside = (leave >= 0) & (at < 1)
        next_ = torch.where(inside, neighbours[3 * triangle + leave.clamp(min=0)], -1)
        border = (inside & (next_ < 0)).nonzero().squeeze(-1)
        edge[going[border]] = corners[border].gather(1, _ends(leave[border]))
        on = (next_ >= 0).nonzero().squeeze(-1)
        going, facing, next_ = going[on], facing[on], next_[on]
        triangle, side = torch.div(next_, 3, rounding_mode="floor"), next_ % 3
        if len(going) == 0:
            break
    return end, edge


def _ends(side: Tensor) -> Tensor:
    """Which two corners `(N, 2)` an edge joins, if `side` `(N,)` numbers the corner opposite to it."""
    return torch.stack([(side + 1) % 3, (side + 2) % 3], dim=-1)
