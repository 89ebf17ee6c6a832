"""Gauss–Newton: the residuals are taken to be linear, and the box to hold the whole step.

    (JᵀWJ + ∇²prior) d = −(Jᵀ(w r) + ∇prior)   over the box,   then x + t d

t by a line search: the whole step mostly, and at once near the minimum, where it converges fast if the
residuals are small or nearly linear. Where they are not, Levenberg–Marquardt is the safer choice.
"""

from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step, dot
from pipeline.solve.line_search import Armijo, Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.quadratic_model import damped_step, decrease, normal_matrix
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver


@dataclass(frozen=True, kw_only=True)
class GaussNewton(Solver):
    """Needs `Differentiable`."""

    search: Search = Armijo(grow=inf, most=1.0)

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Newton":
        return Newton(prior)


class Newton(Memoryless):
    """The whole step of a point is found once, whatever part of it the search tries."""

    needs = "jacobian"
    whole: Tensor
    promise: Tensor

    def __init__(self, prior: Regulariser) -> None:
        self.prior = prior

    def arrive(self, here: Point, moved: Tensor) -> None:
        assert here.jacobian is not None
        hessian = normal_matrix(here.jacobian, here.weight, self.prior, here.x)
        self.whole = damped_step(self.prior, here.x, hessian, here.gradient, 0.0)
        self.promise = decrease(here.gradient, hessian, self.whole)

    def step(self, here: Point, size: Tensor) -> Step:
        slope = dot(here.gradient, self.whole)
        d = size[..., None] * self.whole
        return Step(d, -size * slope, self.promise, here.gradient, slope=slope, tangent=self.whole)
