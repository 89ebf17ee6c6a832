"""The questions that any layer can be asked, each answered by one number.

Every question is asked along several directions, which have names, and the worst of them is told: a wrong
sign in a joint must not drown in the motion of the whole head.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.checks.badge import Badge
from pipeline.derivatives import trust
from pipeline.derivatives.automatic import jvp, push, vjp
from pipeline.derivatives.axes import check_output
from pipeline.derivatives.closed_layers import closed_jacobian, has_closed_jacobian
from pipeline.derivatives.finite_differences import best_guess, difference
from pipeline.derivatives.linearize import has_linearization, linearize
from pipeline.layer import Layer

Directions = Mapping[str, Tensor]  # name → `(*input)`
Gap = Callable[[Tensor, Tensor], float]

# Around the step at which a central difference in float64 is best if f bends over about 1.
STEPS = tuple(best_guess("central", torch.float64) * 2.0**k for k in (0, 4, -4))
TINY_STEPS = (2.0**-26, 2.0**-22, 2.0**-30)  # ≤ 1e-6: between kinks that lie close
COARSE, FINE = 2.0**-20, 2.0**-30  # both are fine in float64; in float32 the second is lost
INSIDE = 0.99  # of the pixels: those beside outlines jump, and are judged by `checks/outlines.py`


def gap(one: Tensor, other: Tensor) -> float:
    """‖one − other‖ by the larger of their norms: 1 where one of them is zero, 0 where both are."""
    one, other = one.detach().double(), other.detach().double()
    size = max(float(one.norm()), float(other.norm()))
    return float((one - other).norm()) / size if size != 0 else 0.0  # NaN stays NaN


def inside_surfaces(one: Tensor, other: Tensor) -> float:
    """The gap over the 99 % of pixels `(H, W, 3)` that agree best."""
    apart = (one - other).square().sum(-1).flatten()
    kept = apart.argsort()[: math.ceil(INSIDE * len(apart))]
    return gap(one.flatten(0, -2)[kept], other.flatten(0, -2)[kept])


def adjoint_identity(layer: Layer, x: Tensor, directions: Directions, limit: float = 1e-9) -> Badge:
    """⟨Jᵀg, d⟩ = ⟨g, J d⟩: are forward and reverse mode the same derivative?"""
    found = {name: trust.adjoint_gap(layer, x, d) for name, d in directions.items()}
    badge = worst_of(layer, "adjoint identity", found, limit)
    return badge if badge.passed else noted(badge, _wrong_mode(layer, x, directions[badge.worst]))


def slope(
    layer: Layer,
    x: Tensor,
    directions: Directions,
    derivatives: Directions,
    limit: float = 1e-6,
    steps: Sequence[float] = STEPS,
    gap: Gap = gap,
    note: str = "",
) -> Badge:
    """J d against central differences: is it the slope of what is computed?

    The steps are tried in turn until one agrees well within the limit; else the best counts.

    Args:
        derivatives: J d by the names of the directions.
    """
    found, at = {}, {}
    for name, d in directions.items():
        errors: dict[float, float] = {}
        for h in steps:
            errors[h] = gap(difference(layer, x, d, h), derivatives[name])
            if errors[h] <= 0.01 * limit:
                break
        at[name] = min(errors, key=lambda h: errors[h])
        found[name] = errors[at[name]]
    badge = worst_of(layer, "against differences", found, limit)
    return noted(badge, f"step {at[badge.worst]:.0e}", note)


def silent_zeros(
    layer: Layer, x: Tensor, directions: Directions, derivatives: Directions, step: float, limit: float = 0.02
) -> Badge:
    """The share of what moves whose derivative is exactly 0: cut off from what it depends on."""
    found = {}
    for name, d in directions.items():
        moved = difference(layer, x, d, step)
        moves = moved.abs() > 1e-3 * moved.abs().max()
        found[name] = float(((derivatives[name] == 0) & moves).sum() / moves.sum().clamp(min=1))
    badge = worst_of(layer, "silently zero", found, limit)
    return badge if badge.passed else noted(badge, "share of the moving outputs whose derivative is 0")


def double_throughout(
    layer: Layer, x: Tensor, directions: Directions, limit: float = 0.05, gap: Gap = gap
) -> Badge:
    """Differences over two small steps agree, unless something inside is rounded to float32."""
    found = {
        name: gap(difference(layer, x, d, COARSE), difference(layer, x, d, FINE))
        for name, d in directions.items()
    }
    badge = worst_of(layer, "float64 throughout", found, limit)
    return badge if badge.passed else noted(badge, "something inside is rounded to float32")


def precision(layer: Layer, x: Tensor, directions: Directions, limit: float, note: str = "") -> Badge:
    """J d in float32 against J d in float64."""
    found = {name: trust.precision_gap(layer, x, d) for name, d in directions.items()}
    return noted(worst_of(layer, "float32 against float64", found, limit), note)


def batch_values(layer: Layer, x: Tensor, direction: Tensor, limit: float = 1e-9) -> Badge:
    """A batch of two on two leading axes against its items, one by one."""
    items = _two(x, direction)
    with torch.no_grad():
        together = layer(items[:, None])
        check_output(layer, items[:, None], together)
        found = {f"item {i}": gap(together[i, 0], layer(item)) for i, item in enumerate(items)}
    return worst_of(layer, "batch against loop: values", found, limit)


def batch_derivatives(layer: Layer, x: Tensor, direction: Tensor, limit: float = 1e-9) -> Badge:
    """Only the first of two items moves: its derivatives are those it has alone, the other's are 0."""
    items, alone = _two(x, direction)[:, None], jvp(layer, x, direction)[1]
    only = torch.stack([direction, torch.zeros_like(direction)])[:, None]
    pushed = jvp(layer, items, only)[1]
    size = float(alone.norm())
    found = {
        "forward mode": gap(pushed[0, 0], alone),
        "forward mode, of the other item": float(pushed[1].norm()) / size if size else 0.0,
    }
    pulled = vjp(layer, items)[1](torch.stack([alone, torch.zeros_like(alone)])[:, None])
    expected = vjp(layer, x)[1](alone)
    size = float(expected.norm())
    found["reverse mode"] = gap(pulled[0, 0], expected)
    found["reverse mode, of the other item"] = float(pulled[1].norm()) / size if size else 0.0
    return worst_of(layer, "batch against loop: derivatives", found, limit)


