"""A rectifier whose value is exact and whose derivative can be smooth.

A network of rectifiers is piecewise affine: its derivative at a point says little about the slope over a
useful step. Replacing the step in the derivative (never in the value) by a sigmoid widens the neighbourhood
that it describes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _smooth_derivative(x: Tensor, slope: Tensor, smoothing: float) -> Tensor:
    """slope + (1 - slope)·sigmoid(x / (smoothing·std)), std over the pixels of a channel. (B, C, H, W)"""
    mean = x.mean(dim=(-2, -1), keepdim=True)  # [B, C, 1, 1]
    square = x.square().mean(dim=(-2, -1), keepdim=True)  # torch.var takes ten times as long, channels last
    std = (square - mean.square()).clamp_min(1e-12).sqrt()
    slope = slope[:, None, None]
    return torch.addcmul(slope, 1 - slope, torch.sigmoid(x / (smoothing * std)))


class _SmoothPReLU(torch.autograd.Function):
    """PReLU forward; the smooth derivative in forward- and reverse-mode AD. `slope` counts as a constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: Tensor, smoothing: float) -> Tensor:
        return F.prelu(x, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        x, slope, ctx.smoothing = inputs
        ctx.save_for_backward(x, slope)
        ctx.save_for_forward(x, slope)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        x, slope = ctx.saved_tensors
        return grad * _smooth_derivative(x, slope, ctx.smoothing), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:  # type: ignore[override]
        x, slope = ctx.saved_tensors
        return tangent * _smooth_derivative(x, slope, ctx.smoothing)


class Rectifier(nn.Module):
    """PReLU, x if x > 0 else weight·x, with one learned slope a channel.

    Args:
        channels: C of the input (B, C, H, W).

    Attributes:
        smoothing: width w ≥ 0 of the derivative's step in standard deviations of the channel: at w > 0 the
            derivative is weight + (1 - weight)·sigmoid(x / (w·std)), with std over the pixels of one sample.
            The value of the forward pass does not depend on it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))
        self.smoothing = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.smoothing == 0:
            return F.prelu(x, self.weight)
        if torch.compiler.is_compiling():  # which cannot trace a function with a `jvp` of its own
            value, slope = F.prelu(x, self.weight).detach(), self.derivative(x).detach()
            return value + slope * (x - x.detach())
        return _SmoothPReLU.apply(x, self.weight, self.smoothing)  # type: ignore[return-value]

    def derivative(self, x: Tensor) -> Tensor:
        """Of the value by x, (B, C, H, W)."""
        if self.smoothing == 0:
            return torch.where(x >= 0, 1, self.weight[:, None, None])
        return _smooth_derivative(x, self.weight, self.smoothing)
