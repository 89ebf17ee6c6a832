"""Which triangle does a pixel see, and where on it?

Only the first question (the triangle-id buffer) needs a backend; its answer is an integer and has no derivative. The
second (perspective-correct barycentrics, and all that is interpolated with them) is plain torch: one code for every
device and both modes of differentiation.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

SUBPIXEL = 256  # vertices snap to 1/256 px before coverage is tested, so that shared edges leave no gaps
GUARD_PX = 1e6  # farther from the view than this a vertex is clamped: keeps the integer edge functions exact


@numba.njit(cache=True)
def _clip_near(corners: np.ndarray, polygon: np.ndarray) -> int:
    """Sutherland–Hodgman against the near plane z ≥ −w; writes at most 4 corners and returns their number."""
    count = 0
    for i in range(3):
        here, there = corners[i], corners[(i + 1) % 3]
        inside_here = here[2] + here[3]
        inside_there = there[2] + there[3]
        if inside_here >= 0:
            polygon[count] = here
            count += 1
        if (inside_here >= 0) != (inside_there >= 0):
            t = inside_here / (inside_here - inside_there)
            polygon[count] = here + t * (there - here)
            count += 1
    return count


@numba.njit(cache=True)
def _fill(x: np.ndarray, y: np.ndarray, z: np.ndarray, triangle: int, ids: np.ndarray, depth: np.ndarray) -> None:
    """Scan-converts one triangle given in snapped pixels (int64) with z/w: top-left rule, nearest wins."""
    height, width = ids.shape
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    if area == 0:
        return
    a, b, c = 0, 1, 2
    if area < 0:  # back faces are drawn too: the inside of the mouth and open meshes have two sides
        b, c, area = 2, 1, -area
    half = SUBPIXEL // 2
    left = max(0, (min(x[0], x[1], x[2]) - half + SUBPIXEL - 1) // SUBPIXEL)
    right = min(width - 1, (max(x[0], x[1], x[2]) - half) // SUBPIXEL)
    top = max(0, (min(y[0], y[1], y[2]) - half + SUBPIXEL - 1) // SUBPIXEL)
    bottom = min(height - 1, (max(y[0], y[1], y[2]) - half) // SUBPIXEL)
    # Edge k runs from corner k+1 to corner k+2 and is ≥ 0 on the inner side; its step per pixel is an integer.
    ax, ay, bx, by, cx, cy = x[a], y[a], x[b], y[b], x[c], y[c]
    dx0, dy0, dx1, dy1, dx2, dy2 = cx - bx, cy - by, ax - cx, ay - cy, bx - ax, by - ay
    # y points down: with positive area, a top edge runs right along dy == 0, a left edge runs up (dy < 0).
    bias0 = 0 if dy0 < 0 or (dy0 == 0 and dx0 > 0) else -1
    bias1 = 0 if dy1 < 0 or (dy1 == 0 and dx1 > 0) else -1
    bias2 = 0 if dy2 < 0 or (dy2 == 0 and dx2 > 0) else -1
    px0 = left * SUBPIXEL + half
    inverse = 1.0 / area
    for row in range(top, bottom + 1):
        py = row * SUBPIXEL + half
        e0 = dx0 * (py - by) - dy0 * (px0 - bx)
        e1 = dx1 * (py - cy) - dy1 * (px0 - cx)
        e2 = dx2 * (py - ay) - dy2 * (px0 - ax)
        for column in range(left, right + 1):
            if e0 + bias0 >= 0 and e1 + bias1 >= 0 and e2 + bias2 >= 0:
                at = (e0 * z[a] + e1 * z[b] + e2 * z[c]) * inverse  # z/w is affine on the screen
                if at < depth[row, column]:
                    depth[row, column] = at
                    ids[row, column] = triangle
            e0 -= dy0 * SUBPIXEL
            e1 -= dy1 * SUBPIXEL
            e2 -= dy2 * SUBPIXEL


@numba.njit(cache=True)
def _rasterize(clip: np.ndarray, triangles: np.ndarray, ids: np.ndarray) -> None:
    """Fills ids (B, H, W) for clip coordinates (B, V, 4); −1 where nothing is seen."""
    batch, height, width = ids.shape
    depth = np.empty((height, width), np.float64)
    corners = np.empty((3, 4), np.float64)
    polygon = np.empty((4, 4), np.float64)
    x, y, z = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.float64)
    px, py, pz = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, np.float64)
    for item in range(batch):
        ids[item] = -1
        depth[:] = np.inf
        for triangle in range(triangles.shape[0]):
            finite = True
            for i in range(3):
                for j in range(4):
                    corners[i, j] = clip[item, triangles[triangle, i], j]
                    finite = finite and np.isfinite(corners[i, j])
            if not finite:  # a NaN vertex loses its own triangles, not the picture
                continue
            count = _clip_near(corners, polygon)
            for k in range(count):
                w = polygon[k, 3]
                sx = (polygon[k, 0] / w + 1) * 0.5 * width
                sy = (1 - polygon[k, 1] / w) * 0.5 * height
                px[k] = round(min(max(sx, -GUARD_PX), GUARD_PX) * SUBPIXEL)
                py[k] = round(min(max(sy, -GUARD_PX), GUARD_PX) * SUBPIXEL)
                pz[k] = polygon[k, 2] / w
            for k in range(1, count - 1):
                x[0], x[1], x[2] = px[0], px[k], px[k + 1]
                y[0], y[1], y[2] = py[0], py[k], py[k + 1]
                z[0], z[1], z[2] = pz[0], pz[k], pz[k + 1]
                _fill(x, y, z, triangle, ids[item], depth)


@torch.library.custom_op("chainrig::triangle_ids", mutates_args=(), device_types="cpu")
def _triangle_ids_cpu(clip: Tensor, triangles: Tensor, height: int, width: int) -> Tensor:
    ids = torch.empty(clip.shape[0], height, width, dtype=torch.int64)
    _rasterize(clip.contiguous().numpy(), triangles.contiguous().numpy(), ids.numpy())
    return ids


@_triangle_ids_cpu.register_fake
def _(clip: Tensor, triangles: Tensor, height: int, width: int) -> Tensor:
    return clip.new_empty((clip.shape[0], height, width), dtype=torch.int64)


@_triangle_ids_cpu.register_vmap
def _(info, in_dims, clip: Tensor, triangles: Tensor, height: int, width: int):  # noqa: ANN001, ANN202
    clip = clip.movedim(in_dims[0], 0)
    ids = _triangle_ids_cpu(clip.flatten(0, 1), triangles, height, width)
    return ids.unflatten(0, clip.shape[:2]), 0


def triangle_ids(clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """The triangle that each pixel's centre sees.

    Args:
        clip: `(*B, V, 4)` OpenGL clip coordinates, float32 or float64.
        triangles: `(F, 3)` int64 vertex indices, either winding.
        size: (height, width) in pixels.

    Returns:
        `(*B, H, W)` int64, −1 where no triangle is seen. Coverage follows the top-left rule on vertices snapped to
        1/256 px; triangles are clipped at the near plane; where a vertex is not finite its triangles are left out.
    """
    batch = clip.shape[:-2]
    flat = clip.detach().reshape(math.prod(batch), *clip.shape[-2:])
    return _triangle_ids_cpu(flat, triangles, *size).reshape(*batch, *size)


@dataclass(frozen=True)
class Fragments:
    """What the covered pixels of a batch of B pictures see; P pixels are covered, in all pictures together.

    Attributes:
        size: (B, height, width).
        pixel: `(P,)` int64 index into the flattened (B, H, W).
        triangle: `(P,)` int64.
        corners: `(P, 3)` int64 index of the triangle's corners into the flattened (B, V) vertices.
        barycentric: `(P, 3)` perspective-correct, differentiable; sums to 1.
    """

    size: tuple[int, int, int]
    pixel: Tensor
    triangle: Tensor
    corners: Tensor
    barycentric: Tensor

    def interpolate(self, attribute: Tensor) -> Tensor:
        """Values `(P, C)` of a vertex attribute `(B, V, C)`."""
        return weigh(attribute.flatten(0, 1), self.corners, self.barycentric)


def weigh(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Σᵢ weightsᵢ · values[cornersᵢ]: `(N, C)`, `(P, 3)`, `(P, 3)` → `(P, C)`."""
    return sum(weights[:, i : i + 1] * values.index_select(0, corners[:, i]) for i in range(3))  # type: ignore[return-value]


