"""Inequalities as penalties: −H(−D g(x)) D g(x), zero where g ≥ 0 holds and rising where it does not.

A range is such an inequality (x − low ≥ 0, high − x ≥ 0), and so is that two controls exclude each other: a
jaw does not go left and right at once, so −x_a x_b ≥ 0 for strengths that cannot be negative. Added to the
objective, constraints leave an unconstrained problem. D weighs them; with D above the constraint's multiplier
the penalty's corner at g = 0 holds the minimum on the constraint exactly.

The Heaviside function H is smoothed to a sigmoid of a width in the units of D g, so that the penalty has a
derivative where the constraint begins to bite. A wide one tells of a bound before it is reached, and lets
iterates pass through what is forbidden; a narrow one is nearly exact. So it starts wide and is narrowed
(`continuation.py`). Not too wide: just inside, a smoothed H leaves a dip of 0.28 widths, which holds whatever
is worth less.

    p(u) = u σ(u/w),   u = −D g,   p' = σ + (u/w) σ(1 − σ)

Gauss–Newton takes max(p'', 0) ∇u ∇uᵀ for its curvature.

Beside it stand the two other ways to keep x in a box: projection (`Prior.project`, used by every first-order
solver) and the active set (`box_qp.py`, used by every solver with a quadratic model). Exclusive pairs can be
projected, too: the smaller one goes to zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.derivatives.smoothing import bump, heaviside
from pipeline.solve.priors import Regulariser


class Constraint(Protocol):
    """C inequalities g(x) ≥ 0, told as u = −D g: above 0 is a violation."""

    def violation(self, x: Tensor) -> Tensor:
        """`(*B, K)` → u `(*B, C)`."""
        ...

    def slope(self, x: Tensor) -> Tensor:
        """`(*B, K)` → ∂u/∂x `(*B, C, K)`."""
        ...


@dataclass(frozen=True)
class Range:
    """low ≤ x ≤ high; an infinite end is no constraint.

    Attributes:
        low, high: `(K,)`.
        weight: D, for all.
    """

    low: Tensor
    high: Tensor
    weight: float

    def violation(self, x: Tensor) -> Tensor:
        ends = torch.cat([self.low - x, x - self.high], -1)
        return self.weight * ends[..., self._finite]

    def slope(self, x: Tensor) -> Tensor:
        one = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        return self.weight * torch.cat([-one, one])[self._finite].expand(*x.shape[:-1], -1, -1)

    @property
    def _finite(self) -> Tensor:
        return torch.cat([self.low, self.high]).isfinite()


@dataclass(frozen=True)
class ExclusivePairs:
    """At most one of two controls is in use: −x_a x_b ≥ 0, for controls that cannot be negative.

    Attributes:
        pairs: `(C, 2)` int64, which controls.
        weight: D, for all.
    """

    pairs: Tensor
    weight: float

    @classmethod
    def named(cls, pairs: Sequence[tuple[str, str]], names: Sequence[str], weight: float) -> "ExclusivePairs":
        """The pairs of which `names`, those of the axis K, holds both."""
        places = {name: k for k, name in enumerate(names)}
        known = [(places[a], places[b]) for a, b in pairs if a in places and b in places]
        return cls(torch.tensor(known, dtype=torch.int64).reshape(-1, 2), weight)

    def violation(self, x: Tensor) -> Tensor:
        return self.weight * x[..., self.pairs].prod(-1)

    def slope(self, x: Tensor) -> Tensor:
        one = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        a, b = self.pairs.unbind(-1)
        return self.weight * (x[..., b, None] * one[a] + x[..., a, None] * one[b])

    def project(self, x: Tensor) -> Tensor:
        """The nearest point without violations, for pairs that share no control: the smaller becomes 0."""
        a, b = self.pairs.unbind(-1)
        both = (x[..., a] > 0) & (x[..., b] > 0)
        smaller = x[..., a] < x[..., b]
        x = x.index_copy(-1, a, x[..., a].masked_fill(both & smaller, 0))
        return x.index_copy(-1, b, x[..., b].masked_fill(both & ~smaller, 0))


@dataclass(frozen=True)
class Penalised:
    """A prior with penalties: what solvers take in its place.

    Attributes:
        prior: with the box that is kept by projection or active set. Infinite ends leave it to penalties.
        constraints: penalised.
        width: of the smoothed Heaviside function; 0 is sharp.
    """

    prior: Regulariser
    constraints: Sequence[Constraint]
    width: float

    @property
    def low(self) -> Tensor:
        return self.prior.low

    @property
    def high(self) -> Tensor:
        return self.prior.high

    def project(self, x: Tensor) -> Tensor:
        return self.prior.project(x)

    def projected_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        return self.prior.projected_gradient(x, gradient)

    def value(self, x: Tensor) -> Tensor:
        """`(*B, K)` → `(*B,)`."""
        value = self.prior.value(x)
        for constraint in self.constraints:
            u = constraint.violation(x)
            value = value + (heaviside(u, self.width) * u).sum(-1)
        return value

    def gradient(self, x: Tensor) -> Tensor:
        """`(*B, K)` → `(*B, K)`."""
        gradient = self.prior.gradient(x)
        for constraint in self.constraints:
            rise = self._rise(constraint.violation(x))
            gradient = gradient + (rise[..., None, :] @ constraint.slope(x)).squeeze(-2)
        return gradient

    def curvature(self, x: Tensor) -> Tensor:
        """`(*B, K, K)`, positive semidefinite: that of the bend across the constraint, not of g itself."""
        curvature = self.prior.curvature(x)
        for constraint in self.constraints:
            bend = self._bend(constraint.violation(x))[..., None]
            slope = constraint.slope(x)
            curvature = curvature + slope.mT @ (bend * slope)
        return curvature

    def _rise(self, u: Tensor) -> Tensor:
        """p'(u)."""
        step = heaviside(u, self.width)
        return step if self.width == 0 else step + u * bump(u, self.width)

    def _bend(self, u: Tensor) -> Tensor:
        """p''(u), where it is positive."""
        if self.width == 0:
            return torch.zeros_like(u)
        return (bump(u, self.width) * (2 - u / self.width * torch.tanh(u / self.width / 2))).clamp(min=0)
