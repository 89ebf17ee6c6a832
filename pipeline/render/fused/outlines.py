"""The search for outlines on a CPU, compiled. What it finds, and how: see `pipeline.render.outlines`."""

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

SAME, EDGE, LOST = 0, 1, 2


@torch.library.custom_op("chainrig::outline_rows", mutates_args=(), device_types="cpu")
def outline_rows(
    size: list[int],
    pixel: Tensor,
    item: Tensor,
    triangle: Tensor,
    centre: Tensor,
    corners: Tensor,
    barycentric: Tensor,
    points: Tensor,
    vertices: int,
    triangles: Tensor,
    neighbours: Tensor,
    part: Tensor,
    jump: float,
    max_steps: int,
) -> Tensor:
    """Rows (axis, front, other, front sample, other sample, two ends of the edge), int64 `(K, 7)`.

    Args:
        size: B, height and width.
        pixel, item, triangle, centre, corners, barycentric: of the P fragments, in the order of their pixels.
        points: `(B·V, 3)` homogeneous, `vertices` = V.
        triangles, neighbours, part: of the surface.
        jump: in depth, in metres, that makes two samples candidates.
        max_steps: of a walk.
    """
    fragments = (pixel, item, triangle, centre, corners, barycentric, points)
    arguments: list[Any] = [*size, *(x.contiguous().numpy() for x in fragments)]
    arguments += [vertices, *(x.contiguous().numpy() for x in (triangles, neighbours, part)), jump, max_steps]
    return torch.from_numpy(_find(*arguments))


@numba.njit(cache=True)
def _find(
    count: int,
    height: int,
    width: int,
    pixel: np.ndarray,
    item: np.ndarray,
    triangle: np.ndarray,
    centre: np.ndarray,
    corner: np.ndarray,
    barycentric: np.ndarray,
    points: np.ndarray,
    vertices: int,
    triangles: np.ndarray,
    neighbours: np.ndarray,
    part: np.ndarray,
    jump: float,
    max_steps: int,
) -> np.ndarray:
    nothing = len(triangle)
    next_ = 0
    capacity, found = 1024, 0
    rows = np.empty((capacity, 7), np.int64)
    # What the samples of the row above see, and of this row up to here: its last entry is the neighbour to
    # the left.
    corners = np.empty((2, 3))
    fragment, shape, near = np.empty(width, np.int64), np.empty(width, np.int64), np.empty(width, np.float64)
    for b in range(count):
        for y in range(height):
            for x in range(width):
                here, tri, own, far = nothing, np.int64(-1), np.int64(-1), np.inf
                if next_ < nothing and pixel[next_] == (b * height + y) * width + x:
                    here, tri, far, next_ = next_, triangle[next_], 0.0, next_ + 1
                    own = part[tri]
                    for k in range(3):
                        far += barycentric[here, k] * points[corner[here, k], 2]
                for axis in range(2):
                    if axis == 0:
                        if x == 0:
                            continue
                        k = x - 1
                    else:
                        if y == 0:
                            continue
                        k = x
                    if tri == shape[k] or (
                        tri >= 0 and shape[k] >= 0 and own == part[shape[k]] and abs(far - near[k]) <= jump
                    ):
                        continue
                    if tri >= 0 and shape[k] >= 0 and _one_surface(tri, shape[k], triangles, part):
                        continue
                    before = fragment[k]
                    ahead = near[k] <= far  # the first of the two is nearer
                    front, other, target = (before, here, tri) if ahead else (here, before, shape[k])
                    outcome, start, end = _walk(
                        triangle[front], target, axis, 1.0 if ahead else -1.0, centre[front, axis],
                        centre[front, 1 - axis], item[front] * vertices, points, triangles, neighbours, part,
                        max_steps, corners,
                    )  # fmt: skip
                    if outcome == SAME:
                        continue
                    if found == capacity:
                        larger = np.empty((2 * capacity, 7), np.int64)
                        larger[:capacity] = rows
                        rows, capacity = larger, 2 * capacity
                    sample = (b * height + y) * width + x
                    earlier = sample - (1 if axis == 0 else width)
                    rows[found, 0], rows[found, 1], rows[found, 2] = axis, front, other
                    rows[found, 3], rows[found, 4] = (earlier, sample) if ahead else (sample, earlier)
                    rows[found, 5], rows[found, 6] = start, end
                    found += 1
                fragment[x], shape[x], near[x] = here, tri, far
    return rows[:found]


@numba.njit(cache=True)
def _walk(
    t: Any,
    target: Any,
    axis: int,
    towards: float,
    c_along: float,
    c_across: float,
    base: Any,
    points: np.ndarray,
    triangles: np.ndarray,
    neighbours: np.ndarray,
    part: np.ndarray,
    max_steps: int,
    corners: np.ndarray,
) -> tuple[int, int, int]:
    """What the walk ends at, and the ends of the outline's edge; `corners` (2, 3) is scratch space."""
    along, across = corners
    side, facing = -1, 0.0
    last = t
    for step in range(max_steps):
        for m in range(3):
            v = base + triangles[t, m]
            w = float(points[v, 2])
            if not (w > 0 and np.isfinite(points[v, 0]) and np.isfinite(points[v, 1]) and np.isfinite(w)):
                return _lost(last, target, triangles, part)
            along[m] = (points[v, axis] / w - c_along) * towards
            across[m] = points[v, 1 - axis] / w - c_across
        area = (along[1] - along[0]) * (across[2] - across[0])
        area -= (along[2] - along[0]) * (across[1] - across[0])
        if step > 0 and (area * facing < 0 or area == 0):
            return EDGE, base + triangles[t, (side + 1) % 3], base + triangles[t, (side + 2) % 3]
        facing, last = np.sign(area), t
        leave, at = -1, -np.inf
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            if k != side and (across[i] <= 0) != (across[j] <= 0):
                place = along[i] + across[i] / (across[i] - across[j]) * (along[j] - along[i])
                if place > at:
                    leave, at = k, place
        if leave < 0 or at >= 1:
            return _lost(last, target, triangles, part)
        beyond = neighbours[t, leave]
        if beyond < 0:
            return EDGE, base + triangles[t, (leave + 1) % 3], base + triangles[t, (leave + 2) % 3]
        t, side = beyond // 3, beyond % 3
    return _lost(last, target, triangles, part)


@numba.njit(cache=True)
def _lost(t: int, target: int, triangles: np.ndarray, part: np.ndarray) -> tuple[int, int, int]:
    """The same surface if the other sample's triangle is reached."""
    same = target >= 0 and _one_surface(t, target, triangles, part)
    return SAME if same else LOST, -1, -1


@numba.njit(cache=True)
def _one_surface(t: int, u: int, triangles: np.ndarray, part: np.ndarray) -> bool:
    """Whether two triangles of a part touch."""
    if part[t] == part[u]:
        for i in range(3):
            for j in range(3):
                if triangles[t, i] == triangles[u, j]:
                    return True
    return False
