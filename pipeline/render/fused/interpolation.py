"""Barycentrics and interpolation, fused. The formulas are those of `rasterize.py`."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from pipeline.render.fused import again


@numba.njit(cache=True)
def _areas(points: np.ndarray, corners: np.ndarray, x: float, y: float) -> tuple:
    """Corners relative to a pixel, and the areas that the pixel spans with two of them."""
    i, j, k = corners
    x0, y0 = points[i, 0] - x * points[i, 2], points[i, 1] - y * points[i, 2]
    x1, y1 = points[j, 0] - x * points[j, 2], points[j, 1] - y * points[j, 2]
    x2, y2 = points[k, 0] - x * points[k, 2], points[k, 1] - y * points[k, 2]
    return x0, y0, x1, y1, x2, y2, x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1


@numba.njit(cache=True)
def _barycentrics(points: np.ndarray, corners: np.ndarray, centre: np.ndarray, out: np.ndarray) -> None:
    for p in range(len(corners)):
        _, _, _, _, _, _, a0, a1, a2 = _areas(points, corners[p], centre[p, 0], centre[p, 1])
        total = a0 + a1 + a2
        if total == 0:
            out[p] = 1 / 3
        else:
            inverse = 1 / total
            out[p, 0], out[p, 1], out[p, 2] = a0 * inverse, a1 * inverse, a2 * inverse


@numba.njit(cache=True)
def _barycentrics_backward(
    points: np.ndarray, corners: np.ndarray, centre: np.ndarray, gradient: np.ndarray, out: np.ndarray
) -> None:
    for p in range(len(corners)):
        x, y = centre[p, 0], centre[p, 1]
        x0, y0, x1, y1, x2, y2, a0, a1, a2 = _areas(points, corners[p], x, y)
        total = a0 + a1 + a2
        if total == 0:
            continue
        inverse = 1 / total
        g0, g1, g2 = gradient[p, 0], gradient[p, 1], gradient[p, 2]
        mean = (g0 * a0 + g1 * a1 + g2 * a2) * inverse
        g0, g1, g2 = (g0 - mean) * inverse, (g1 - mean) * inverse, (g2 - mean) * inverse
        for c, gx, gy in (
            (corners[p, 0], g2 * y1 - g1 * y2, g1 * x2 - g2 * x1),
            (corners[p, 1], g0 * y2 - g2 * y0, g2 * x0 - g0 * x2),
            (corners[p, 2], g1 * y0 - g0 * y1, g0 * x1 - g1 * x0),
        ):
            out[c, 0] += gx
            out[c, 1] += gy
            out[c, 2] -= x * gx + y * gy


@numba.njit(cache=True)
def _weigh(values: np.ndarray, corners: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    for p in range(len(corners)):
        i, j, k = corners[p]
        a, b, c = weights[p]
        for n in range(values.shape[1]):
            out[p, n] = a * values[i, n] + b * values[j, n] + c * values[k, n]


@numba.njit(cache=True)
def _weigh_backward(
    values: np.ndarray,
    corners: np.ndarray,
    weights: np.ndarray,
    gradient: np.ndarray,
    of_values: np.ndarray,
    of_weights: np.ndarray,
) -> None:
    """Fills the gradients that have rows."""
    for p in range(len(corners)):
        for m in range(3):
            corner, weight, total = corners[p, m], weights[p, m], values.dtype.type(0)
            if len(of_values):
                for n in range(values.shape[1]):
                    of_values[corner, n] += weight * gradient[p, n]
            if len(of_weights):
                for n in range(values.shape[1]):
                    total += values[corner, n] * gradient[p, n]
                of_weights[p, m] = total


class Barycentrics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Callable, points: Tensor, corners: Tensor, centre: Tensor) -> Tensor:
        ctx.plain = plain
        ctx.save_for_backward(points, corners, centre)
        out = points.new_empty(corners.shape)
        _barycentrics(*_arrays(points, corners, centre, out))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, corners, centre = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, again(lambda x: ctx.plain(x, corners, centre), (points,), gradient)[0], None, None
        out = torch.zeros_like(points)
        _barycentrics_backward(*_arrays(points, corners, centre, gradient, out))
        return None, out, None, None


class Weigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Callable, values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
        ctx.plain = plain
        ctx.save_for_backward(values, corners, weights)
        out = values.new_empty(len(corners), values.shape[1])
        _weigh(*_arrays(values, corners, weights, out))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, corners, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = again(lambda v, w: ctx.plain(v, corners, w), (values, weights), gradient)
            return None, found[0], None, found[1]
        of_values = torch.zeros_like(values if ctx.needs_input_grad[1] else values[:0])
        of_weights = torch.empty_like(weights if ctx.needs_input_grad[3] else weights[:0])
        _weigh_backward(*_arrays(values, corners, weights, gradient, of_values, of_weights))
        return (
            None,
            of_values if ctx.needs_input_grad[1] else None,
            None,
            of_weights if ctx.needs_input_grad[3] else None,
        )


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