def barycentrics(corners: Tensor, pixel_xy: Tensor) -> Tensor:
    """Perspective-correct barycentrics of pixels on the planes of their triangles.

    In homogeneous pixels qᵢ = (Xᵢ − x·Wᵢ, Yᵢ − y·Wᵢ), the weight of corner i is the signed area qⱼ × qₖ of the other two,
    divided by their sum (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997).

    Args:
        corners: `(P, 3, 3)` homogeneous pixels (X, Y, W) of the three corners.
        pixel_xy: `(P, 2)`.

    Returns:
        `(P, 3)`; uniform where the triangle has no area on the screen.
    """
    x = corners[..., 0] - pixel_xy[:, :1] * corners[..., 2]  # [P, 3]
    y = corners[..., 1] - pixel_xy[:, 1:] * corners[..., 2]
    (x0, x1, x2), (y0, y1, y2) = x.unbind(-1), y.unbind(-1)
    area = torch.stack([x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1], dim=-1)
    total = area.sum(-1, keepdim=True)
    flat = total == 0
    return torch.where(flat, 1 / 3, area / torch.where(flat, 1.0, total))


def pixel_centres(pixel: Tensor, size: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """(x, y) `(P, 2)` of the centres of pixels given by their flat index into (B, H, W)."""
    _, height, width = size
    inside = pixel % (height * width)
    return torch.stack([inside % width, inside // width], dim=-1).to(dtype) + 0.5


def rasterize(homogeneous: Tensor, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Fragments:
    """Fragments of a batch of meshes.

    Args:
        homogeneous: `(B, V, 3)` homogeneous pixels (`Camera.homogeneous`, at the resolution of `size`).
        clip: `(B, V, 4)` the same points in clip coordinates.
        triangles: `(F, 3)` int64.
    """
    ids = triangle_ids(clip, triangles, size).flatten()
    shape = (clip.shape[0], *size)
    pixel = (ids >= 0).nonzero().squeeze(-1)
    triangle = ids.index_select(0, pixel)
    item = pixel // (size[0] * size[1])
    corners = triangles.index_select(0, triangle) + (item * clip.shape[1])[:, None]
    positions = homogeneous.flatten(0, 1).index_select(0, corners.flatten()).view(-1, 3, 3)
    weights = barycentrics(positions, pixel_centres(pixel, shape, homogeneous.dtype))
    return Fragments(shape, pixel, triangle, corners, weights)
