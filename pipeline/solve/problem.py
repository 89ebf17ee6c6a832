"""What a solver may ask of a problem, and the problem of a plain function.

    minimise f(x) = Σ ρ(r(x)) + prior(x)   subject to   low ≤ x ≤ high

r are residuals, ρ a loss (`robust.py`; ½ r² unless told otherwise), prior and box come with `priors.Prior`.
No solver sees more than the methods below, and each names the ones it asks for. Leading dimensions are a
batch of
independent problems: item b of the residuals depends on item b of x alone.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Vjp = Callable[[Tensor], Tensor]


class Residuals(Protocol):
    """Values only."""

    def residual(self, x: Tensor) -> Tensor:
        """`(*B, K)` → r `(*B, M)`: one forward pass."""
        ...


class Pullable(Residuals, Protocol):
    """With gradients: solvers of first order, and L-BFGS."""

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        """r `(*B, M)`, and the function v `(*B, M)` → Jᵀv `(*B, K)`, one backward pass each time."""
        ...


class Differentiable(Residuals, Protocol):
    """With Jacobians: Gauss–Newton, Levenberg–Marquardt, dogleg, column-space search."""

    def jacobian(self, x: Tensor) -> Tensor:
        """`(*B, K)` → J `(*B, M, K)`."""
        ...


class Chain(Pullable, Protocol):
    """With a Jacobian that is cheap and not quite right: adjoint Broyden."""

    def stand_in(self, x: Tensor) -> Tensor:
        """`(*B, K)` → `(*B, M, K)`: the Jacobian of a simpler model."""
        ...


class LeastSquares:
    """The problem of a function that torch differentiates in both modes; it counts what it is asked.

    Attributes:
        evaluations, gradients, jacobians: forward passes, backward passes, and Jacobians so far.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        """`function`: `(*B, K)` → `(*B, M)`, item by item."""
        self.function = function
        self.evaluations = self.gradients = self.jacobians = 0

    def residual(self, x: Tensor) -> Tensor:
        self.evaluations += 1
        return self.function(x)

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        self.evaluations += 1
        residual, pull, *_ = torch.func.vjp(self.function, x)

        def vjp(v: Tensor) -> Tensor:
            self.gradients += 1
            return pull(v)[0]

        return residual, vjp

    def jacobian(self, x: Tensor) -> Tensor:
        """By forward mode, all columns at once; the items of a batch do not meet."""
        self.jacobians += 1

        def push(direction: Tensor) -> Tensor:
            return torch.func.jvp(self.function, (x,), (direction.expand_as(x),))[1]

        columns = torch.func.vmap(push)(torch.eye(x.shape[-1], dtype=x.dtype, device=x.device))
        return columns.movedim(0, -1)


class WithStandIn:
    """A chain whose Jacobian is taken to be its stand-in's: forward passes only, for solvers that want J."""

    def __init__(self, chain: Chain) -> None:
        self.residual, self.jacobian = chain.residual, chain.stand_in
