# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportIndexIssue=false
"""Triangle ids on a GPU: a scan converter in Triton, ours and free to use like the rest of ChainRig.

One warp takes one triangle (or a slice of it), walks the 8 × 8 tiles of its bounding box, and settles what is
nearest by an atomic minimum over 64 bits: depth above, the triangle's number below. The arithmetic is the CPU
backend's, in float64 and int64, so that both find the same ids; of triangles nearer to each other than
2⁻²⁹ in z/w the first wins. With TRITON_INTERPRET=1 in the environment it runs, slowly, on the CPU.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.render.backends.cpu import GUARD_PX, SUBPIXEL, SUBPIXEL_BITS

BITS = tl.constexpr(SUBPIXEL_BITS)
STEP = tl.constexpr(SUBPIXEL)
HALF = tl.constexpr(SUBPIXEL // 2)
GUARD = tl.constexpr(GUARD_PX)
TILE = tl.constexpr(8)
NOTHING = tl.constexpr((1 << 63) - 1)
PIXELS_A_SLICE = 4096  # a triangle is cut into slices when the picture has more pixels than this for each


def ids(clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """`(B, H, W)` int64: the interface of `pipeline.render.ids`."""
    height, width = size
    batch, vertices, count = clip.shape[0], clip.shape[1], len(triangles)
    nearest = torch.full((batch, height, width), NOTHING.value, dtype=torch.int64, device=clip.device)
    slices = max(1, min(64, height * width // (count * PIXELS_A_SLICE)))
    with torch.cuda.device_of(clip):
        _rasterize[(batch * count, slices)](
            clip.contiguous(), triangles.contiguous(), nearest, vertices, count, height, width, slices,
            num_warps=1, enable_fp_fusion=False,
        )  # fmt: skip
    return torch.where(nearest == NOTHING.value, -1, nearest & 0xFFFFFFFF)


@triton.jit(do_not_specialize=["vertices", "count", "height", "width", "slices"])  # compiled once
def _rasterize(clip, triangles, nearest, vertices, count, height, width, slices):
    item = tl.program_id(0) // count
    number = tl.program_id(0) % count
    corner = triangles + number.to(tl.int64) * 3
    clip += item.to(tl.int64) * vertices * 4
    nearest += item.to(tl.int64) * height * width

    inside0 = _in_front(clip, tl.load(corner))
    inside1 = _in_front(clip, tl.load(corner + 1))
    inside2 = _in_front(clip, tl.load(corner + 2))
    inside = inside0 + inside1 + inside2
    # Turned so that the corners in front of the near plane come first.
    after_outside = tl.where(inside2 == 0, 0, tl.where(inside0 == 0, 1, 2))
    at_inside = tl.where(inside0 == 1, 0, tl.where(inside1 == 1, 1, 2))
    first = tl.where(inside == 2, after_outside, at_inside)
    xa, ya, za, wa = _vertex(clip, tl.load(corner + first))
    xb, yb, zb, wb = _vertex(clip, tl.load(corner + (first + 1) % 3))
    xc, yc, zc, wc = _vertex(clip, tl.load(corner + (first + 2) % 3))
    finite = _finite(xa, ya, za, wa) & _finite(xb, yb, zb, wb) & _finite(xc, yc, zc, wc)
    inside = tl.where(finite, inside, 0)

    xd, yd, zd, wd = xa, ya, za, wa
    if inside == 2:
        xd, yd, zd, wd = _cut(xa, ya, za, wa, xc, yc, zc, wc)
        xc, yc, zc, wc = _cut(xb, yb, zb, wb, xc, yc, zc, wc)
    if inside == 1:
        xb, yb, zb, wb = _cut(xa, ya, za, wa, xb, yb, zb, wb)
        xc, yc, zc, wc = _cut(xa, ya, za, wa, xc, yc, zc, wc)
    if (inside > 0) & (wa > 0) & (wb > 0) & (wc > 0) & (wd > 0):
        x0, y0, z0 = _to_screen(xa, ya, za, wa, width, height)
        x1, y1, z1 = _to_screen(xb, yb, zb, wb, width, height)
        x2, y2, z2 = _to_screen(xc, yc, zc, wc, width, height)
        _fill(x0, y0, z0, x1, y1, z1, x2, y2, z2, number, nearest, height, width, slices)
        if inside == 2:
            x3, y3, z3 = _to_screen(xd, yd, zd, wd, width, height)
            _fill(x0, y0, z0, x2, y2, z2, x3, y3, z3, number, nearest, height, width, slices)


@triton.jit
def _vertex(clip, index):
    at = clip + index * 4
    x, y = tl.load(at).to(tl.float64), tl.load(at + 1).to(tl.float64)
    return x, y, tl.load(at + 2).to(tl.float64), tl.load(at + 3).to(tl.float64)


@triton.jit
def _in_front(clip, index):
    """1 where a vertex is on the seen side of the near plane z = −w, else 0."""
    x, y, z, w = _vertex(clip, index)
    return (z + w >= 0).to(tl.int32)


@triton.jit
def _finite(x, y, z, w):
    return (tl.abs(x) + tl.abs(y) + tl.abs(z) + tl.abs(w)) < float("inf")


@triton.jit
def _cut(x0, y0, z0, w0, x1, y1, z1, w1):
    """Where the edge from a corner in front to one behind meets the near plane."""
    t = (z0 + w0) / ((z0 + w0) - (z1 + w1))
    return x0 + t * (x1 - x0), y0 + t * (y1 - y0), z0 + t * (z1 - z0), w0 + t * (w1 - w0)


@triton.jit
def _to_screen(x, y, z, w, width, height):
    """Snapped pixels (int64) and z/w."""
    sx = (x / w + 1) * 0.5 * width
    sy = (1 - y / w) * 0.5 * height
    sx = tl.floor(tl.minimum(tl.maximum(sx, -GUARD), GUARD) * STEP + 0.5)
    sy = tl.floor(tl.minimum(tl.maximum(sy, -GUARD), GUARD) * STEP + 0.5)
    return sx.to(tl.int64), sy.to(tl.int64), z / w


@triton.jit
def _fill(x0, y0, z0, x1, y1, z1, x2, y2, z2, number, nearest, height, width, slices):
    """The pixels of a triangle in snapped pixels, by the top-left rule: `_fill` of the CPU backend."""
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    turned = area < 0  # back faces are drawn too
    x0, x2 = tl.where(turned, x2, x0), tl.where(turned, x0, x2)
    y0, y2 = tl.where(turned, y2, y0), tl.where(turned, y0, y2)
    z0, z2 = tl.where(turned, z2, z0), tl.where(turned, z0, z2)
    area = tl.abs(area)
    left = tl.maximum(0, (tl.minimum(tl.minimum(x0, x1), x2) + HALF - 1) >> BITS).to(tl.int32)
    right = tl.minimum(width - 1, (tl.maximum(tl.maximum(x0, x1), x2) - HALF) >> BITS).to(tl.int32)
    top = tl.maximum(0, (tl.minimum(tl.minimum(y0, y1), y2) + HALF - 1) >> BITS).to(tl.int32)
    bottom = tl.minimum(height - 1, (tl.maximum(tl.maximum(y0, y1), y2) - HALF) >> BITS).to(tl.int32)
    bottom = tl.where(area == 0, top - 1, bottom)
    dx0, dy0, dx1, dy1, dx2, dy2 = x2 - x1, y2 - y1, x0 - x2, y0 - y2, x1 - x0, y1 - y0
    bias0 = tl.where((dy0 < 0) | ((dy0 == 0) & (dx0 > 0)), 0, 1)
    bias1 = tl.where((dy1 < 0) | ((dy1 == 0) & (dx1 > 0)), 0, 1)
    bias2 = tl.where((dy2 < 0) | ((dy2 == 0) & (dx2 > 0)), 0, 1)
    inverse = 1.0 / tl.maximum(area, 1).to(tl.float64)
    lane = tl.arange(0, TILE)
    for upper in range(top + tl.program_id(1) * TILE, bottom + 1, slices * TILE):
        row = (upper + lane)[:, None]
        py = row.to(tl.int64) * STEP + HALF
        for start in range(left, right + 1, TILE):
            column = (start + lane)[None, :]
            px = column.to(tl.int64) * STEP + HALF
            e0 = dx0 * (py - y1) - dy0 * (px - x1)
            e1 = dx1 * (py - y2) - dy1 * (px - x2)
            e2 = dx2 * (py - y0) - dy2 * (px - x0)
            seen = (e0 >= bias0) & (e1 >= bias1) & (e2 >= bias2) & (row <= bottom) & (column <= right)
            depth = (e0.to(tl.float64) * z0 + e1.to(tl.float64) * z1 + e2.to(tl.float64) * z2) * inverse
            # z/w in [−1, 3) becomes 31 bits; what lies farther is nearly nothing and shares the last value.
            depth = tl.minimum(tl.maximum((depth + 1) * (1 << 29), 0), (1 << 31) - 1)
            key = (depth.to(tl.int64) << 32) | number
            tl.atomic_min(nearest + row.to(tl.int64) * width + column, key, mask=seen, sem="relaxed")
