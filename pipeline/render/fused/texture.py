"""Trilinear look-up, fused. The formulas are those of `texture.py`."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from pipeline.render.fused import again


@numba.njit(cache=True)
def _place(u: float, v: float, width: int, height: int) -> tuple:
    """The texel at the upper left, how far beyond it, and whether moving on moves (not at the border)."""
    x, y = u * width - 0.5, (1 - v) * height - 0.5
    dx, dy = 0 < x < width - 1, 0 < y < height - 1
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    i, j = max(min(int(x), width - 2), 0), max(min(int(y), height - 2), 0)
    return i, j, x - i, y - j, dx, dy


@numba.njit(cache=True)
def _sample(
    texels: np.ndarray,
    sizes: np.ndarray,
    starts: np.ndarray,
    uv: np.ndarray,
    level: np.ndarray,
    first: np.ndarray,
    out: np.ndarray,
) -> None:
    top = len(starts) - 1
    for p in range(len(uv)):
        exact = min(max(float(level[p]), 0.0), float(top))
        fine = int(exact)
        share = exact - fine
        out[p] = 0
        for one in range(fine, min(fine + 1, top) + 1 if share > 0 else fine + 1):
            amount = share if one > fine else 1 - share
            width, height = sizes[one]
            i, j, fx, fy, _, _ = _place(uv[p, 0], uv[p, 1], width, height)
            a = first[p] + starts[one] + j * width + i
            b, down = a + (1 if width > 1 else 0), width if height > 1 else 0
            for c in range(texels.shape[1]):
                above = texels[a, c] + fx * (texels[b, c] - texels[a, c])
                below = texels[a + down, c] + fx * (texels[b + down, c] - texels[a + down, c])
                out[p, c] += amount * (above + fy * (below - above))


@numba.njit(cache=True)
def _sample_backward(
    texels: np.ndarray, sizes: np.ndarray, starts: np.ndarray, uv: np.ndarray, level: np.ndarray,
    first: np.ndarray, gradient: np.ndarray, of_texels: np.ndarray, of_uv: np.ndarray, of_level: np.ndarray,
) -> None:  # fmt: skip
    """Fills `of_uv` and `of_level`; `of_texels` if it has rows."""
    top = len(starts) - 1
    for p in range(len(uv)):
        exact = min(max(float(level[p]), 0.0), float(top))
        fine = int(exact)
        share = exact - fine
        gu, gv, gl = 0.0, 0.0, 0.0
        for one in range(fine, min(fine + 1, top) + 1):
            amount = share if one > fine else 1 - share
            sign = 1.0 if one > fine else -1.0
            width, height = sizes[one]
            i, j, fx, fy, dx, dy = _place(uv[p, 0], uv[p, 1], width, height)
            a = first[p] + starts[one] + j * width + i
            b, down = a + (1 if width > 1 else 0), width if height > 1 else 0
            for c in range(texels.shape[1]):
                g = gradient[p, c]
                ta, tb, tc, td = texels[a, c], texels[b, c], texels[a + down, c], texels[b + down, c]
                above, below = ta + fx * (tb - ta), tc + fx * (td - tc)
                gl += sign * g * (above + fy * (below - above))
                if dx:
                    gu += amount * g * width * ((1 - fy) * (tb - ta) + fy * (td - tc))
                if dy:
                    gv -= amount * g * height * (below - above)
                if len(of_texels):
                    of_texels[a, c] += amount * g * (1 - fx) * (1 - fy)
                    of_texels[b, c] += amount * g * fx * (1 - fy)
                    of_texels[a + down, c] += amount * g * (1 - fx) * fy
                    of_texels[b + down, c] += amount * g * fx * fy
        of_uv[p, 0], of_uv[p, 1] = gu, gv
        of_level[p] = gl if 0 <= level[p] <= top and fine < top else 0.0


class Sample(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plain: Callable, texels: Tensor, uv: Tensor, level: Tensor,
        sizes: Tensor, starts: Tensor, first: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.plain = plain
        ctx.save_for_backward(texels, uv, level, sizes, starts, first)
        out = uv.new_empty(len(uv), texels.shape[1])
        _sample(*_arrays(texels, sizes, starts, uv, level, first, out))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        texels, uv, level, sizes, starts, first = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *again(ctx.plain, (texels, uv, level), gradient), None, None, None
        of_texels = torch.zeros_like(texels if ctx.needs_input_grad[1] else texels[:0])
        of_uv, of_level = torch.empty_like(uv), torch.empty_like(level)
        given = (texels, sizes, starts, uv, level, first, gradient)
        _sample_backward(*_arrays(*given, of_texels, of_uv, of_level))
        return None, of_texels if ctx.needs_input_grad[1] else None, of_uv, of_level, None, None, None


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
