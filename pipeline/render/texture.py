"""Trilinear look-up in a mipmapped texture, by gathering texels, so that it differentiates in both modes."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ChainRigError
from pipeline.render import fused
from pipeline.render.fused.texture import Sample


class Mipmaps:
    """A texture and its halvings, in one flat array; or those of several textures, one after the other.

    Args:
        texture: `(*B, H, W, C)` linear, row 0 at v = 1 (the top of the picture). H and W are powers of two.

    Raises:
        ChainRigError: a side is not a power of two.
    """

    def __init__(self, texture: Tensor) -> None:
        self.require(texture, channels=texture.shape[-1])
        self.texture = texture
        levels = [texture.reshape(-1, *texture.shape[-3:]).movedim(-1, 1)]
        while min(levels[-1].shape[-2:]) > 1:
            levels.append(functional.avg_pool2d(levels[-1], 2))
        self.count = len(levels[0])  # of textures
        self.texels = torch.cat([level.flatten(2).mT for level in levels], dim=1).flatten(0, 1)  # [N·T, C]
        sizes = [(level.shape[-1], level.shape[-2]) for level in levels]
        self.sizes = torch.tensor(sizes, device=texture.device)  # [L, 2] width and height
        count = self.sizes.prod(-1)
        self.starts = count.cumsum(0) - count

    @staticmethod
    def require(texture: Tensor, channels: int) -> None:
        """Raises ChainRigError where a texture has not `channels` channels, or cannot be halved down to one
        texel.
        """
        if texture.dim() < 3 or texture.shape[-1] != channels:
            raise ChainRigError(
                f"A texture of {channels} channels has the shape (height, width, {channels}), "
                f"not {tuple(texture.shape)}."
            )
        height, width = texture.shape[-3:-1]
        if height < 1 or width < 1 or height & (height - 1) or width & (width - 1):
            raise ChainRigError(
                f"A texture of {width} x {height} texels cannot be halved down to one: resize it, "
                "so that each side is a power of two (256, 512, 1024, …)."
            )

    def sample(self, uv: Tensor, level: Tensor, item: Tensor | None = None) -> Tensor:
        """Colours at texture coordinates, between the two nearest levels (Williams, "Pyramidal parametrics",
        1983).

        Args:
            uv: `(P, 2)` in [0, 1], v up; beyond that the border repeats.
            level: `(P,)`: 0 is the texture, each further level half of it; beyond the coarsest that one.
            item: `(P,)` int64: whose texture; may be left out where there is one.

        Returns:
            `(P, C)`; differentiable in `uv`, in `level` and in the texture.
        """
        level = level.to(uv.dtype)
        own = len(self.texels) // self.count if self.count > 1 else 0  # texels until the next item's
        first = torch.zeros_like(level, dtype=torch.int64) if item is None else item * own
        if fused.serves(self.texels, uv, level):
            plain = partial(self._trilinear, first)
            return Sample.apply(plain, self.texels, uv, level, self.sizes, self.starts, first)
        return self._trilinear(first, self.texels, uv, level)

    def _trilinear(self, first: Tensor, texels: Tensor, uv: Tensor, level: Tensor) -> Tensor:
        level = level.clamp(0, len(self.starts) - 1)
        fine = level.detach().floor().to(torch.int64)
        coarse = (fine + 1).clamp(max=len(self.starts) - 1)
        near, far = self._bilinear(first, texels, uv, fine), self._bilinear(first, texels, uv, coarse)
        return torch.lerp(near, far, (level - fine)[:, None])

    def _bilinear(self, first: Tensor, texels: Tensor, uv: Tensor, level: Tensor) -> Tensor:
        """Colours `(P, C)` of single levels, `(P,)` int64, of textures that start at `first`."""
        size = self.sizes.to(uv.dtype).index_select(0, level)
        u, v = uv.unbind(-1)
        at = torch.stack([u, 1 - v], dim=-1) * size - 0.5  # in texels, whose centres are integers
        at = at.clamp(min=0).minimum(size - 1)
        low = at.detach().floor().minimum((size - 2).clamp(min=0))
        (fx, fy), (i, j) = (at - low).unsqueeze(-1).unbind(1), low.to(torch.int64).unbind(-1)
        width, height = self.sizes.index_select(0, level).unbind(-1)
        corner = first + self.starts.index_select(0, level) + j * width + i
        right, down = (width > 1).to(torch.int64), torch.where(height > 1, width, 0)
        above = torch.lerp(texels.index_select(0, corner), texels.index_select(0, corner + right), fx)
        corner = corner + down
        below = torch.lerp(texels.index_select(0, corner), texels.index_select(0, corner + right), fx)
        return torch.lerp(above, below, fy)


def level_of_detail(texels_per_pixel: Tensor) -> Tensor:
    """The mip level at which a texel is about a pixel: texels² per pixel² → levels ≥ 0, same shape.

    The finest level where the ratio is not a number (a triangle that crosses the camera's plane).
    Differentiable: a surface that comes nearer turns sharper.
    """
    ratio = texels_per_pixel.nan_to_num(1.0, 1.0, 1.0).clamp(
        min=1.0
    )  # half its binary logarithm is at least 0
    return 0.5 * ratio.log2()