def has_shortcut(layer: Layer) -> bool:
    """Whether the layer's derivative is also known in closed form or as a linear map of its own."""
    return has_closed_jacobian(layer) or has_linearization(layer)


def shortcut(layer: Layer, x: Tensor, directions: Directions, limit: float = 1e-9) -> Badge:
    """The hand-written Jacobian or linear map against automatic differentiation."""
    tangents = torch.stack(list(directions.values()))
    expected = push(layer, x, tangents)
    J = closed_jacobian(layer, x, torch.arange(x.numel())) if has_closed_jacobian(layer) else None
    if J is not None:
        written = (J @ tangents.flatten(1).T).movedim(-1, 0)
    else:
        written = linearize(layer, x)(tangents)
    found = {name: gap(one, other) for name, one, other in zip(directions, written, expected, strict=True)}
    return worst_of(layer, "hand-written against automatic", found, limit)


def in_float64(layer: Layer) -> Layer:
    """A copy that nobody else sees; a detector's derivative is the network's own, not a smoothed one."""
    twin = copy.deepcopy(layer).double().requires_grad_(False)
    for module in twin.modules():
        if isinstance(getattr(module, "smoothing", None), float):
            module.smoothing = 0.0  # type: ignore[assignment]
    return twin


def worst_of(layer: Layer, question: str, found: Mapping[str, float], limit: float, note: str = "") -> Badge:
    """The badge of the largest error; a NaN is the largest."""
    worst = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    return Badge(layer.name, question, found[worst], limit, note, worst)


def noted(badge: Badge, *notes: str) -> Badge:
    """The badge with more to say."""
    return replace(badge, note="; ".join(note for note in (badge.note, *notes) if note))


def _two(x: Tensor, direction: Tensor) -> Tensor:
    return torch.stack([x, x + 0.05 * direction])


def _wrong_mode(layer: Layer, x: Tensor, d: Tensor) -> str:
    """Which of the modes is not the slope."""
    pushed = jvp(layer, x, d)[1]
    change = difference(layer, x, d, STEPS[1])
    forward = gap(pushed, change)
    there = float((vjp(layer, x)[1](change) * d).sum())  # ‖J d‖² if Jᵀ is right
    reverse = abs(there / float(change.square().sum()) - 1)
    wrong = "forward mode" if forward > reverse else "reverse mode"
    return f"{wrong} is further from the slope"
