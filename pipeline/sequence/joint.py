"""All frames at once: one Gauss–Newton step of a sequence.

Each frame is a quadratic about where it was found alone, and neighbours are tied by a random walk. So

    minimise Σ_t ½ d_tᵀH_t d_t + g_tᵀd_t + ½ Σ_t ‖x_{t+1} + d_{t+1} − x_t − d_t‖²_S / gap_t   over the box

has a block-tridiagonal matrix, whose blocks off the diagonal are diagonal: a band no wider than one frame.
Without a box, its solution is that of a Kalman smoother (Rauch, Tung and Striebel, "Maximum likelihood
estimates of linear dynamic systems", 1965), which is to say that no frame lags behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from pipeline.solve.box_qp import pivot
from pipeline.solve.priors import Prior


@dataclass(frozen=True)
class Found:
    """A frame by itself: ½ dᵀHd + gᵀd about x, of its landmarks, d of the F controls that are free; float64.

    Attributes:
        place: in the sequence.
        x: `(K,)`.
        hessian, gradient: `(F, F)`, `(F,)`.
    """

    place: int
    x: Tensor
    hessian: Tensor
    gradient: Tensor


def smooth(frames: Sequence[Found], prior: Prior, stiffness: Tensor) -> Tensor:
    """The controls `(T, K)` of frames that know of each other, in the order of their places.

    Args:
        prior: of every frame.
        stiffness: `(K,)` S's diagonal.
    """
    free = free_controls(prior)
    x = torch.stack([frame.x for frame in frames])
    gaps = torch.tensor([frame.place for frame in frames], dtype=x.dtype).diff()
    tie = stiffness[free] / gaps[:, None]  # (T − 1, F)
    blocks = torch.stack(
        [frame.hessian + prior.curvature(frame.x)[free][:, free] for frame in frames]
    )  # (T, F, F)
    gradient = torch.stack([frame.gradient + prior.gradient(frame.x)[free] for frame in frames])
    pulled = tie * x[:, free].diff(dim=0)
    none = torch.zeros_like(x[:1, free])
    gradient = gradient + torch.cat([none, pulled]) - torch.cat([pulled, none])
    chained = blocks + (torch.cat([none, tie]) + torch.cat([tie, none])).diag_embed()
    step = _in_box(chained, tie, gradient, prior.low[free] - x[:, free], prior.high[free] - x[:, free])
    return x.index_add(1, free, step)


def free_controls(prior: Prior) -> Tensor:
    """`(F,)` which of the K controls are not held."""
    return (prior.low < prior.high).nonzero().squeeze(-1)


def _in_box(blocks: Tensor, tie: Tensor, gradient: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The minimiser `(T, F)` of ½ dᵀMd + gradientᵀd, M of `blocks` and −`tie` beside them."""
    scale = blocks.diagonal(dim1=-2, dim2=-1).clamp(min=1e-30).rsqrt()
    blocks = scale[:, :, None] * blocks * scale[:, None, :]
    tie = scale[:-1] * tie * scale[1:]
    shape = gradient.shape

    def product(flat: Tensor) -> Tensor:
        d = flat.view(shape) / scale
        moved = (blocks @ d[..., None]).squeeze(-1)
        moved[1:] -= tie * d[:-1]
        moved[:-1] -= tie * d[1:]
        return (moved / scale).flatten()

    def solve_free(free: Tensor, right: Tensor) -> Tensor:
        kept = free.view(shape).to(blocks)
        masked = kept[:, :, None] * blocks * kept[:, None, :] + (1 - kept).diag_embed()
        band = _band(masked, kept[:-1] * tie * kept[1:])
        found = solveh_banded(band, (kept * scale * right.view(shape)).flatten().numpy(), lower=True)
        return (scale * torch.from_numpy(found).view(shape)).flatten()

    found = pivot(solve_free, product, scale.flatten(), gradient.flatten(), low.flatten(), high.flatten())
    return found.view(shape)


def _band(blocks: Tensor, tie: Tensor) -> np.ndarray:
    """LAPACK's lower band `(F + 1, T F)` of the matrix: row i holds the i-th diagonal below the main one."""
    count, size = blocks.shape[:2]
    band = np.zeros((size + 1, count, size))
    for i in range(size):
        band[i, :, : size - i] = blocks.diagonal(-i, dim1=-2, dim2=-1).numpy()
    band[size, :-1] = -tie.numpy()
    return band.reshape(size + 1, count * size)
