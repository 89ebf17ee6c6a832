"""The one loop: a descent proposes, the chain is asked once, a search decides, for every item of a batch.

solution = LevenbergMarquardt(steps=30).minimize(problem, prior, start)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from pipeline.solve.descent import Descent, Point, dot, length
from pipeline.solve.line_search import Search, Trial
from pipeline.solve.priors import Regulariser
from pipeline.solve.problem import Vjp
from pipeline.solve.robust import Loss, Squares
from pipeline.solve.trace import Row, Trace

Status = Literal["converged", "stalled", "max_iterations"]
Measure = Callable[[Tensor], Tensor | float]


@dataclass
class Solution:
    """The best points found, and how they were found.

    Attributes:
        x: `(*B, K)`.
        residual: `(*B, M)` at x.
        value: `(*B,)` loss and prior at x.
        statuses: of every item of the flattened batch. `converged`: no step promised a decrease worth an
            evaluation; `stalled`: promises were not kept, too often in a row; `max_iterations`.
        trace: every evaluation.
        evaluations, gradients, jacobians: forward passes, backward passes and Jacobians, of all the batch at
        once.
        correction: `(*B, M, K)` what an adjoint Broyden run learnt about the Jacobian; None from others.
    """

    x: Tensor
    residual: Tensor
    value: Tensor
    statuses: list[Status]
    trace: Trace
    evaluations: int
    gradients: int
    jacobians: int
    correction: Tensor | None = None

    @property
    def status(self) -> Status:
        """Of the item that fared worst."""
        worst: tuple[Status, ...] = ("max_iterations", "stalled", "converged")
        return next(status for status in worst if status in self.statuses)

    def then(self, later: "Solution") -> "Solution":
        """A later stage's solution, with the trace and the passes of both."""
        return replace(
            later,
            trace=self.trace.then(later.trace),
            evaluations=self.evaluations + later.evaluations,
            gradients=self.gradients + later.gradients,
            jacobians=self.jacobians + later.jacobians,
        )


@dataclass(frozen=True, kw_only=True)
class Solver:
    """What all methods are told. A method adds its own settings and `begin`.

    Attributes:
        steps: evaluations after the first at most, accepted or not.
        tolerance: an item stops when the decrease promised is less than this part of its value (or of the
            rounding of its first value, where it goes to zero).
        patience: rejections in a row after which an item stops.
        search: how far; each method has its own default.
    """

    steps: int = 200
    tolerance: float = 1e-12
    patience: int = 40
    search: Search

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> Descent:
        """A run of the method, its memory empty."""
        raise NotImplementedError

    def minimize(
        self,
        problem: Any,
        prior: Regulariser,
        start: Tensor,
        loss: Loss | None = None,
        measure: Measure | None = None,
        on_step: Callable[[Tensor], None] | None = None,
    ) -> Solution:
        """The best x found from `start`, item by item.

        Args:
            problem: with the methods of `problem.py` that the solver needs.
            prior: with the box; `start` is moved inside.
            start: `(*B, K)`.
            loss: of the residuals; ½ Σ r² if omitted.
            measure: residuals `(*B, M)` → `(*B,)`, what the trace shows of them.
            on_step: called with the best residuals after every evaluation.
        """
        return self.run(problem, prior, start, loss, measure, on_step)[0]

    def run(
        self,
        problem: Any,
        prior: Regulariser,
        start: Tensor,
        loss: Loss | None,
        measure: Measure | None,
        on_step: Callable[[Tensor], None] | None,
    ) -> tuple[Solution, Descent]:
        """`minimize`, and the descent with its memory."""
        loss = loss or Squares()
        descent = self.begin(problem, prior, loss)
        return Run(self, descent, problem, prior, loss, measure).minimize(start, on_step), descent


