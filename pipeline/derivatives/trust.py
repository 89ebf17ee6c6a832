"""Can a layer's derivative be trusted? Four questions that any layer can be asked.

- Do the modes agree? ⟨Jᵀg, d⟩ = ⟨g, J d⟩ for any d and g, to roundoff.
- Is it the slope? J d against the best of many finite differences.
- Is it precise? J d in float32 against float64.
- Is it the layer's own? An item of a batch must not depend on the others.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.derivatives.automatic import jvp, vjp
from pipeline.derivatives.axes import check_output
from pipeline.derivatives.finite_differences import Scheme, Sweep, relative_error, sweep
from pipeline.derivatives.second_order import along
from pipeline.layer import Layer


@dataclass(frozen=True)
class Trust:
    """What came out for one layer at one point.

    Attributes:
        layer: its name.
        adjoint: relative gap between the two sides of the adjoint identity.
        differences: the sweep of finite differences against forward mode.
        precision: relative gap between J d in float32 and in float64.
        batch: relative gap between J d in a batch and alone.
    """

    layer: str
    adjoint: float
    differences: Sweep
    precision: float
    batch: float

    @property
    def slope(self) -> float:
        """Relative error of the derivative against the best finite difference."""
        return self.differences.least_error


def adjoint_gap(layer: Layer, x: Tensor, direction: Tensor | None = None, seed: int = 0) -> float:
    """|⟨Jᵀg, d⟩ − ⟨g, J d⟩| / |⟨g, J d⟩|, with a g partly along J d, lest the product vanish by chance."""
    d = random_direction(x, seed) if direction is None else direction
    pushed = jvp(layer, x, d)[1]
    noise = random_direction(pushed, seed + 1)
    g = pushed + noise * pushed.norm() / noise.norm()
    pulled = vjp(layer, x)[1](g)
    left, right = (pulled * d).sum(), (g * pushed).sum()
    gap, size = float((left - right).detach().abs()), float(right.detach().abs())
    return gap / size if size != 0 else float(pulled.detach().norm())  # NaN stays NaN


def slope_sweep(
    layer: Layer, x: Tensor, direction: Tensor | None = None, scheme: Scheme = "central"
) -> Sweep:
    """Finite differences over many steps against J d (d²f/dt² for the second)."""
    d = random_direction(x) if direction is None else direction
    if scheme == "second":
        reference = along(layer, x, d)[1]
    else:
        reference = jvp(layer, x, d)[1]
    return sweep(layer, x, d, scheme, reference=reference)


def precision_gap(layer: Layer, x: Tensor, direction: Tensor | None = None) -> float:
    """‖J d in float32 − J d in float64‖ / ‖J d‖, of copies of the layer in both precisions."""
    d = random_direction(x) if direction is None else direction
    results = []
    for dtype in (torch.float32, torch.float64):
        twin = copy.deepcopy(layer).to(dtype)
        results.append(jvp(twin, x.to(dtype), d.to(dtype))[1])
    return relative_error(*results)


def batch_gap(layer: Layer, x: Tensor, direction: Tensor | None = None) -> float:
    """How far J d of x moves when x shares its batch with another point."""
    d = random_direction(x) if direction is None else direction
    alone = jvp(layer, x, d)[1]
    other = x + 0.01 * random_direction(x, 7)
    together = jvp(layer, torch.stack([x, other]), torch.stack([d, d]))[1]
    return relative_error(together[0], alone)


def examine(layer: Layer, x: Tensor, direction: Tensor | None = None) -> Trust:
    """All four, at x `(*input)`, of the layer in float64.

    Args:
        direction: d; by default random, of the size of each coordinate's natural step if all are alike.
    """
    layer, x = copy.deepcopy(layer).double(), x.double()
    d = random_direction(x) if direction is None else direction.double()
    with torch.no_grad():
        check_output(layer, x, layer(x))
    return Trust(
        layer.name,
        adjoint_gap(layer, x, d),
        slope_sweep(layer, x, d),
        precision_gap(layer, x, d),
        batch_gap(layer, x, d),
    )


def random_direction(like: Tensor, seed: int = 0) -> Tensor:
    """Normally distributed, the same on every machine; of the shape, type and device of `like`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
