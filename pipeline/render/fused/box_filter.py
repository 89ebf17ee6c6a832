"""The box filter, fused. The formula is that of `composite.py`."""

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


@numba.njit(cache=True)
def _gather(values: np.ndarray, sample: np.ndarray, width: int, samples: int, out: np.ndarray) -> None:
    """out[pixel of the sample] += value / samples²."""
    share = values.dtype.type(1 / samples**2)
    for p in range(len(sample)):
        pixel = _pixel(sample[p], width, samples)
        for c in range(values.shape[1]):
            out[pixel, c] += share * values[p, c]


@numba.njit(cache=True)
def _scatter(gradient: np.ndarray, sample: np.ndarray, width: int, samples: int, out: np.ndarray) -> None:
    share = gradient.dtype.type(1 / samples**2)
    for p in range(len(sample)):
        pixel = _pixel(sample[p], width, samples)
        for c in range(gradient.shape[1]):
            out[p, c] = share * gradient[pixel, c]


@numba.njit(cache=True)
def _pixel(sample: int, width: int, samples: int) -> int:
    if samples == 1:
        return sample
    row = sample // width
    return row // samples * (width // samples) + (sample - row * width) // samples


class BoxFilter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, sample: Tensor, width: int, samples: int, pixels: int) -> Tensor:
        ctx.save_for_backward(sample)
        ctx.shape = (width, samples, values.shape)
        out = values.new_zeros(pixels, values.shape[1])
        _gather(values.detach().contiguous().numpy(), sample.numpy(), width, samples, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (sample,) = ctx.saved_tensors
        width, samples, shape = ctx.shape
        return Spread.apply(gradient, sample, width, samples, shape), None, None, None, None


class Spread(torch.autograd.Function):
    """The adjoint, which is linear too: its derivative is the filter."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, sample: Tensor, width: int, samples: int, shape: torch.Size
    ) -> Tensor:
        ctx.save_for_backward(sample)
        ctx.shape = (width, samples, len(gradient))
        out = gradient.new_empty(shape)
        _scatter(gradient.detach().contiguous().numpy(), sample.numpy(), width, samples, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (sample,) = ctx.saved_tensors
        return BoxFilter.apply(gradient, sample, *ctx.shape), None, None, None, None
