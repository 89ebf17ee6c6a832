"""Least squares through the pseudo-inverse, c = A⁺ b, and its derivative in closed form.

A⁺ is differentiable wherever the rank of A stays the same (Golub and Pereyra, "The differentiation of
pseudo-inverses and nonlinear least squares problems whose variables separate", 1973):

    dA⁺ = −A⁺ dA A⁺ + A⁺A⁺ᵀ dAᵀ (I − A A⁺) + (I − A⁺A) dAᵀ A⁺ᵀ A⁺.

It needs A⁺ and nothing else: singular values may coincide, where the derivative of a decomposition divides by
their difference; and A⁺ may come from any method. `by_power_method` finds it one singular pair at a time.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PseudoInverse = Callable[[Tensor], Tensor]


def by_svd(A: Tensor, cutoff: float | None = None) -> Tensor:
    """A⁺ `(*B, n, m)` of `(*B, m, n)`; singular values below `cutoff` · the largest count as zero.

    The default cutoff is ε · max(m, n).
    """
    return torch.linalg.pinv(A, rtol=cutoff)


def by_power_method(A: Tensor, rank: int, iterations: int = 200) -> Tensor:
    """A⁺ = Σ v_k u_kᵀ / σ_k, the strongest pair first.

    v ← AᵀA v / ‖AᵀA v‖ converges to the strongest right singular vector, by (σ₂/σ₁)² an iteration; what has
    been found is taken out of A, and the next one follows. The truncation at `rank` is what makes it robust:
    weak directions, which would be divided by nearly nothing, are left out.

    Args:
        A: `(*B, m, n)`.
        rank: how many pairs; all of those σ must not be zero.

    Returns:
        `(*B, n, m)`.
    """
    rest, result = A, torch.zeros_like(A.mT)
    generator = torch.Generator().manual_seed(0)
    for _ in range(rank):
        v = torch.randn(A.shape[-1], 1, dtype=A.dtype, generator=generator).to(A.device)
        v = v.expand(*A.shape[:-2], -1, -1)
        for _ in range(iterations):
            v = rest.mT @ (rest @ v)
            v = v / v.norm(dim=-2, keepdim=True)
        u = rest @ v  # σ u
        result = result + v @ u.mT / u.square().sum(-2, keepdim=True)
        rest = rest - u @ v.mT
    return result


class _PseudoInverse(torch.autograd.Function):
    """A⁺ with the derivative above, in both modes."""

    @staticmethod
    def forward(A: Tensor, method: PseudoInverse) -> Tensor:
        return method(A)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, PseudoInverse], output: Tensor) -> None:
        A, ctx.method = inputs
        ctx.save_for_backward(A)
        ctx.save_for_forward(A)

    @staticmethod
    def jvp(ctx: Any, dA: Tensor, _: None) -> Tensor:  # type: ignore[override]
        (A,) = ctx.saved_tensors
        P: Tensor = _PseudoInverse.apply(A, ctx.method)  # type: ignore[assignment]
        # (I − A A⁺) M and M (I − A⁺A) without the square matrices
        left = dA.mT - (dA.mT @ A) @ P
        right = dA.mT - P @ (A @ dA.mT)
        return -P @ dA @ P + (P @ P.mT) @ left + right @ (P.mT @ P)

    @staticmethod
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (A,) = ctx.saved_tensors
        P: Tensor = _PseudoInverse.apply(A, ctx.method)  # type: ignore[assignment]
        # The adjoints of the three terms, by ⟨G, X dA Y⟩ = ⟨Xᵀ G Yᵀ, dA⟩ and ⟨G, X dAᵀ Y⟩ = ⟨Y Gᵀ X, dA⟩
        first = -P.mT @ G @ P.mT
        M = G.mT @ (P @ P.mT)
        second = M - A @ (P @ M)
        N = (P.mT @ P) @ G.mT
        third = N - (N @ P) @ A
        return first + second + third, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple, A: Tensor, method: PseudoInverse) -> tuple[Tensor, int]:
        return _PseudoInverse.apply(A.movedim(in_dims[0], 0), method), 0


def pseudo_inverse(A: Tensor, method: PseudoInverse = by_svd) -> Tensor:
    """A⁺ `(*B, n, m)` of `(*B, m, n)`, differentiable to every order while the rank of A stays as it is.

    Args:
        method: any way to A⁺; it sees a plain tensor and is not differentiated.
    """
    return _PseudoInverse.apply(A, method)  # type: ignore[return-value]


def least_squares(A: Tensor, b: Tensor, method: PseudoInverse = by_svd) -> Tensor:
    """c = A⁺ b `(*B, n)`: of all that minimise ‖A c − b‖ the shortest; differentiable in A `(*B, m, n)` and b
    `(*B, m)`. ∂c/∂b is A⁺ itself."""
    return (pseudo_inverse(A, method) @ b[..., None]).squeeze(-1)