class Run:
    """One `minimize`: the point of every item, which of them still run, and what was spent."""

    def __init__(
        self,
        solver: Solver,
        descent: Descent,
        problem: Any,
        prior: Regulariser,
        loss: Loss,
        measure: Measure | None,
    ) -> None:
        self.solver, self.descent, self.problem, self.prior, self.loss = solver, descent, problem, prior, loss
        self.measure = measure
        self.evaluations = self.gradients = self.jacobians = 0
        self.trace = Trace(type(solver).__name__)

    def minimize(self, start: Tensor, on_step: Callable[[Tensor], None] | None) -> Solution:
        solver, descent, prior = self.solver, self.descent, self.prior
        here, vjp = self.look(prior.project(start))
        best, sizes, derived = here, None, False
        running = moved = torch.ones_like(here.value, dtype=torch.bool)
        converged = stalled = ~running
        rejected = torch.zeros_like(here.value)
        rounding = here.value.abs() * torch.finfo(here.value.dtype).eps  # a minimum of 0 is never reached
        self.log(here)
        for _ in range(solver.steps):
            if bool(moved.any()):  # only now: the last point reached is never differentiated
                here = here if derived else self.differentiate(here, vjp, moved)
                descent.arrive(here, moved)
            if sizes is None:
                sizes = solver.search.begin(descent.first_size(here))
            step = descent.step(here, sizes.size)
            enough = step.promise <= solver.tolerance * torch.maximum(here.value.abs(), rounding)
            converged = converged | (running & enough)
            stalled = stalled | (running & ~enough & (rejected >= solver.patience))
            running = ~converged & ~stalled
            if not bool(running.any()):
                break
            there, vjp = self.look(prior.project(here.x + torch.where(running[..., None], step.d, 0)))
            trial = Trial(here.value, there.value, step.predicted, step.used)
            if derived := sizes.needs_slope:
                assert step.slope is not None and step.tangent is not None
                there = self.differentiate(there, vjp, running)
                trial = replace(trial, slope=step.slope, new_slope=dot(there.gradient, step.tangent))
            damping = 1 / sizes.size
            moved = sizes.judge(trial) & running
            descent.tried(here, step, there.residual, moved)
            before, here = here, merge(moved, there, here)
            rejected = torch.where(moved, 0, rejected + 1)
            best = merge(here.value < best.value, here, best)
            self.log(
                here,
                tried=there.value,
                gradient_norm=length(prior.projected_gradient(before.x, step.gradient)),
                step=length(there.x - before.x),
                damping=damping,
                predicted=step.predicted,
                gain=trial.gain,
                accepted=moved,
            )
            if on_step is not None:
                on_step(best.residual)
        ended = zip(converged.flatten().tolist(), stalled.flatten().tolist(), strict=True)
        statuses: list[Status] = [
            "converged" if c else "stalled" if s else "max_iterations" for c, s in ended
        ]
        spent = (self.evaluations, self.gradients, self.jacobians)
        return Solution(best.x, best.residual, best.value, statuses, self.trace, *spent)

    def look(self, x: Tensor) -> tuple[Point, Vjp | None]:
        """The values at x; derivatives are still missing (NaN)."""
        vjp = None
        if self.descent.needs == "gradient":
            residual, vjp = self.problem.residual_and_vjp(x)
        else:
            residual = self.problem.residual(x)
        self.evaluations += 1
        weight = self.loss.weight(residual)
        value = self.loss.value(residual) + self.prior.value(x)
        return Point(x, residual, value, weight, weight * residual, torch.full_like(x, math.nan)), vjp

    def differentiate(self, point: Point, vjp: Vjp | None, wanted: Tensor) -> Point:
        """With the derivatives of the items `wanted`; the others keep theirs."""
        jacobian = None
        if self.descent.needs == "gradient":
            assert vjp is not None
            pulled = vjp(point.weighted)
            self.gradients += 1
        elif self.descent.needs == "jacobian":
            jacobian = self.problem.jacobian(point.x)
            pulled = (jacobian.mT @ point.weighted[..., None]).squeeze(-1)
            self.jacobians += 1
        else:
            return point
        gradient = pulled + self.prior.gradient(point.x)
        return merge(wanted, replace(point, gradient=gradient, jacobian=jacobian), point)

    def log(self, here: Point, **of_step: Tensor) -> None:
        """A row; what is not told, as at the start, is NaN."""
        nothing = torch.full_like(here.value, math.nan)
        measured = nothing if self.measure is None else 0 * here.value + self.measure(here.residual)
        names = ("gradient_norm", "step", "damping", "predicted", "gain")
        told = (
            {"tried": here.value, "accepted": here.value.isfinite()} | dict.fromkeys(names, nothing) | of_step
        )
        self.trace.rows.append(
            Row(
                objective=here.value,
                residual=measured,
                evaluations=self.evaluations,
                gradients=self.gradients,
                jacobians=self.jacobians,
                **(told | of_step),
            )
        )


def merge(mask: Tensor, new: Point, old: Point) -> Point:
    """The items of `mask` from one, the others from the other."""

    def chosen(name: str) -> Tensor | None:
        a, b = getattr(new, name), getattr(old, name)
        if a is None or b is None:
            return b if a is None else a
        return torch.where(mask.reshape(mask.shape + (1,) * (a.dim() - mask.dim())), a, b)

    return Point(**{one.name: chosen(one.name) for one in fields(Point)})  # type: ignore[arg-type]
