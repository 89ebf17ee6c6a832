"""How far along a line: fixed rates, backtracking to Armijo's condition, and the strong Wolfe conditions.

φ(t) is the value at distance t along the descent's path. Every search is told φ(t) at one trial after
another, for every item of a batch, and answers with what it accepts and where it wants to look next.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass
class Trial:
    """One evaluation, `(*B,)` each.

    Attributes:
        value, new_value: before and after.
        predicted: decrease by the descent's model.
        used: how much of the size the step took, if less than the whole.
        slope, new_slope: φ'(0) and φ'(t), for searches that need slopes.
    """

    value: Tensor
    new_value: Tensor
    predicted: Tensor
    used: Tensor | None = None
    slope: Tensor | None = None
    new_slope: Tensor | None = None

    @property
    def gain(self) -> Tensor:
        """Which part of the prediction came true; −inf where the trial has no finite value."""
        gain = (self.value - self.new_value) / self.predicted.clamp(min=torch.finfo(self.value.dtype).tiny)
        return gain.nan_to_num(-math.inf, posinf=math.inf, neginf=-math.inf)


class Sizes(Protocol):
    """One run of a search: it lives for one `minimize`.

    Attributes:
        size: `(*B,)` of the next trial.
        needs_slope: whether every trial must be differentiated.
    """

    size: Tensor
    needs_slope: bool

    def judge(self, trial: Trial) -> Tensor:
        """What is accepted `(*B,)`; chooses the next sizes."""
        ...


class Search(Protocol):
    """The settings of a search."""

    def begin(self, first: Tensor) -> Sizes:
        """A run that first tries the sizes `(*B,)`."""
        ...


@dataclass(frozen=True)
class LearningRate:
    """The descent's first size, ever a little less, whatever becomes of the value: size / (1 + decay · n).

    Attributes:
        decay: of the rate; 0 keeps it.
    """

    decay: float = 0.0

    def begin(self, first: Tensor) -> "Sizes":
        return _Rates(first, first, torch.zeros_like(first), self.decay)


@dataclass
class _Rates:
    size: Tensor
    first: Tensor
    count: Tensor
    decay: float
    needs_slope: bool = False

    def judge(self, trial: Trial) -> Tensor:
        accepted = trial.new_value.isfinite()
        self.count = self.count + 1
        self.first = torch.where(accepted, self.first, self.first / 4)  # over a cliff
        self.size = self.first / (1 + self.decay * self.count)
        return accepted


@dataclass(frozen=True)
class Armijo:
    """Backtracking: the first size, of t, shrink·t, shrink²·t, …, whose decrease is a fair part of the
    slope's (Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", 1966).

    Attributes:
        part: of the predicted decrease that must come true.
        shrink: of the size after a rejection.
        grow: of the size after an acceptance; inf: the next step tries `most` at once, as Newton steps
            should.
        most: size.
    """

    part: float = 1e-4
    shrink: float = 0.5
    grow: float = 2.0
    most: float = math.inf

    def begin(self, first: Tensor) -> "Sizes":
        return _ArmijoSizes(self, first.clamp(max=self.most))


@dataclass
class _ArmijoSizes:
    search: Armijo
    size: Tensor
    needs_slope: bool = False

    def judge(self, trial: Trial) -> Tensor:
        accepted = (trial.gain >= self.search.part) & (trial.new_value <= trial.value)
        grown = (self.size * self.search.grow).clamp(max=self.search.most)
        self.size = torch.where(accepted, grown, self.size * self.search.shrink)
        return accepted


@dataclass(frozen=True)
class StrongWolfe:
    """Enough decrease, and a slope that has flattened: φ(t) ≤ φ(0) + part·t·φ'(0) and |φ'(t)| ≤ flat·|φ'(0)|.

    A bracket (lo, hi) always holds such a t: it grows until it does, then shrinks by the minimum of the cubic
    through both ends (Nocedal and Wright, "Numerical Optimization", 2006, algorithms 3.5 and 3.6). Where the
    path has a corner, because the box cuts it off, there may be none: after `trials`, the best one will do.

    Attributes:
        part, flat: 0 < part < flat < 1.
        first: size that a new line is tried with.
        grow: of the size while the bracket is open.
        trials: of one line at most.
    """

    part: float = 1e-4
    flat: float = 0.9
    first: float = 1.0
    grow: float = 2.0
    trials: int = 12

    def begin(self, first: Tensor) -> "Sizes":
        return _Bracket(self, first)


class _Bracket:
    """Per item: t, φ(t), φ'(t) at both ends of the bracket. hi may be anything where it is still open."""

    needs_slope = True

    def __init__(self, search: StrongWolfe, first: Tensor) -> None:
        self.search, self.size = search, first
        self.low = self.high = torch.zeros(3, *first.shape, dtype=first.dtype, device=first.device)
        self.open = torch.ones_like(first, dtype=torch.bool)
        self.count = torch.zeros_like(first)

    def judge(self, trial: Trial) -> Tensor:
        assert trial.slope is not None and trial.new_slope is not None
        search, t = self.search, self.size
        fresh = self.count == 0
        origin = torch.stack([torch.zeros_like(t), trial.value, trial.slope])
        low = torch.where(fresh, origin, self.low)
        here = torch.stack([t, trial.new_value, trial.new_slope])
        finite = here.isfinite().all(0)
        enough = trial.new_value <= trial.value + search.part * t * trial.slope
        too_far = ~finite | ~enough | (trial.new_value >= low[1])
        accepted = ~too_far & (trial.new_slope.abs() <= search.flat * trial.slope.abs())
        # the minimum lies towards lo if φ rises from here away from it
        behind = trial.new_slope * torch.where(self.open, 1.0, self.high[0] - low[0]) >= 0
        turned = ~too_far & behind
        self.high = torch.where(too_far, here, torch.where(turned, low, self.high))
        self.open = self.open & ~too_far & ~turned
        self.low = torch.where(too_far, low, here)
        self.count = self.count + 1
        tired = self.count >= search.trials
        accepted = accepted | (tired & finite & enough)
        next_size = torch.where(self.open, t * search.grow, cubic_minimum(self.low, self.high))
        best = tired & (self.low[0] > 0)  # left behind: once more there, to stay
        next_size = torch.where(best, self.low[0], next_size)
        self.size = torch.where(accepted, search.first, next_size)
        self.count = torch.where(accepted, 0, self.count)
        self.open = self.open | accepted
        return accepted


def cubic_minimum(low: Tensor, high: Tensor) -> Tensor:
    """Of the cubic with the values and slopes `(3, *B)` of two places; off the ends, the middle in doubt."""
    (a, fa, sa), (b, fb, sb) = low, high
    chord = 3 * (fa - fb) / (b - a) + sa + sb
    root = (chord.square() - sa * sb).clamp(min=0).sqrt() * (b - a).sign()
    at = b - (b - a) * (sb + root - chord) / (sb - sa + 2 * root)
    left, right = torch.minimum(a, b), torch.maximum(a, b)
    margin = 0.1 * (right - left)
    at = torch.where(at.isfinite(), at, (a + b) / 2)
    return torch.minimum(torch.maximum(at, left + margin), right - margin)
