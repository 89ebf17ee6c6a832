"""Gauss–Newton with an estimate of the Jacobian: for residuals that are dear, rough, and dearer to derive.

    minimise f(x) = ½ ‖r(x)‖² + prior(x)   subject to   low ≤ x ≤ high

A full Jacobian of the chain costs hundreds of passes, and as the detector has fine kinks, its slope at a
point is not its slope over a step. So J̃ is an estimate, put together from what is cheap:

- a stand-in: the exact Jacobian of a simpler model (the landmark embedding's), anew at every point;
- secants: every evaluation tells how r really changed along the step d, so J̃ takes the rank-one update after
  which J̃d = r(x+d) − r(x) (Broyden, "A class of methods for solving nonlinear simultaneous equations",
  1965);
- adjoints: one backward pass gives Jᵀr, so J̃ takes the rank-one update after which J̃ᵀr = Jᵀr. The step then
  descends along the gradient of the true objective (Griewank and Walther, "On constrained optimization by
  adjoint based quasi-Newton methods", 2002).

Each step solves (J̃ᵀJ̃ + P + λD) d = −(J̃ᵀr + ∇prior) over the box, with λ from the ratio of the true to the
predicted decrease, as in Levenberg–Marquardt.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from pipeline.solve.box_qp import solve_box_qp
from pipeline.solve.priors import Prior

Status = Literal["converged", "stalled", "max_iterations"]
Vjp = Callable[[Tensor], Tensor]


class Problem(Protocol):
    """What the solver may ask of a problem with M residuals and K controls."""

    def residual(self, x: Tensor) -> Tensor:
        """`(K,)` → r `(M,)`: one forward pass of the chain."""
        ...

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        """r, and the function v `(M,)` → Jᵀv `(K,)`, one backward pass each time."""
        ...

    def stand_in(self, x: Tensor) -> Tensor:
        """`(M, K)`: a Jacobian that costs next to nothing."""
        ...


@dataclass
class Solution:
    """The best point found, and how it was found.

    Attributes:
        x: `(K,)`.
        residual: `(M,)` at x.
        status: `converged`: no step promised a decrease worth an evaluation; `stalled`: promises were not
            kept three times in a row; `max_iterations`.
        correction: `(M, K)` what secants and adjoints taught about the Jacobian; a later stage may start from
            it.
        steps: one row an evaluation after the first: objective, predicted decrease, damping, accepted.
    """

    x: Tensor
    residual: Tensor
    status: Status
    correction: Tensor
    steps: list[dict[str, float]] = field(default_factory=list)


def minimize(
    problem: Problem,
    prior: Prior,
    start: Tensor,
    iterations: int,
    gradients: bool = True,
    refresh: bool = True,
    correction: Tensor | None = None,
    tolerance: float = 2e-3,
    on_step: Callable[[Tensor], None] | None = None,
) -> Solution:
    """The best controls found from `start`.

    Args:
        prior: with the ranges of the controls.
        iterations: steps at most, accepted or not; each costs a forward pass, and so does the start.
        gradients: whether accepted points are differentiated by a backward pass.
        refresh: whether the stand-in is taken anew at every accepted point, or at the start only: then all
            that the solver learns on the way comes from the chain itself.
        correction: of an earlier stage's `Solution`.
        tolerance: a step that promises to lower the objective by less than this part of it is not worth an
            evaluation.
        on_step: called with the best residual after every evaluation.
    """

    def evaluate(x: Tensor) -> tuple[Tensor, Vjp | None]:
        return problem.residual_and_vjp(x) if gradients else (problem.residual(x), None)

    x = prior.project(start)
    r, vjp = evaluate(x)
    value = 0.5 * r.square().sum() + prior.value(x)
    jacobian = problem.stand_in(x)
    learnt = torch.zeros_like(jacobian) if correction is None else correction
    damping, rejected = 1e-2, 0
    status: Status = "max_iterations"
    steps: list[dict[str, float]] = []
    for _ in range(iterations):
        estimate = jacobian + learnt
        if vjp is not None:  # once at every accepted point
            learnt = learnt + torch.outer(r, vjp(r) - estimate.T @ r) / r.square().sum().clamp(min=1e-30)
            estimate, vjp = jacobian + learnt, None
        hessian = estimate.T @ estimate + prior.precision.diag()
        gradient = estimate.T @ r + prior.gradient(x)
        damped = hessian + damping * hessian.diagonal().diag()
        d = prior.project(x + solve_box_qp(damped, gradient, prior.low - x, prior.high - x)) - x
        predicted = -(gradient @ d + 0.5 * d @ hessian @ d)
        if predicted <= tolerance * value:
            status = "converged"
            break
        if rejected == 3:
            status = "stalled"
            break
        new_r, new_vjp = evaluate(x + d)
        new_value = 0.5 * new_r.square().sum() + prior.value(x + d)
        # Broyden's update in the metric of the objective: controls differ in units
        scaled = hessian.diagonal() * d
        learnt = learnt + torch.outer(new_r - r - estimate @ d, scaled) / (scaled @ d).clamp(min=1e-30)
        gain = float((value - new_value) / predicted)
        steps.append(
            {"objective": float(new_value), "predicted": float(predicted), "damping": damping, "gain": gain}
        )
        if gain > 0:
            x, r, value, vjp, rejected = x + d, new_r, new_value, new_vjp, 0
            if refresh:
                jacobian = problem.stand_in(x)
        else:
            rejected += 1
        damping = min(max(damping * (0.3 if gain > 0.6 else 1.0 if gain > 0.2 else 4.0), 1e-4), 1e4)
        if on_step is not None:
            on_step(r)
    return Solution(x, r, status, learnt, steps)
