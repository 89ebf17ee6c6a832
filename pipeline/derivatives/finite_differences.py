"""Derivatives from values alone, and how far they can be trusted.

For a small step h > 0 along a direction d, with g(t) = f(x + t d):

    forward    (g(h) − g(0)) / h                  O(h)
    backward   (g(0) − g(−h)) / h                 O(h)
    central    (g(h) − g(−h)) / 2h                O(h²)
    second     (g(h) − 2 g(0) + g(−h)) / h²       O(h²), of the second derivative

They need nothing but values, so they judge every other derivative here. But they have two errors:
truncation, which falls with h, and roundoff of g, about ε|g|/h (ε|g|/h² for the second), which grows as h
falls. Over h the sum is a V; the best h is at its bottom, near ε^(1/2), ε^(1/3), ε^(1/4) times the size of x.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from pipeline.derivatives.axes import batch_shape, choose, input_axes, output_axes, units
from pipeline.derivatives.jacobian import Jacobian
from pipeline.errors import ChainRigError
from pipeline.layer import Layer

Scheme = Literal["forward", "backward", "central", "second"]
_ROOT: dict[Scheme, int] = {"forward": 2, "backward": 2, "central": 3, "second": 4}


def best_guess(scheme: Scheme, dtype: torch.dtype, scale: float = 1.0) -> float:
    """The step where truncation and roundoff meet if f is as smooth as its size suggests.

    A power of two, so that dividing by it is exact.

    Args:
        scale: the size of a change of x over which f bends (1 for controls between 0 and 1).
    """
    return 2.0 ** round(math.log2(scale * torch.finfo(dtype).eps ** (1 / _ROOT[scheme])))


def difference(
    layer: Layer, x: Tensor, direction: Tensor, step: float | None = None, scheme: Scheme = "central"
) -> Tensor:
    """The (second) derivative of f along a direction, from two (three) evaluations.

    Args:
        x, direction: `(*B, *input)`.
        step: h > 0; `best_guess` if omitted.

    Returns:
        `(*B, *output)`.

    Raises:
        ChainRigError: the step is not a positive number, or the scheme is unknown.
    """
    if scheme not in get_args(Scheme):
        raise ChainRigError(f"There is no scheme {scheme}: choose one of {', '.join(get_args(Scheme))}.")
    h = best_guess(scheme, x.dtype) if step is None else step
    if not (h > 0 and math.isfinite(h)):
        raise ChainRigError(f"A finite difference needs a positive step, not {h}.")
    with torch.no_grad():
        if scheme == "forward":
            return (layer(x + h * direction) - layer(x)) / h
        if scheme == "backward":
            return (layer(x) - layer(x - h * direction)) / h
        ahead, behind = layer(x + h * direction), layer(x - h * direction)
        if scheme == "central":
            return (ahead - behind) / (2 * h)
        # The difference of differences: the large common value leaves before the division.
        here = layer(x)
        return ((ahead - here) - (here - behind)) / h**2


def jacobian(
    layer: Layer,
    x: Tensor,
    step: float | Sequence[float] | None = None,
    scheme: Scheme = "central",
    columns: dict | None = None,
) -> Jacobian:
    """∂Y/∂X by columns, one coordinate of X at a time: the slow judge of the automatic one.

    Each column is divided by the step that was really taken: x + h is rounded, too.

    Args:
        step: one for all columns, or one a column.
        columns: as in `automatic.jacobian`.
    """
    if scheme == "second":
        raise ChainRigError("A Jacobian has first derivatives: choose forward, backward or central.")
    with torch.no_grad():
        y = layer(x)
    axes, indices = choose(input_axes(layer, x), columns)
    h = best_guess(scheme, x.dtype) if step is None else step
    steps = [h] * len(indices) if isinstance(h, int | float) else list(h)
    if len(steps) != len(indices):
        raise ChainRigError(f"There are {len(steps)} steps for {len(indices)} columns.")
    batch, results = batch_shape(layer, x), []
    with torch.no_grad():
        for index, size in zip(indices, steps, strict=True):
            unit = units(x, batch, index[None].to(x.device))[0]
            ahead = x + size * unit if scheme != "backward" else x
            behind = x - size * unit if scheme != "forward" else x
            taken = (ahead - behind).flatten(len(batch)).sum(-1)  # [*B]; only one entry is not zero
            change = (layer(ahead) - layer(behind)).flatten(len(batch))
            results.append(change / taken[..., None])
    return Jacobian.from_matrix(torch.stack(results, -1), output_axes(layer, y), axes)


@dataclass(frozen=True)
class Sweep:
    """A finite difference over many steps: the V of truncation against roundoff.

    Attributes:
        scheme: which difference.
        steps: (S,) falling.
        errors: (S,) relative error against the reference, or an estimate of it without one.
        estimated: whether the errors are an estimate.
    """

    scheme: Scheme
    steps: tuple[float, ...]
    errors: tuple[float, ...]
    estimated: bool

    @property
    def best(self) -> int:
        """Index of the bottom of the V."""
        return min(range(len(self.errors)), key=lambda i: self.errors[i])

    @property
    def best_step(self) -> float:
        return self.steps[self.best]

    @property
    def least_error(self) -> float:
        return self.errors[self.best]

    @property
    def order(self) -> float:
        """The slope of the truncation side in log-log: 1 or 2 where f is smooth enough (NaN if unseen)."""
        side = [
            (math.log(h), math.log(e))
            for h, e in zip(self.steps[: self.best], self.errors, strict=False)
            if 30 * self.least_error < e < 0.1  # neither near the bottom nor beyond what Taylor describes
        ]
        if len(side) < 2:
            return math.nan
        mean_h, mean_e = (sum(values) / len(side) for values in zip(*side, strict=True))
        above = sum((h - mean_h) * (e - mean_e) for h, e in side)
        return above / sum((h - mean_h) ** 2 for h, _ in side)


def sweep(
    layer: Layer,
    x: Tensor,
    direction: Tensor,
    scheme: Scheme = "central",
    steps: Sequence[float] | None = None,
    reference: Tensor | None = None,
) -> Sweep:
    """How a difference errs, step by step.

    Args:
        steps: any order; by default powers of two from 1 (float64: to 2⁻⁴⁸, float32: to 2⁻²²).
        reference: `(*B, *output)` what the difference should be, e.g. a JVP. Without one, the error at a step
            is estimated by how much the difference changes from the steps next to it.
    """
    if steps is None:
        bits = 48 if x.dtype == torch.float64 else 22
        steps = [2.0**-k for k in range(0, bits + 1, 2)]
    if len(steps) < 3:
        raise ChainRigError("A sweep needs at least three steps.")
    falling = sorted(steps, reverse=True)
    values = [difference(layer, x, direction, h, scheme) for h in falling]
    if reference is not None:
        errors = [relative_error(value, reference) for value in values]
        return Sweep(scheme, tuple(falling), tuple(errors), False)
    changes = [relative_error(a, b) for a, b in zip(values, values[1:], strict=False)]
    # Each step is as good as the worse of its two neighbours says; and deep in roundoff, where neighbours may
    # agree by chance, no better than the rounding of f allows.
    with torch.no_grad():
        rounding = torch.finfo(x.dtype).eps * float(layer(x).double().norm())
    power = 2 if scheme == "second" else 1
    sizes = [max(float(value.double().norm()), 1e-300) for value in values]
    worse = [changes[0], *(max(pair) for pair in zip(changes, changes[1:], strict=False)), changes[-1]]
    errors = [e + rounding / h**power / size for e, h, size in zip(worse, falling, sizes, strict=True)]
    return Sweep(scheme, tuple(falling), tuple(errors), True)


def relative_error(value: Tensor, reference: Tensor) -> float:
    """‖value − reference‖ / ‖reference‖, in float64; the norm of the value where the reference is zero."""
    value, reference = value.detach().double(), reference.detach().double()
    size = reference.norm()
    return float((value - reference).norm() / size if size > 0 else value.norm())
