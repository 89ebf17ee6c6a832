"""Triangle ids on the CPU: a scan converter compiled by numba, one thread, exact in its edges."""

import math

import numba
import numpy as np
import torch
from torch import Tensor

SUBPIXEL_BITS = 8
SUBPIXEL = 1 << SUBPIXEL_BITS  # vertices snap to 1/256 px, so that shared edges leave no gaps
GUARD_PX = 1e6  # farther from the view than this a vertex is clamped: keeps the integer edge functions exact


@numba.njit(cache=True)
def _cut(inside: np.ndarray, outside: np.ndarray, at: np.ndarray) -> None:
    """Where an edge meets the near plane; always seen from the same end, so that neighbours agree."""
    depth = inside[2] + inside[3]
    at[:] = inside + depth / (depth - (outside[2] + outside[3])) * (outside - inside)


@numba.njit(cache=True)
def _clip_near(corners: np.ndarray, polygon: np.ndarray) -> int:
    """Clips a triangle (3, 4) at the near plane z = −w; writes at most 4 corners and returns their number."""
    depth = corners[:, 2] + corners[:, 3]
    inside0, inside1, inside2 = depth[0] >= 0, depth[1] >= 0, depth[2] >= 0
    count = int(inside0) + int(inside1) + int(inside2)
    # Turned so that the corners in front come first.
    if count == 2:
        first = 0 if not inside2 else 1 if not inside0 else 2
    else:
        first = 0 if inside0 else 1 if inside1 else 2
    a, b, c = corners[first], corners[(first + 1) % 3], corners[(first + 2) % 3]
    polygon[0], polygon[1], polygon[2] = a, b, c
    if count == 2:
        _cut(b, c, polygon[2])
        _cut(a, c, polygon[3])
    elif count == 1:
        _cut(a, b, polygon[1])
        _cut(a, c, polygon[2])
    number = (0, 3, 4, 3)[count]
    for k in range(number):
        if polygon[k, 3] <= 0:  # behind the camera, whatever the near plane says
            return 0
    return number


@numba.njit(cache=True)
def _fill(
    x0: int, y0: int, z0: float,
    x1: int, y1: int, z1: float,
    x2: int, y2: int, z2: float,
    triangle: int, ids: np.ndarray, depth: np.ndarray,
) -> None:  # fmt: skip
    """Scan-converts one triangle given in snapped pixels (int64) with z/w: top-left rule, nearest wins."""
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area == 0:
        return
    if area < 0:  # back faces are drawn too: the inside of the mouth and open meshes have two sides
        x0, y0, z0, x2, y2, z2, area = x2, y2, z2, x0, y0, z0, -area
    height, width = ids.shape
    half = SUBPIXEL // 2
    left = max(0, (min(x0, x1, x2) + half - 1) >> SUBPIXEL_BITS)  # the first centre not left of it
    right = min(width - 1, (max(x0, x1, x2) - half) >> SUBPIXEL_BITS)
    top = max(0, (min(y0, y1, y2) + half - 1) >> SUBPIXEL_BITS)
    bottom = min(height - 1, (max(y0, y1, y2) - half) >> SUBPIXEL_BITS)
    # Edge k runs from corner k+1 to corner k+2 and is ≥ 0 on the inner side; its step a pixel is an integer.
    dx0, dy0, dx1, dy1, dx2, dy2 = x2 - x1, y2 - y1, x0 - x2, y0 - y2, x1 - x0, y1 - y0
    # y points down: with positive area, a top edge runs right along dy == 0, a left edge runs up (dy < 0).
    bias0 = 0 if dy0 < 0 or (dy0 == 0 and dx0 > 0) else 1
    bias1 = 0 if dy1 < 0 or (dy1 == 0 and dx1 > 0) else 1
    bias2 = 0 if dy2 < 0 or (dy2 == 0 and dx2 > 0) else 1
    px = left * SUBPIXEL + half
    inverse = 1.0 / area
    for row in range(top, bottom + 1):
        py = row * SUBPIXEL + half
        e0 = dx0 * (py - y1) - dy0 * (px - x1)
        e1 = dx1 * (py - y2) - dy1 * (px - x2)
        e2 = dx2 * (py - y0) - dy2 * (px - x0)
        for column in range(left, right + 1):
            if e0 >= bias0 and e1 >= bias1 and e2 >= bias2:
                at = (e0 * z0 + e1 * z1 + e2 * z2) * inverse  # z/w is affine on the screen
                if at < depth[row, column]:
                    depth[row, column] = at
                    ids[row, column] = triangle
            e0 -= dy0 * SUBPIXEL
            e1 -= dy1 * SUBPIXEL
            e2 -= dy2 * SUBPIXEL


