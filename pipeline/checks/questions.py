"""The questions that any layer can be asked, each answered by one number.

Every question is asked along several directions, which have names, and the worst of them is told: a wrong
sign in a joint must not drown in the motion of the whole head.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pipeline.checks.badge import Badge
from pipeline.derivatives import trust
from pipeline.derivatives.automatic import jvp
from pipeline.derivatives.finite_differences import best_guess, difference, relative_error
from pipeline.layer import Layer

Directions = Mapping[str, Tensor]  # name → `(*input)`
Gap = Callable[[Tensor, Tensor], float]  # (found, expected) → relative error

# Around the step at which a central difference in float64 is best if f bends over about 1.
STEPS = tuple(best_guess("central", torch.float64) * 2.0**k for k in (4, 0, -4))
TINY_STEPS = tuple(2.0**-k for k in (20, 22, 24, 26, 28, 30))  # ≤ 1e-6: between kinks that lie close
INSIDE = 0.99  # of the pixels: those beside outlines jump, and are judged by `checks/outlines.py`


def adjoint_identity(layer: Layer, x: Tensor, directions: Directions, limit: float = 1e-9) -> Badge:
    """⟨Jᵀg, d⟩ = ⟨g, J d⟩: are forward and reverse mode the same derivative?"""
    found = {name: trust.adjoint_gap(layer, x, d) for name, d in directions.items()}
    return _worst(layer, "adjoint identity", found, limit, "forward against reverse mode")


def slope(
    layer: Layer,
    x: Tensor,
    directions: Directions,
    limit: float = 1e-6,
    steps: Sequence[float] = STEPS,
    gap: Gap = relative_error,
    note: str = "",
) -> Badge:
    """J d against the best of several central differences: is it the slope of what is computed?"""
    found, at = {}, {}
    for name, d in directions.items():
        pushed = jvp(layer, x, d)[1]
        errors = {h: gap(difference(layer, x, d, h), pushed) for h in steps}
        at[name] = min(errors, key=lambda h: errors[h])
        found[name] = errors[at[name]]
    badge = _worst(layer, "against differences", found, limit)
    step = f"step {at[badge.worst]:.0e}" if badge.worst in at else f"step {next(iter(at.values())):.0e}"
    return _noted(badge, step, note)


def precision(layer: Layer, x: Tensor, directions: Directions, limit: float, note: str = "") -> Badge:
    """J d in float32 against J d in float64."""
    found = {name: trust.precision_gap(layer, x, d) for name, d in directions.items()}
    return _noted(_worst(layer, "float32 against float64", found, limit), note)


def inside_surfaces(found: Tensor, expected: Tensor) -> float:
    """Relative error over the 99 % of pixels `(H, W, 3)` that agree best."""
    size = (found - expected).square().sum(-1).flatten()
    kept = size.argsort()[: math.ceil(INSIDE * len(size))]
    return relative_error(found.flatten(0, -2)[kept], expected.flatten(0, -2)[kept])


def in_float64(layer: Layer) -> Layer:
    """A copy that nobody else sees; a detector's derivative is the network's own, not a smoothed one."""
    twin = copy.deepcopy(layer).double()
    for module in twin.modules():
        if isinstance(getattr(module, "smoothing", None), float):
            module.smoothing = 0.0  # type: ignore[assignment]
    return twin


def _worst(layer: Layer, question: str, found: Mapping[str, float], limit: float, note: str = "") -> Badge:
    worst = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    return Badge(layer.name, question, found[worst], limit, note, worst)


def _noted(badge: Badge, *notes: str) -> Badge:
    parts = [note for note in (*notes, badge.note) if note]
    return Badge(badge.layer, badge.question, badge.value, badge.limit, "; ".join(parts), badge.worst)
