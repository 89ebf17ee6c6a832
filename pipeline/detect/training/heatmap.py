"""The postprocess: heatmaps to points. No parameters; differentiated in its input.

A point is the mean of the cells' places under the softmax of the scores, the lecture's smoothed arg max: a
hard arg max has no derivative, and is only as fine as the cells.
"""

import torch
from torch import Tensor

from pipeline.derivatives.smoothing import soft_argmax

SPREAD = 0.7  # cells; of the Gaussian that a training label is turned into


def decode(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """`(*B, H, W)` scores → `(*B, 2)` x, y in cells from the corner; centres lie at +0.5.

    Temperature 0 is the hard arg max, with a derivative of zero.
    """
    return soft_argmax(scores.flatten(-2), places(scores), temperature)


def places(scores: Tensor) -> Tensor:
    """`(H·W, 2)` x, y of the cells' centres of `(*B, H, W)`."""
    height, width = scores.shape[-2:]
    y = torch.arange(height, dtype=scores.dtype, device=scores.device) + 0.5
    x = torch.arange(width, dtype=scores.dtype, device=scores.device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)


def surprise(scores: Tensor, points: Tensor) -> Tensor:
    """How little the softmax of `(*B, H, W)` scores expects `(*B, 2)` points, in cells: `(*B,)` nats.

    Cross-entropy against a Gaussian around each point, cut off at the heatmap's edge. It teaches one peak;
    the distance of decoded points alone would be content with any distribution of the right mean.
    """
    x, y = points.unsqueeze(-2).unbind(-1)  # [*B, 1]
    across, down = _gaussian(x, scores.shape[-1]), _gaussian(y, scores.shape[-2])
    expected = ((scores @ across.unsqueeze(-1)).squeeze(-1) * down).sum(-1)
    return scores.flatten(-2).logsumexp(-1) - expected


def _gaussian(centre: Tensor, cells: int) -> Tensor:
    """Shares `(*B, cells)` of cells under a Gaussian about `(*B, 1)`."""
    places = torch.arange(cells, dtype=centre.dtype, device=centre.device) + 0.5
    return torch.softmax(-(places - centre).square() / (2 * SPREAD**2), -1)
