"""Mean and covariance of a Gaussian that is cut off at the sides of a box, by expectation propagation.

    p(d) ∝ exp(−½ dᵀHd + bᵀd)   where low ≤ d ≤ high, 0 elsewhere

Each side of the box is replaced by a Gaussian factor, chosen so that every coordinate has the mean and the
variance that it would have if its own interval were cut exactly and the others by their factors (Minka,
"Expectation propagation for approximate Bayesian inference", 2001; Cunningham, Hennig and Lacoste-Julien,
"Gaussian probabilities and expectation propagation", 2011, who find it accurate for boxes).
"""

import math

import numpy as np
import torch
from torch import Tensor

_NODES, _WEIGHTS = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(64))
_DEPTH = 40.0  # nats below its largest value where a density is as good as zero


def moments(
    precision: Tensor, pull: Tensor, low: Tensor, high: Tensor, sweeps: int = 100, tolerance: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Mean `(K,)` and covariance `(K, K)` of p, float64.

    Args:
        precision: `(K, K)` H, symmetric, positive definite but for coordinates with two sides.
        pull: `(K,)` b.
        low, high: `(K,)` with low < high; ±inf where there is no side.
        sweeps: updates of all factors at most.
        tolerance: stop when no mean moves by more than this part of its standard deviation, and no variance
            by more than this part of itself.
    """
    cut = low.isfinite() | high.isfinite()
    factor_precision = (high - low).square().reciprocal()  # wider than any cut leaves it, but never flat
    factor_pull = factor_precision * torch.where(factor_precision > 0, (low + high) / 2, 0)
    mean, covariance = _gaussian(precision + factor_precision.diag(), pull + factor_pull)
    for _ in range(sweeps):
        variance = covariance.diagonal()
        cavity_precision = (1 / variance - factor_precision).clamp(min=0)
        cavity_pull = mean / variance - factor_pull
        wanted_mean, wanted_variance = interval_moments(cavity_precision, cavity_pull, low, high)
        wanted_precision = (1 / wanted_variance - cavity_precision).clamp(min=0)
        wanted_pull = wanted_mean / wanted_variance - cavity_pull
        # half-way: all at once and all the way would overshoot where controls are correlated
        factor_precision = torch.where(cut, (factor_precision + wanted_precision) / 2, 0)
        factor_pull = torch.where(cut, (factor_pull + wanted_pull) / 2, 0)
        before, (mean, covariance) = mean, _gaussian(precision + factor_precision.diag(), pull + factor_pull)
        now = covariance.diagonal()
        still = ((mean - before).abs() <= tolerance * now.sqrt()) & (
            (now - variance).abs() <= tolerance * now
        )
        if bool(still.all()):
            break
    return mean, covariance


def interval_moments(precision: Tensor, pull: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of exp(−½ precision·d² + pull·d) on [low, high], each coordinate by itself; `(*B,)`.

    By quadrature over the part of the interval where the density is not negligible, so that a flat, a
    Gaussian and an exponential density are all exact to nine digits.
    """
    free = (pull / precision).nan_to_num(0.0)  # a flat density has no peak: any place will do
    peak = torch.minimum(torch.maximum(free, low), high)
    slope = (pull - precision * peak).abs()
    reach = 2 * _DEPTH / (slope + (slope.square() + 2 * _DEPTH * precision).sqrt())
    left, right = torch.maximum(low, peak - reach), torch.minimum(high, peak + reach)
    half = (right - left) / 2
    offset = (left + half - peak)[..., None] + half[..., None] * _NODES  # from the peak
    height = (pull - precision * peak)[..., None] * offset - 0.5 * precision[..., None] * offset.square()
    mass = _WEIGHTS * (height - height.amax(-1, keepdim=True)).exp()
    mass = mass / mass.sum(-1, keepdim=True)
    mean = (mass * offset).sum(-1)
    variance = (mass * (offset - mean[..., None]).square()).sum(-1)
    return peak + mean, variance.clamp(min=math.ulp(0.0) ** 0.5)


def _gaussian(precision: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance, of a matrix whose diagonal may span many orders of magnitude."""
    scale = precision.diagonal().rsqrt()
    factor = torch.linalg.cholesky(scale[:, None] * precision * scale)
    covariance = scale[:, None] * torch.cholesky_inverse(factor) * scale
    return covariance @ pull, covariance
