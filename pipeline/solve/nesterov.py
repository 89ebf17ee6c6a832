"""Nesterov's accelerated gradient: momentum that looks ahead before it asks for the slope.

    y = x + β (x − x₋),   x₊ = y − t M ∇f(y),   β = (n − 1)/(n + 2) after n steps

The points that are evaluated are the y ("A method for solving the convex programming problem with convergence
rate O(1/k²)", 1983). Where the value rises, an item starts over with n = 1 (O'Donoghue and Candès, "Adaptive
restart for accelerated gradient schemes", 2015, the function scheme), so that with a line search it never
does.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Point, Step, along
from pipeline.solve.gradient_descent import Steepest
from pipeline.solve.line_search import Armijo, Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver


@dataclass(frozen=True, kw_only=True)
class Nesterov(Solver):
    """Needs `Pullable`.

    Attributes:
        metric: as of `GradientDescent`.
    """

    search: Search = Armijo(grow=1.2)
    metric: Tensor | None = None

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Accelerated":
        return Accelerated(prior, self.metric)


class Accelerated(Steepest):
    """Remembers, for every item, how far the last x lies from y, and the number of steps since it started
    over."""

    def __init__(self, prior: Regulariser, metric: Tensor | None) -> None:
        super().__init__(prior, metric)
        self.behind = self.count = self.down = prior.low.new_zeros(())  # x − y, n − 1, x₊ − y

    def step(self, here: Point, size: Tensor) -> Step:
        plain, on = self.direction(here), (self.count / (self.count + 3))[..., None]
        self.down = self.prior.project(here.x + size[..., None] * plain) - here.x
        d = self.down + on * (self.down - self.behind)  # from y to x₊, then on by β (x₊ − x)
        return along(self.prior, here, d / size[..., None], size, plain)

    def tried(self, here: Point, step: Step, residual: Tensor, accepted: Tensor) -> None:
        # as seen from the new y = y + d, x₊ = y + down lies at down − d
        self.behind = torch.where(accepted[..., None], self.down - step.d, 0)
        self.count = torch.where(accepted, self.count + 1, 0)
