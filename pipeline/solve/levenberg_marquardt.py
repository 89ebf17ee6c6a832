"""Levenberg–Marquardt over a box: nonlinear least squares with a Jacobian that is cheap.

    minimise ½ ‖r(x)‖² + prior(x)   subject to   low ≤ x ≤ high

Each step solves (JᵀJ + P + λ·diag(JᵀJ + P)) d = −(Jᵀr + ∇prior) over the box, and λ follows the ratio of the
true to the predicted decrease (Moré, "The Levenberg–Marquardt algorithm: implementation and theory", 1978;
Nielsen, "Damping parameter in Marquardt's method", 1999).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.solve.box_qp import solve_box_qp
from pipeline.solve.priors import Prior


def minimize(
    residual_and_jacobian: Callable[[Tensor], tuple[Tensor, Tensor]],
    residual: Callable[[Tensor], Tensor],
    prior: Prior,
    start: Tensor,
    steps: int = 30,
    tolerance: float = 1e-5,
) -> Tensor:
    """The controls `(K,)` at the minimum, or after `steps` steps.

    Args:
        residual_and_jacobian: `(K,)` → `(M,)`, `(M, K)`.
        residual: `(K,)` → `(M,)`.
        tolerance: stop when a step promises to lower the objective by less than this part of it.
    """
    x = prior.project(start)
    damping, growth = 1e-3, 2.0
    r, jacobian = residual_and_jacobian(x)
    value = 0.5 * r.square().sum() + prior.value(x)
    for _ in range(steps):
        hessian = jacobian.T @ jacobian + prior.precision.diag()
        gradient = jacobian.T @ r + prior.gradient(x)
        damped = hessian + damping * hessian.diagonal().diag()
        d = solve_box_qp(damped, gradient, prior.low - x, prior.high - x)
        predicted = -(gradient @ d + 0.5 * d @ hessian @ d)
        if predicted <= tolerance * value:
            break
        moved = prior.project(x + d)
        new_value = 0.5 * residual(moved).square().sum() + prior.value(moved)
        gain = (value - new_value) / predicted
        if gain > 0:
            x = moved
            r, jacobian = residual_and_jacobian(x)
            value = new_value
            damping *= float(torch.clamp(1 - (2 * gain - 1) ** 3, min=1 / 3))
            growth = 2.0
        else:
            damping *= growth
            growth *= 2
            if damping > 1e8:
                break
    return x
