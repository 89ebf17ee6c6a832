"""How far a model is trusted: sizes that follow the ratio of the true to the predicted decrease.

A size is what the descent makes of it: the radius of a dogleg, or 1/λ of a damped step. Accepted is what
lowers the value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.solve.line_search import Sizes, Trial


@dataclass(frozen=True)
class TrustRegion:
    """Grows where more than `good` of a prediction came true, shrinks where less than `bad` did (Conn, Gould
    and Toint, "Trust-Region Methods", 2000, algorithm 6.1.1).

    Attributes:
        grow, shrink: factors.
        least, most: size.
    """

    good: float = 0.75
    bad: float = 0.25
    grow: float = 2.0
    shrink: float = 0.25
    least: float = 0.0
    most: float = 1e12

    def begin(self, first: Tensor) -> Sizes:
        return _Region(self, first)


@dataclass
class _Region:
    search: TrustRegion
    size: Tensor
    needs_slope: bool = False

    def judge(self, trial: Trial) -> Tensor:
        search, gain = self.search, trial.gain
        used = self.size if trial.used is None else torch.minimum(self.size, trial.used)
        size = torch.where(gain > search.good, torch.maximum(self.size, search.grow * used), self.size)
        size = torch.where(gain > search.bad, size, search.shrink * used)
        self.size = size.clamp(search.least, search.most)
        return gain > 0


@dataclass(frozen=True)
class Nielsen:
    """Smoothly by the gain when a step is accepted; ever faster down while steps are rejected (Nielsen,
    "Damping parameter in Marquardt's method", 1999)."""

    def begin(self, first: Tensor) -> Sizes:
        return _Smooth(first, torch.full_like(first, 2.0))


@dataclass
class _Smooth:
    size: Tensor
    growth: Tensor
    needs_slope: bool = False

    def judge(self, trial: Trial) -> Tensor:
        gain = trial.gain
        accepted = gain > 0
        damping = (1 - (2 * gain.clamp(0, 2) - 1) ** 3).clamp(1 / 3, 2)
        self.size = self.size / torch.where(accepted, damping, self.growth)
        self.growth = torch.where(accepted, 2.0, self.growth * 2)
        return accepted
