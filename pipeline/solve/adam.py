"""Adam: RMSprop with momentum, both corrected for having begun at zero.

    m ← β₁ m + (1 − β₁) ∇f,   s ← β₂ s + (1 − β₂) ∇f²
    d = −rate · u m̂ / (√ŝ + ε),   m̂ = m / (1 − β₁ⁿ),   ŝ = s / (1 − β₂ⁿ)

(Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.) Where m̂ points uphill, ∇f
takes its place.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step, along
from pipeline.solve.line_search import LearningRate, Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.rmsprop import EPSILON, units
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver


@dataclass(frozen=True, kw_only=True)
class Adam(Solver):
    """Needs `Pullable`.

    Attributes:
        rate: of the first step, in units of the controls.
        keep, keep_squares: β₁, β₂.
        metric: as of `RMSprop`.
    """

    search: Search = LearningRate(decay=0.02)
    rate: float = 0.02
    keep: float = 0.9
    keep_squares: float = 0.99
    metric: Tensor | None = None

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Moments":
        return Moments(prior, self)


class Moments(Memoryless):
    """Remembers the mean and the mean square of every control's slope, and how many there were."""

    needs = "gradient"

    def __init__(self, prior: Regulariser, adam: Adam) -> None:
        self.prior, self.adam = prior, adam
        self.mean = self.square = self.count = prior.low.new_zeros(())

    def arrive(self, here: Point, moved: Tensor) -> None:
        keep, keep_squares = self.adam.keep, self.adam.keep_squares
        mean = keep * self.mean + (1 - keep) * here.gradient
        square = keep_squares * self.square + (1 - keep_squares) * here.gradient.square()
        self.mean = torch.where(moved[..., None], mean, self.mean)
        self.square = torch.where(moved[..., None], square, self.square)
        self.count = torch.where(moved, self.count + 1, self.count)

    def first_size(self, here: Point) -> Tensor:
        return torch.full_like(here.value, self.adam.rate)

    def step(self, here: Point, size: Tensor) -> Step:
        count = self.count[..., None]
        mean = self.mean / (1 - self.adam.keep**count)
        square = self.square / (1 - self.adam.keep_squares**count)
        rate = units(self.adam.metric) / (square.sqrt() + EPSILON)
        plain = -rate * self.prior.projected_gradient(here.x, here.gradient)
        return along(self.prior, here, -rate * mean, size, plain)
