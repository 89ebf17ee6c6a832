"""Gauss–Newton with an estimate of the Jacobian: for residuals that are dear and rough, and whose Jacobian is dearer.

    minimise f(x) = ½ ‖r(x)‖² + prior(x)   subject to   low ≤ x ≤ high

A full Jacobian of the chain costs hundreds of passes, and as the detector has fine kinks, its slope at a point is not its slope over a
step. So J̃ is an estimate, put together from what is cheap:

- a stand-in: the exact Jacobian of a simpler model (the landmark embedding's), anew at every point;
- secants: every evaluation tells how r really changed along the step d, so J̃ takes the rank-one update after which
  J̃d = r(x+d) − r(x) (Broyden, "A class of methods for solving nonlinear simultaneous equations", 1965);
- adjoints: one backward pass gives Jᵀr, so J̃ takes the rank-one update after which J̃ᵀr = Jᵀr. The step then descends along the
  gradient of the true objective (Griewank and Walther, "On constrained optimization by adjoint based quasi-Newton
  methods", 2002).

Each step solves (J̃ᵀJ̃ + P + λD) d = −(J̃ᵀr + ∇prior) over the box, with λ from the ratio of the true to the predicted
decrease, as in Levenberg–Marquardt.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pipeline.solve.box_qp import solve_box_qp
from pipeline.solve.priors import Prior

Status = Literal["converged", "stalled", "max_iterations"]


@dataclass(frozen=True)
class Problem:
    """What the solver may ask; M residuals, K controls.

    Attributes:
        residual: x `(K,)` → r `(M,)`: one evaluation of the chain.
        residual_and_vjp: x → r, and the function v `(M,)` → Jᵀv `(K,)` of one backward pass; None to do without.
        stand_in: x → `(M, K)`, a Jacobian that costs next to nothing.
        prior: with the ranges.
    """

    residual: Callable[[Tensor], Tensor]
    residual_and_vjp: Callable[[Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]
    stand_in: Callable[[Tensor], Tensor]
    prior: Prior


@dataclass
class Solution:
    """The best point seen, and what it took.

    Attributes:
        x: `(K,)`.
        residual: `(M,)` at x.
        evaluations: forward passes of the chain, rejected steps included.
        gradients: backward passes.
        objective: f after every evaluation.
    """

    x: Tensor
    residual: Tensor
    evaluations: int = 0
    gradients: int = 0
    status: Status = "max_iterations"
    objective: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)


def minimize(
    problem: Problem,
    start: Tensor,
    iterations: int = 20,
    stand_in: Literal["always", "first"] = "always",
    gradients: Literal["never", "last", "always"] = "last",
    tolerance: float = 1e-3,
    on_step: Callable[[int, int, Tensor], None] | None = None,
) -> Solution:
    """The best controls found from `start`.

    Args:
        iterations: steps at most, accepted or not; each costs one evaluation.
        stand_in: "always" refreshes the Jacobian's stand-in at every accepted point; "first" takes it at the start only.
        gradients: where backward passes enter: nowhere; once the steps without them stand still; everywhere.
        tolerance: a step that promises to lower the objective by less than this part of it is not worth an evaluation.
        on_step: called with (step, iterations, residual of the best point).
    """
    prior = problem.prior
    with_gradient = gradients == "always"
    x = prior.project(start)
    r, vjp = _evaluate(problem, x, with_gradient)
    solution = Solution(x, r, evaluations=1)
    value = 0.5 * r.square().sum() + prior.value(x)
    solution.objective.append(float(value))
    jacobian = problem.stand_in(x)
    correction = torch.zeros_like(jacobian)
    damping = 1e-2
    rejected = 0
    for step in range(iterations):
        estimate = jacobian + correction
        if vjp is not None:
            solution.gradients += 1
            gap = vjp(r) - estimate.T @ r
            correction = correction + torch.outer(r, gap) / r.square().sum().clamp(min=1e-30)
            estimate = jacobian + correction
            gradient = estimate.T @ r + prior.gradient(x)
            solution.gradient_norms.append(float(prior.projected_gradient(x, gradient).norm()))
            vjp = None
        hessian = estimate.T @ estimate + prior.precision.diag()
        gradient = estimate.T @ r + prior.gradient(x)
        damped = hessian + damping * hessian.diagonal().diag()
        d = solve_box_qp(damped, gradient, prior.low - x, prior.high - x)
        predicted = -(gradient @ d + 0.5 * d @ hessian @ d)
        if predicted <= tolerance * value or rejected == 3:
            status = "converged" if predicted <= tolerance * value else "stalled"
            if gradients == "last" and not with_gradient:
                with_gradient, rejected, damping = True, 0, max(damping, 1e-2)
                r, vjp = _evaluate(problem, x, True)
                solution.evaluations += 1
                continue
            solution.status = status
            break
        moved = prior.project(x + d)
        d = moved - x
        new_r, new_vjp = _evaluate(problem, moved, with_gradient)
        solution.evaluations += 1
        new_value = 0.5 * new_r.square().sum() + prior.value(moved)
        solution.objective.append(float(new_value))
        scaled = hessian.diagonal() * d
        correction = correction + torch.outer(new_r - r - estimate @ d, scaled) / (scaled @ d).clamp(min=1e-30)
        gain = float((value - new_value) / predicted)
        if gain > 0:
            rejected = 0
            if stand_in == "always":
                jacobian = problem.stand_in(moved)
            x, r, value, vjp = moved, new_r, new_value, new_vjp
            solution.x, solution.residual = x, r
        else:
            rejected += 1
        damping = min(max(damping * (0.3 if gain > 0.6 else 1.0 if gain > 0.2 else 4.0), 1e-4), 1e4)
        if on_step is not None:
            on_step(step + 1, iterations, r)
    return solution


def _evaluate(
    problem: Problem, x: Tensor, with_gradient: bool
) -> tuple[Tensor, Callable[[Tensor], Tensor] | None]:
    return problem.residual_and_vjp(x) if with_gradient else (problem.residual(x), None)