@numba.njit(cache=True)
def _to_screen(corner: np.ndarray, width: int, height: int) -> tuple[int, int, float]:
    """Snapped pixels and z/w of a corner in clip coordinates."""
    sx = (corner[0] / corner[3] + 1) * 0.5 * width
    sy = (1 - corner[1] / corner[3]) * 0.5 * height
    x = math.floor(min(max(sx, -GUARD_PX), GUARD_PX) * SUBPIXEL + 0.5)
    y = math.floor(min(max(sy, -GUARD_PX), GUARD_PX) * SUBPIXEL + 0.5)
    return x, y, corner[2] / corner[3]


@numba.njit(cache=True)
def _all_to_screen(
    clip: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which of the vertices (V, 4) are finite, which are in front of the near plane, and where these fall."""
    count = len(clip)
    finite, in_front = np.empty(count, np.bool_), np.empty(count, np.bool_)
    x, y, z = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.float64)
    for v in range(count):
        corner = clip[v].astype(np.float64)
        finite[v] = np.isfinite(corner).all()
        in_front[v] = finite[v] and corner[2] + corner[3] >= 0 and corner[3] > 0
        if in_front[v]:
            x[v], y[v], z[v] = _to_screen(corner, width, height)
    return finite, in_front, x, y, z


@numba.njit(cache=True)
def _rasterize(clip: np.ndarray, triangles: np.ndarray, ids: np.ndarray) -> None:
    """Fills ids (B, H, W) for clip coordinates (B, V, 4); −1 where nothing is seen."""
    batch, height, width = ids.shape
    depth = np.empty((height, width), np.float64)
    corners, polygon = np.empty((3, 4), np.float64), np.empty((4, 4), np.float64)
    for item in range(batch):
        picture = ids[item]
        picture[:] = -1
        depth[:] = np.inf
        finite, in_front, x, y, z = _all_to_screen(clip[item], width, height)
        for triangle in range(triangles.shape[0]):
            a, b, c = int(triangles[triangle, 0]), int(triangles[triangle, 1]), int(triangles[triangle, 2])
            if in_front[a] and in_front[b] and in_front[c]:
                _fill(x[a], y[a], z[a], x[b], y[b], z[b], x[c], y[c], z[c], triangle, picture, depth)
            elif finite[a] and finite[b] and finite[c]:  # a NaN vertex loses its own triangles only
                corners[0], corners[1], corners[2] = clip[item, a], clip[item, b], clip[item, c]
                x0, y0, z0 = x1, y1, z1 = 0, 0, 0.0
                for k in range(_clip_near(corners, polygon)):
                    x2, y2, z2 = _to_screen(polygon[k], width, height)
                    if k == 0:
                        x0, y0, z0 = x2, y2, z2
                    if k >= 2:
                        _fill(x0, y0, z0, x1, y1, z1, x2, y2, z2, triangle, picture, depth)
                    x1, y1, z1 = x2, y2, z2


def ids(clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """`(B, H, W)` int64: the interface of `pipeline.render.ids`. Vertices snap to 1/256 px; of equally near
    triangles the first wins. What lies on a GPU is fetched, and the answer is taken back."""
    found = torch.empty(clip.shape[0], *size, dtype=torch.int64)
    _rasterize(clip.cpu().contiguous().numpy(), triangles.cpu().contiguous().numpy(), found.numpy())
    return found.to(clip.device)
