"""Levenberg–Marquardt over a box: nonlinear least squares with a Jacobian that is cheap.

    (JᵀWJ + ∇²prior + λ·diag) d = −(Jᵀ(w r) + ∇prior)   over the box

diag is the matrix's own diagonal, so that controls may differ in units (Moré, "The Levenberg–Marquardt
algorithm: implementation and theory", 1978), and λ follows the ratio of the true to the predicted decrease
(Nielsen, "Damping parameter in Marquardt's method", 1999).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step
from pipeline.solve.line_search import Search
from pipeline.solve.priors import Prior, Regulariser
from pipeline.solve.quadratic_model import damped_step, decrease, normal_matrix
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver
from pipeline.solve.trust_region import Nielsen


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt(Solver):
    """Needs `Differentiable`.

    Attributes:
        damping: λ of the first step.
    """

    search: Search = Nielsen()
    patience: int = 10
    damping: float = 1e-3

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Damped":
        return Damped(prior, self.damping)


class Damped(Memoryless):
    """Sizes are 1/λ."""

    needs = "jacobian"
    hessian: Tensor

    def __init__(self, prior: Regulariser, damping: float) -> None:
        self.prior, self.damping = prior, damping

    def first_size(self, here: Point) -> Tensor:
        return torch.full_like(here.value, 1 / self.damping)

    def arrive(self, here: Point, moved: Tensor) -> None:
        assert here.jacobian is not None
        self.hessian = normal_matrix(here.jacobian, here.weight, self.prior, here.x)

    def among(self, here: Point) -> Tensor | None:
        """The controls that may move: all."""
        return None

    def step(self, here: Point, size: Tensor) -> Step:
        d = damped_step(self.prior, here.x, self.hessian, here.gradient, 1 / size, self.among(here))
        predicted = decrease(here.gradient, self.hessian, d)
        return Step(d, predicted, predicted, here.gradient)


class _Given:
    """A problem of two functions."""

    def __init__(
        self,
        residual_and_jacobian: Callable[[Tensor], tuple[Tensor, Tensor]],
        residual: Callable[[Tensor], Tensor],
    ) -> None:
        self.residual = residual
        self.jacobian = lambda x: residual_and_jacobian(x)[1]


def minimize(
    residual_and_jacobian: Callable[[Tensor], tuple[Tensor, Tensor]],
    residual: Callable[[Tensor], Tensor],
    prior: Prior,
    start: Tensor,
    steps: int = 30,
    tolerance: float = 1e-5,
) -> Tensor:
    """`LevenbergMarquardt` for functions: the controls `(*B, K)` at the minimum, or after `steps` steps.

    Args:
        residual_and_jacobian: `(*B, K)` → `(*B, M)`, `(*B, M, K)`.
        residual: `(*B, K)` → `(*B, M)`.
        tolerance: stop when a step promises to lower the objective by less than this part of it.
    """
    solver = LevenbergMarquardt(steps=steps, tolerance=tolerance)
    return solver.minimize(_Given(residual_and_jacobian, residual), prior, start).x
