"""RMSprop: every control has its own rate, by how large its slopes have been lately.

    s ← ρ s + (1 − ρ) ∇f²,   d = −rate · u ∇f / (√s + ε)

u is 1, or what counts as far for a control (Hinton, "Neural networks for machine learning", lecture 6, 2012).
Steps are about as long as the rate whatever the slope is, so units hardly matter and rough slopes hurt less;
the rate has to fall for it to come to rest.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step, along
from pipeline.solve.line_search import LearningRate, Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver

EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class RMSprop(Solver):
    """Needs `Pullable`.

    Attributes:
        rate: of the first step, in units of the controls.
        keep: ρ.
        metric: `(K,)`; its root is what counts as far for each control, in whose units the rate then is.
    """

    search: Search = LearningRate(decay=0.02)
    rate: float = 0.02
    keep: float = 0.9
    metric: Tensor | None = None

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "OwnRates":
        return OwnRates(prior, self)


class OwnRates(Memoryless):
    """Remembers the mean square of every control's slope."""

    needs = "gradient"

    def __init__(self, prior: Regulariser, settings: RMSprop) -> None:
        self.prior, self.settings = prior, settings
        self.unit = units(settings.metric)
        self.square: Tensor | None = None

    def arrive(self, here: Point, moved: Tensor) -> None:
        square = here.gradient.square()
        if self.square is not None:
            square = self.settings.keep * self.square + (1 - self.settings.keep) * square
            square = torch.where(moved[..., None], square, self.square)
        self.square = square

    def first_size(self, here: Point) -> Tensor:
        return torch.full_like(here.value, self.settings.rate)

    def step(self, here: Point, size: Tensor) -> Step:
        assert self.square is not None
        slope = self.prior.projected_gradient(here.x, here.gradient)
        direction = -self.unit * slope / (self.square.sqrt() + EPSILON)
        return along(self.prior, here, direction, size, direction)


def units(metric: Tensor | None) -> Tensor | float:
    """What counts as far for each control."""
    return 1.0 if metric is None else metric.sqrt()
