"""From samples to pixels: outlines antialiased, then a box filter."""

import torch
from torch import Tensor

from pipeline.render import fused
from pipeline.render.fused.box_filter import BoxFilter
from pipeline.render.outlines import find_outlines
from pipeline.render.rasterize import Fragments
from pipeline.render.silhouette import edge_term
from pipeline.render.surface import Surface


def composite(
    fragments: Fragments,
    homogeneous: Tensor,
    surface: Surface,
    color: Tensor,
    background: Tensor,
    samples: int = 1,
    outlines: bool = True,
) -> Tensor:
    """Pictures of the means of samples × samples blocks.

    Args:
        fragments: what the samples of B pictures see.
        homogeneous: `(B, V, 3)` homogeneous coordinates on the grid of samples.
        surface: the mesh.
        color: `(P, C)` of the fragments.
        background: `(C,)` where nothing is seen.
        samples: per pixel along each side.
        outlines: whether outlines are antialiased, and carry derivatives to `homogeneous`.

    Returns:
        `(B, H, W, C)`; differentiable in `homogeneous`, `color` and `background`.
    """
    count, height, width = fragments.size
    size = (count, height // samples, width // samples)
    picture = background + box_filter(fragments.pixel, color - background, size, samples)
    if outlines:
        found = find_outlines(fragments, homogeneous, surface)
        sample, change = edge_term(found, fragments, homogeneous, color, background)
        picture = picture.index_add(0, pixel_of_sample(sample, width, samples), change / samples**2)
    return picture.view(*size, color.shape[1])


def box_filter(sample: Tensor, values: Tensor, size: tuple[int, int, int], samples: int) -> Tensor:
    """Means over the samples of each pixel: Σ values / samples².

    Args:
        sample: `(N,)` int64 indices into the flattened grid of samples; those left out are worth 0.
        values: `(N, C)`.
        size: (B, height, width) in pixels.
        samples: per pixel along each side.

    Returns:
        `(B·height·width, C)`.
    """
    pixels, width = size[0] * size[1] * size[2], size[2] * samples
    if fused.serves(values):
        return BoxFilter.apply(values, sample, width, samples, pixels)
    picture = values.new_zeros(pixels, values.shape[1])
    return picture.index_add(0, pixel_of_sample(sample, width, samples), values) / samples**2


def pixel_of_sample(sample: Tensor, width: int, samples: int) -> Tensor:
    """Flat indices of the pixels of samples, given by their flat indices in rows of `width`."""
    if samples == 1:
        return sample
    row = torch.div(sample, width, rounding_mode="floor")  # of all pictures, each of whole blocks of rows
    down, across = (torch.div(x, samples, rounding_mode="floor") for x in (row, sample - row * width))
    return down * (width // samples) + across
