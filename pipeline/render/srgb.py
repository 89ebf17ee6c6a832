"""sRGB at the edge, linear light inside (IEC 61966-2-1)."""

import torch
from torch import Tensor


def encode(linear: Tensor) -> Tensor:
    """Linear RGB → sRGB, any shape. Not clamped: light brighter than 1 stays so, and keeps its derivative."""
    low = linear * 12.92
    power = (linear.clamp(min=0.0031308).log() / 2.4).exp()  # cheaper than pow, in both directions
    return torch.where(linear <= 0.0031308, low, 1.055 * power - 0.055)


def decode(srgb: Tensor) -> Tensor:
    """sRGB → linear RGB, any shape."""
    low = srgb / 12.92
    high = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, low, high)
