"""Gauss–Newton with an estimate of the Jacobian: for residuals that are dear, rough, and dearer to derive.

    minimise f(x) = Σ ρ(r(x)) + prior(x)   subject to   low ≤ x ≤ high

A full Jacobian of the chain costs hundreds of passes, and as the detector has fine kinks, its slope at a
point is not its slope over a step. So J̃ is an estimate, put together from what is cheap:

- a stand-in: the exact Jacobian of a simpler model (the landmark embedding's), anew at every point;
- secants: every evaluation tells how r really changed along the step d, so J̃ takes the rank-one update after
  which J̃d = r(x+d) − r(x) (Broyden, "A class of methods for solving nonlinear simultaneous equations",
  1965);
- adjoints: one backward pass gives Jᵀv for v = ρ'(r), so J̃ takes the rank-one update after which J̃ᵀv = Jᵀv.
  The step then descends along the gradient of the true objective (Griewank and Walther, "On constrained
  optimization by adjoint based quasi-Newton methods", 2002).

Each step solves (J̃ᵀWJ̃ + P + λD) d = −(J̃ᵀv + ∇prior) over the box, P the prior's curvature, with λ from the
ratio of the true to the predicted decrease, as in Levenberg–Marquardt.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Needs, Point, Step, dot
from pipeline.solve.line_search import Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.problem import Chain, Vjp
from pipeline.solve.quadratic_model import damped_step, decrease, normal_matrix
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Measure, Solution, Solver
from pipeline.solve.trust_region import TrustRegion

__all__ = ["AdjointBroyden", "Solution", "Vjp", "minimize"]
LEAST, MOST = 1e-4, 1e4  # of λ


@dataclass(frozen=True, kw_only=True)
class AdjointBroyden(Solver):
    """Needs `Chain`.

    Attributes:
        gradients: whether accepted points are differentiated by a backward pass.
        refresh: whether the stand-in is taken anew at every accepted point, or at the start only: then all
            that the solver learns on the way comes from the chain itself.
        correction: `(*B, M, K)` of an earlier `Solution`, that this run starts from.
        damping: λ of the first step.
    """

    search: Search = TrustRegion(good=0.6, bad=0.2, grow=1 / 0.3, shrink=0.25, least=1 / MOST, most=1 / LEAST)
    steps: int = 22
    tolerance: float = 2e-3
    patience: int = 8
    gradients: bool = True
    refresh: bool = True
    correction: Tensor | None = None
    damping: float = 1e-2

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Estimate":
        return Estimate(problem, prior, self)

    def minimize(
        self,
        problem: Any,
        prior: Regulariser,
        start: Tensor,
        loss: Loss | None = None,
        measure: Measure | None = None,
        on_step: Callable[[Tensor], None] | None = None,
    ) -> Solution:
        """As `Solver.minimize`; the solution's `correction` may start a later stage."""
        solution, descent = self.run(problem, prior, start, loss, measure, on_step)
        assert isinstance(descent, Estimate)
        return replace(solution, correction=descent.learnt)


class Estimate:
    """J̃ = stand-in + what was learnt, `(*B, M, K)` each. Sizes are 1/λ."""

    stand_in: Tensor | None = None
    hessian: Tensor

    def __init__(self, problem: Chain, prior: Regulariser, solver: AdjointBroyden) -> None:
        self.problem, self.prior, self.solver = problem, prior, solver
        self.learnt = solver.correction
        self.needs: Needs = "gradient" if solver.gradients else "values"

    def first_size(self, here: Point) -> Tensor:
        return torch.full_like(here.value, 1 / self.solver.damping)

    def arrive(self, here: Point, moved: Tensor) -> None:
        if self.stand_in is None:
            self.stand_in = self.problem.stand_in(here.x)
            if self.learnt is None:
                self.learnt = torch.zeros_like(self.stand_in)
        elif self.solver.refresh:
            self.stand_in = torch.where(moved[..., None, None], self.problem.stand_in(here.x), self.stand_in)
        if self.solver.gradients:
            v = here.weighted
            pulled = here.gradient - self.prior.gradient(here.x)
            missing = (pulled - self.pull(v)) / dot(v, v).clamp(min=1e-30)[..., None]
            self.learn(v, missing, moved)

    @property
    def jacobian(self) -> Tensor:
        assert self.stand_in is not None and self.learnt is not None
        return self.stand_in + self.learnt

    def pull(self, v: Tensor) -> Tensor:
        return (self.jacobian.mT @ v[..., None]).squeeze(-1)

    def learn(self, column: Tensor, row: Tensor, which: Tensor) -> None:
        """J̃ ← J̃ + column rowᵀ for some items."""
        update = column[..., :, None] * row[..., None, :]
        assert self.learnt is not None
        self.learnt = self.learnt + torch.where(which[..., None, None], update, 0)

    def step(self, here: Point, size: Tensor) -> Step:
        self.hessian = normal_matrix(self.jacobian, here.weight, self.prior, here.x)
        gradient = self.pull(here.weighted) + self.prior.gradient(here.x)
        d = damped_step(self.prior, here.x, self.hessian, gradient, 1 / size)
        predicted = decrease(gradient, self.hessian, d)
        return Step(d, predicted, predicted, gradient)

    def tried(self, here: Point, step: Step, residual: Tensor, accepted: Tensor) -> None:
        """Broyden's update, of rejected steps too; in the objective's metric, as controls differ in units."""
        scaled = self.hessian.diagonal(dim1=-2, dim2=-1) * step.d
        true = residual - here.residual
        missing = true - (self.jacobian @ step.d[..., None]).squeeze(-1)
        usable = residual.isfinite().all(-1) & (dot(scaled, step.d) > 0)
        self.learn(missing, scaled / dot(scaled, step.d).clamp(min=1e-30)[..., None], usable)


def minimize(
    problem: Chain,
    prior: Regulariser,
    start: Tensor,
    iterations: int,
    gradients: bool = True,
    refresh: bool = True,
    correction: Tensor | None = None,
    tolerance: float = 2e-3,
    on_step: Callable[[Tensor], None] | None = None,
) -> Solution:
    """`AdjointBroyden` as a function; see there. `iterations`: steps at most, accepted or not; each costs a
    forward pass, and so does the start."""
    solver = AdjointBroyden(
        steps=iterations,
        tolerance=tolerance,
        gradients=gradients,
        refresh=refresh,
        correction=correction,
    )
    return solver.minimize(problem, prior, start, on_step=on_step)
