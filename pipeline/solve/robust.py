"""Losses for landmarks that may be wrong or hidden.

A loss ρ turns residuals into a number; a landmark is a group of residuals (x and y) that count together by
their length s. Its derivative is ρ'(s)/s · r: the residuals, each times a weight. So one object serves both
as a plain loss for solvers of first order and as iteratively reweighted least squares for Gauss–Newton, where
JᵀWJ, with the weights of the point, stays positive semidefinite (Holland and Welsch, "Robust regression using
iteratively reweighted least-squares", 1977). For the losses here, whose weights fall with s, the reweighted
parabola lies above the loss: a step that lowers it lowers the loss.

| loss | ρ(s) | weight |
|---|---|---|
| `Squares` | ½ s² | 1 |
| `Huber` | ½ s² up to c, then c s − ½ c² | min(1, c/s) |
| `GemanMcClure` | ½ s² / (1 + s²/c²), at most ½ c² | 1 / (1 + s²/c²)² |

Huber ("Robust estimation of a location parameter", 1964) is convex: a landmark pulls with a force of at most
c. Geman–McClure ("Bayesian image analysis", 1985) forgets a far one, but has minima of its own: start it wide
and narrow it (`continuation.py`).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Loss(Protocol):
    """Of residuals `(*B, M)`; weights and values in their dtype."""

    def value(self, residual: Tensor) -> Tensor:
        """`(*B, M)` → `(*B,)`."""
        ...

    def weight(self, residual: Tensor) -> Tensor:
        """`(*B, M)` → `(*B, M)`, or what broadcasts to it; ∂value/∂residual is weight · residual."""
        ...


@dataclass(frozen=True)
class Squares:
    """½ Σ r²."""

    def value(self, residual: Tensor) -> Tensor:
        return 0.5 * residual.square().sum(-1)

    def weight(self, residual: Tensor) -> Tensor:
        return torch.ones_like(residual)


@dataclass(frozen=True)
class Huber:
    """Parabola near zero, straight beyond `width`.

    Attributes:
        width: c, in units of a group's length.
        group: residuals that count together: 2 for landmarks in the plane.
    """

    width: float
    group: int = 2

    def value(self, residual: Tensor) -> Tensor:
        square = _squares(residual, self.group)
        near = square <= self.width**2
        length = torch.where(near, self.width**2, square).sqrt()  # no slope of √ at 0 to divide by
        return torch.where(near, 0.5 * square, self.width * length - 0.5 * self.width**2).sum(-1)

    def weight(self, residual: Tensor) -> Tensor:
        length = _squares(residual, self.group).clamp(min=self.width**2).sqrt()
        return (self.width / length).repeat_interleave(self.group, dim=-1)


@dataclass(frozen=True)
class GemanMcClure:
    """Parabola near zero, flat far beyond `width`. Attributes as of `Huber`."""

    width: float
    group: int = 2

    def value(self, residual: Tensor) -> Tensor:
        square = _squares(residual, self.group)
        return (0.5 * square / (1 + square / self.width**2)).sum(-1)

    def weight(self, residual: Tensor) -> Tensor:
        ratio = _squares(residual, self.group) / self.width**2
        return (1 + ratio).square().reciprocal().repeat_interleave(self.group, dim=-1)


@dataclass(frozen=True)
class Kept:
    """Another loss over some landmarks only: the hidden and those outside the frame are dropped.

    Attributes:
        loss: of the landmarks that are kept.
        keep: `(*B, M / group)` bool, or weights in [0, 1].
        group: residuals that count together, as in `loss`.
    """

    loss: Loss
    keep: Tensor
    group: int = 2

    def value(self, residual: Tensor) -> Tensor:
        return _each(self.loss, residual, self.group, self.keep.to(residual))

    def weight(self, residual: Tensor) -> Tensor:
        return self.loss.weight(residual) * self.keep.to(residual).repeat_interleave(self.group, dim=-1)


def inside_frame(points: Tensor, width: float, height: float, margin: float = 0.0) -> Tensor:
    """`(*B, L, ≥ 2)` landmarks in pixels → `(*B, L)` bool: the ones that a picture shows, for `Kept`.

    Args:
        margin: pixels along the edges where landmarks are guesses already.
    """
    x, y = points[..., 0], points[..., 1]
    return (x >= margin) & (y >= margin) & (x <= width - margin) & (y <= height - margin)


def _squares(residual: Tensor, group: int) -> Tensor:
    """`(*B, M)` → `(*B, M / group)` squared lengths of groups."""
    return residual.unflatten(-1, (-1, group)).square().sum(-1)


def _each(loss: Loss, residual: Tensor, group: int, keep: Tensor) -> Tensor:
    """Σ keep · loss of one group."""
    groups = residual.unflatten(-1, (-1, group))  # [*B, L, group]: every landmark an item of a batch
    return (loss.value(groups) * keep).sum(-1)
