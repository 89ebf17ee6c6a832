"""Second derivatives: of an objective f̂ over the controls, whole or along a vector.

For f̂ = ½‖r‖² the Hessian has two terms,

    ∇²f̂ = JᵀJ + Σ_i r_i ∇²r_i.

Gauss–Newton keeps the first, which needs no second derivative, is never indefinite, and is close where
residuals are small or nearly linear. `compare_hessians` measures what it leaves out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.derivatives import automatic
from pipeline.derivatives.automatic import CHUNK, in_chunks
from pipeline.layer import Layer

Objective = Callable[[Tensor], Tensor]


def gradient(objective: Objective, x: Tensor) -> Tensor:
    """∇f̂ `(*B, K)` of an objective `(*B, K)` → `(*B,)` whose items do not depend on each other."""
    return torch.func.grad(lambda x: objective(x).sum())(x)


def hvp(objective: Objective, x: Tensor, direction: Tensor) -> Tensor:
    """∇²f̂ d `(*B, K)`: the tangent of the gradient, forward over reverse.

    It costs a few gradients, whatever K; the matrix is never built (Pearlmutter, "Fast exact multiplication
    by the Hessian", 1994).
    """
    # With a batch axis more, as in `automatic.jvp`.
    return torch.func.jvp(lambda x: gradient(objective, x), (x[None],), (direction[None],))[1][0]


def hessian(objective: Objective, x: Tensor, chunk: int = CHUNK) -> Tensor:
    """∇²f̂ `(*B, K, K)` of an objective `(*B, K)` → `(*B,)`, a column an HVP.

    It is as symmetric as roundoff lets it be; the difference from its transpose is a check.
    """
    units = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    units = units.reshape(-1, *(1 for _ in x.shape[:-1]), x.shape[-1]).expand(-1, *x.shape)
    columns = in_chunks(lambda d: hvp(objective, x, d), units, chunk)
    return columns.movedim(0, -1)


def along(layer: Layer, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """J d and the second derivative d²/dt² f(x + t d), both `(*B, *output)`, of any layer.

    J d is taken as the VJP of the VJP, (Jᵀ)ᵀ d, and its tangent by forward mode: inside the `jvp` of a custom
    `autograd.Function`, torch switches forward mode off, and forward over forward would silently give 0.
    """

    def slope(x: Tensor) -> Tensor:
        y, pull = torch.func.vjp(layer, x)[:2]
        return torch.func.vjp(lambda g: pull(g)[0], torch.zeros_like(y))[1](direction[None])[0]

    first, second = torch.func.jvp(slope, (x[None],), (direction[None],))[:2]
    return first[0], second[0]


def gauss_newton(layer: Layer, x: Tensor, weights: Tensor | None = None, chunk: int = CHUNK) -> Tensor:
    """JᵀWJ `(*B, N, N)` of a layer that gives residuals.

    Args:
        weights: `(*output,)` or of a shape that broadcasts to it; 1 if omitted.
    """
    J = automatic.jacobian(layer, x, chunk=chunk).matrix
    if weights is None:
        return J.mT @ J
    output = J.shape[-2]
    weights = weights.expand(output) if weights.ndim <= 1 else weights.reshape(output)
    return J.mT @ (weights[:, None] * J)


@dataclass(frozen=True)
class HessianComparison:
    """Gauss–Newton against the full Hessian of ½‖r‖².

    Attributes:
        full, gauss_newton: `(K, K)`.
        left_out: ‖full − Gauss–Newton‖ / ‖full‖ (Frobenius).
        least_eigenvalue: of the full Hessian, as a part of its largest in size; below zero, Newton's step may
            climb.
        angle: degrees between the two models' steps, both damped as far as the full one needs to be definite.
        asymmetry: ‖H − Hᵀ‖ / ‖H‖ of the full one: of the order of roundoff, or a derivative is wrong.
    """

    full: Tensor
    gauss_newton: Tensor
    left_out: float
    least_eigenvalue: float
    angle: float
    asymmetry: float

    def summary(self) -> str:
        shape = "is positive" if self.least_eigenvalue > 0 else "has directions of negative curvature"
        return (
            f"Gauss–Newton leaves out {100 * self.left_out:.1f} % of the Hessian, which {shape}; "
            f"the two steps are {self.angle:.1f}° apart."
        )


def compare_hessians(layer: Layer, x: Tensor, chunk: int = CHUNK) -> HessianComparison:
    """Both Hessians of ½‖r‖² at x `(K,)`, for a layer that gives residuals r."""

    def objective(x: Tensor) -> Tensor:
        residual = layer(x)
        return 0.5 * residual.flatten(x.ndim - 1).square().sum(-1)

    full = hessian(objective, x, chunk)
    approximate = gauss_newton(layer, x, chunk=chunk)
    asymmetry = _ratio((full - full.mT).norm(), full.norm())
    symmetric = 0.5 * (full + full.mT)
    eigenvalues = torch.linalg.eigvalsh(symmetric)
    largest = eigenvalues.abs().max()
    damping = (-eigenvalues.min()).clamp(min=0) + 1e-3 * largest
    identity = torch.eye(len(x), dtype=x.dtype, device=x.device)
    slope = gradient(objective, x)
    steps = [torch.linalg.solve(H + damping * identity, -slope) for H in (symmetric, approximate)]
    cosine = torch.nn.functional.cosine_similarity(*steps, dim=0).clamp(-1, 1)
    return HessianComparison(
        full,
        approximate,
        _ratio((full - approximate).norm(), full.norm()),
        _ratio(eigenvalues.min(), largest),
        float(cosine.arccos().rad2deg()),
        asymmetry,
    )


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(part / whole) if whole > 0 else 0.0
