"""Gradient descent: straight down, as far as a line search finds it worth.

    d = −t · M ∇f

M is the identity, or a diagonal metric where controls differ in units. It needs little and is slow: on a
valley whose sides are κ times as steep as its floor, it takes some κ steps (Nocedal and Wright, "Numerical
Optimization", 2006, theorem 3.4).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step, along
from pipeline.solve.line_search import Armijo, Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver

REACH = 0.1  # of the first step, in the control that moves most: a tenth of an expression's range


@dataclass(frozen=True, kw_only=True)
class GradientDescent(Solver):
    """Needs `Pullable`.

    Attributes:
        metric: `(K,)` the diagonal of M: squares of what counts as far for each control; ones if omitted.
    """

    search: Search = Armijo()
    metric: Tensor | None = None

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Steepest":
        return Steepest(prior, self.metric)


class Steepest(Memoryless):
    """−M ∇f, without what pushes out of the box."""

    needs = "gradient"

    def __init__(self, prior: Regulariser, metric: Tensor | None) -> None:
        self.prior, self.metric = prior, metric

    def direction(self, here: Point) -> Tensor:
        slope = self.prior.projected_gradient(here.x, here.gradient)
        return -slope if self.metric is None else -self.metric * slope

    def first_size(self, here: Point) -> Tensor:
        """So that no control moves further than `REACH` of its scale."""
        direction = self.direction(here)
        scaled = direction if self.metric is None else direction / self.metric.sqrt()
        return REACH / scaled.abs().amax(-1).clamp(min=torch.finfo(scaled.dtype).tiny)

    def step(self, here: Point, size: Tensor) -> Step:
        direction = self.direction(here)
        return along(self.prior, here, direction, size, direction)
