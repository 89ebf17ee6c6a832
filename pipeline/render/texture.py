"""Bilinear look-up in a mipmapped texture, by gathering texels, so that it differentiates in both modes."""

import torch
from torch import Tensor
from torch.nn import functional


class Mipmaps:
    """A texture and its halvings, in one flat array.

    Args:
        texture: `(H, W, C)` linear, row 0 at v = 1 (the top of the picture). H and W are powers of two.
    """

    def __init__(self, texture: Tensor) -> None:
        levels = [texture]
        while min(levels[-1].shape[:2]) > 1:
            level = levels[-1].movedim(-1, 0)[None]
            levels.append(functional.avg_pool2d(level, 2)[0].movedim(0, -1))
        self.texels = torch.cat([level.reshape(-1, level.shape[-1]) for level in levels])
        device = texture.device
        self.heights = torch.tensor([level.shape[0] for level in levels], device=device)
        self.widths = torch.tensor([level.shape[1] for level in levels], device=device)
        sizes = self.heights * self.widths
        self.starts = sizes.cumsum(0) - sizes

    def sample(self, uv: Tensor, level: Tensor) -> Tensor:
        """Colours at texture coordinates.

        Args:
            uv: `(P, 2)` in [0, 1], v up; beyond that the border repeats.
            level: `(P,)` int64: 0 is the texture, each further level half of it.

        Returns:
            `(P, C)`; differentiable in `uv` and in the texture.
        """
        level = level.clamp(0, len(self.starts) - 1)
        width, height = self.widths[level], self.heights[level]
        x = uv[:, 0] * width - 0.5
        y = (1 - uv[:, 1]) * height - 0.5
        left, top = x.detach().floor(), y.detach().floor()
        fx, fy = (x - left)[:, None], (y - top)[:, None]
        i, j = left.to(torch.int64), top.to(torch.int64)
        x0, x1 = i.clamp(min=0).minimum(width - 1), (i + 1).clamp(min=0).minimum(width - 1)
        y0, y1 = j.clamp(min=0).minimum(height - 1), (j + 1).clamp(min=0).minimum(height - 1)
        upper, lower = self.starts[level] + y0 * width, self.starts[level] + y1 * width
        texels = self.texels
        above = torch.lerp(texels.index_select(0, upper + x0), texels.index_select(0, upper + x1), fx)
        below = torch.lerp(texels.index_select(0, lower + x0), texels.index_select(0, lower + x1), fx)
        return torch.lerp(above, below, fy)


def level_of_detail(texels_per_pixel: Tensor) -> Tensor:
    """The mip level at which a texel is about a pixel: `(…,)` areas ratio (texels² per pixel²) → int64."""
    return (0.5 * texels_per_pixel.clamp(min=1e-12).log2()).round().clamp(min=0).to(torch.int64)
