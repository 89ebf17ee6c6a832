"""Gradient descent with momentum, Polyak's heavy ball.

    d = −t M ∇f + β d₋

d₋ is the last step taken. In a narrow valley, steps across it cancel and steps along it add up ("Some methods
of speeding up the convergence of iteration methods", 1964). A rejected step drops the momentum of its item,
so that with a line search the value never rises.
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
class Momentum(Solver):
    """Needs `Pullable`.

    Attributes:
        keep: β, the part of the last step that lives on.
        metric: as of `GradientDescent`.
    """

    search: Search = Armijo(grow=1.2)
    keep: float = 0.9
    metric: Tensor | None = None

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "HeavyBall":
        return HeavyBall(prior, self.metric, self.keep)


class HeavyBall(Steepest):
    """Remembers the last step of every item."""

    def __init__(self, prior: Regulariser, metric: Tensor | None, keep: float) -> None:
        super().__init__(prior, metric)
        self.keep, self.last = keep, prior.low.new_zeros(())

    def step(self, here: Point, size: Tensor) -> Step:
        plain = self.direction(here)
        return along(self.prior, here, plain + self.keep * self.last / size[..., None], size, plain)

    def tried(self, here: Point, step: Step, residual: Tensor, accepted: Tensor) -> None:
        self.last = torch.where(accepted[..., None], step.d, 0)
