"""sRGB at the edge, linear light inside (IEC 61966-2-1)."""

import torch
from torch import Tensor


def encode(linear: Tensor) -> Tensor:
    """Linear RGB → sRGB, any shape; differentiable everywhere, clamped to [0, 1] from above by the display only."""
    low = linear * 12.92
    high = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, low, high)


def decode(srgb: Tensor) -> Tensor:
    """sRGB → linear RGB, any shape."""
    low = srgb / 12.92
    high = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, low, high)
