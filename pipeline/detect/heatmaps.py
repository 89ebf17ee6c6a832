"""From heatmaps to points: the arg max, which has no derivative, and the smoothed one, which has.

Coordinates count pixels of the heatmap from its corner, pixel centres at +0.5.
"""

import torch
from torch import Tensor

from pipeline.derivatives.smoothing import soft_argmax

WINDOW = 4  # pixels to each side: the whole of a peak, and nothing of another
TEMPERATURE = 0.1  # of the peak's height
FAINT = 0.05  # a peak lower than this share of a trained one's is noise


def soft_decode(heatmaps: Tensor, temperature: float = TEMPERATURE, window: int | None = WINDOW) -> Tensor:
    """The smoothed arg max of each heatmap, `(*B, L, H, W)` → `(*B, L, 2)` x, y.

    The mean of the pixels, weighted by softmax(heatmap / (temperature · peak)); dividing by the peak makes a
    weak landmark as sharp as a strong one. At temperature 0 this is the centre of the largest pixel, without
    derivative. Over a whole heatmap, thousands of empty pixels outweigh the peak unless the temperature is
    so low that nothing is smoothed: hence the window around the largest pixel (docs/fan.md has the figures).

    Args:
        temperature: 0 or more, in units of the peak.
        window: pixels to each side of the largest that count; None: all.

    Raises:
        ChainRigError: a temperature below 0, or not finite.
    """
    centres = _centres(heatmaps)  # [H·W, 2]
    scores = heatmaps.flatten(-2)
    scores = scores / scores.amax(-1, keepdim=True).clamp_min(FAINT)
    if window is not None:
        largest = centres[scores.detach().argmax(-1)]  # [*B, L, 2]
        far = ((centres - largest[..., None, :]).abs() > window).any(-1)
        scores = scores.masked_fill(far, -torch.inf)
    return soft_argmax(scores, centres, temperature)


def hard_decode(heatmaps: Tensor) -> Tensor:
    """The largest pixel of each heatmap, `(*B, L, H, W)` → `(*B, L, 2)` x, y, as face-alignment reads it.

    Inside the border its centre is moved ¼ pixel toward the higher neighbour, along each axis. Piecewise
    constant: the derivative is 0.
    """
    rows, columns = heatmaps.shape[-2:]
    flat = heatmaps.flatten(-2)
    best = flat.argmax(-1)  # [*B, L]
    row, column = best // columns, best % columns

    def beside(step: int) -> Tensor:
        return flat.gather(-1, (best + step).clamp(0, rows * columns - 1)[..., None]).squeeze(-1)

    slope = torch.stack([beside(1) - beside(-1), beside(columns) - beside(-columns)], -1)
    inside = (row > 0) & (row < rows - 1) & (column > 0) & (column < columns - 1)
    return _centres(heatmaps)[best] + 0.25 * torch.sign(slope) * inside[..., None]


def _centres(heatmaps: Tensor) -> Tensor:
    """`(H·W, 2)` x, y of the pixels of `(*B, H, W)`, row by row."""
    y, x = (torch.arange(n, dtype=heatmaps.dtype, device=heatmaps.device) + 0.5 for n in heatmaps.shape[-2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
