"""What is known of the controls before any photo: as −log of a density, up to a constant."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


class Regulariser(Protocol):
    """What a solver asks of a prior and its box; `Prior` is one, `constraints.Penalised` another."""

    @property
    def low(self) -> Tensor: ...

    @property
    def high(self) -> Tensor: ...

    def value(self, x: Tensor) -> Tensor: ...

    def gradient(self, x: Tensor) -> Tensor: ...

    def curvature(self, x: Tensor) -> Tensor: ...

    def project(self, x: Tensor) -> Tensor: ...

    def projected_gradient(self, x: Tensor, gradient: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Prior:
    """½ Σ precision·(x − mean)² + Σ sparsity·x + ½ xᵀ coupling x over the controls, inside their ranges.

    The linear term is a Laplace density's on controls that cannot be negative: it switches off what the data
    do not ask for.

    Attributes:
        mean, precision, sparsity: `(K,)`; sparsity is 0 where a control may be negative.
        low, high: `(K,)` ranges, ±inf where there is none.
        coupling: `(K, K)`, positive semidefinite, of controls that go together; None: none do.
    """

    mean: Tensor
    precision: Tensor
    sparsity: Tensor
    low: Tensor
    high: Tensor
    coupling: Tensor | None = None

    def value(self, x: Tensor) -> Tensor:
        """`(*B, K)` → `(*B,)`."""
        apart = 0.5 * (self.precision * (x - self.mean).square()).sum(-1) + (self.sparsity * x).sum(-1)
        return apart if self.coupling is None else apart + 0.5 * (x * (x @ self.coupling)).sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        """`(*B, K)` → `(*B, K)`."""
        apart = self.precision * (x - self.mean) + self.sparsity
        return apart if self.coupling is None else apart + x @ self.coupling

    def curvature(self, x: Tensor) -> Tensor:
        """Second derivatives, `(K, K)`: the same everywhere."""
        return self.precision.diag() if self.coupling is None else self.precision.diag() + self.coupling

    def times(self, factor: float) -> "Prior":
        """The density to a power: as if the data counted for 1/factor."""
        return replace(
            self,
            precision=factor * self.precision,
            sparsity=factor * self.sparsity,
            coupling=None if self.coupling is None else factor * self.coupling,
        )

    def project(self, x: Tensor) -> Tensor:
        """The nearest point inside the ranges."""
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def projected_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The gradient without the components that push a control at its bound out: zero at a minimum."""
        outward = ((x <= self.low) & (gradient > 0)) | ((x >= self.high) & (gradient < 0))
        return gradient.masked_fill(outward, 0)


def flat(low: Tensor, high: Tensor) -> Prior:
    """Ranges `(K,)` and nothing else known."""
    zero = torch.zeros_like(low)
    return Prior(zero, zero, zero, low, high)


def alike(pairs: Sequence[tuple[int, int]], precision: float, size: int) -> Tensor:
    """`(size, size)` float64 coupling of controls that differ little: ½ Σ precision·(x_a − x_b)²."""
    rows = torch.zeros(len(pairs), size, dtype=torch.float64)
    for row, (a, b) in zip(rows, pairs, strict=True):
        row[a], row[b] = 1.0, -1.0
    return precision * rows.T @ rows
