"""From samples to pixels: outlines antialiased, then a box filter."""

import torch
from torch import Tensor

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
    picture = color.new_zeros(size[0] * size[1] * size[2], color.shape[1])
    picture = picture.index_add(0, pixel_of_sample(fragments.pixel, width, samples), color - background)
    if outlines:
        found = find_outlines(fragments, homogeneous.detach(), surface)
        sample, change = edge_term(found, fragments, homogeneous, color, background)
        picture = picture.index_add(0, pixel_of_sample(sample, width, samples), change)
    return (background + picture / samples**2).view(*size, color.shape[1])


def pixel_of_sample(sample: Tensor, width: int, samples: int) -> Tensor:
    """Flat indices of the pixels of samples, given by their flat indices in rows of `width`."""
    if samples == 1:
        return sample
    row = torch.div(sample, width, rounding_mode="floor")  # of all pictures, each of whole blocks of rows
    down, across = (torch.div(x, samples, rounding_mode="floor") for x in (row, sample - row * width))
    return down * (width // samples) + across
