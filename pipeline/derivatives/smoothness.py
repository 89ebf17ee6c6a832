"""What smoothness is missing: how much of a change a derivative does not explain.

Along a line x + t d, the fundamental theorem of calculus says of a smooth layer

    f(x + L d) − f(x) = ∫ f′ dt    and    f′(x + L d) − f′(x) = ∫ f″ dt.

Where f jumps, its derivative knows nothing of the jump, and the first fails; where f has kinks, the first
holds and the second fails: the slope changes, but only at points that the second derivative never sees. So
the part of the change that the integral leaves unexplained says which derivative there is to rely on over a
step of length L. (Of a network of rectifiers f″ = 0 wherever it exists; yet its slope changes all the time.)
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.derivatives.automatic import jvp
from pipeline.derivatives.second_order import along
from pipeline.layer import Layer


@dataclass(frozen=True)
class Smoothness:
    """How a layer behaves along one segment.

    Attributes:
        length: L.
        first: relative part of the change of value that the first derivative does not explain.
        second: relative part of the change of slope that the second derivative does not explain.
        intervals: the integrals' resolution.
    """

    length: float
    first: float
    second: float
    intervals: int

    @property
    def verdict(self) -> str:
        """In words; 5 % is the line, well above the integrals' own error on what is smooth."""
        if not self.first < 0.05:
            return "values change in ways that the derivative does not see: jumps, or a wrong derivative"
        if not self.second < 0.05:
            return (
                "continuous with kinks: first derivatives hold, second derivatives miss the change of slope"
            )
        return "smooth: first and second derivatives hold"


def smoothness(
    layer: Layer, x: Tensor, direction: Tensor, length: float = 1.0, intervals: int = 32
) -> Smoothness:
    """Integrates a layer's derivatives along a segment: Gauss–Legendre, two points an interval.

    Args:
        x, direction: `(*B, *input)`.
        length: L > 0, in multiples of the direction: a step that a solver would take.
        intervals: the more, the finer the kinks that are told from bends.
    """
    offset = 0.5 / math.sqrt(3)
    points = [(i + 0.5 + side * offset) / intervals * length for i in range(intervals) for side in (-1, 1)]
    weight = length / len(points)
    slope_sum: Tensor | None = None
    bend_sum: Tensor | None = None
    for t in points:
        slope, bend = along(layer, x + t * direction, direction)
        slope_sum = slope if slope_sum is None else slope_sum + slope
        bend_sum = bend if bend_sum is None else bend_sum + bend
    assert slope_sum is not None and bend_sum is not None
    start, start_slope = jvp(layer, x, direction)
    end, end_slope = jvp(layer, x + length * direction, direction)
    size = float(torch.maximum(start_slope.detach().norm(), end_slope.detach().norm()))
    return Smoothness(
        length,
        _unexplained(end - start, weight * slope_sum, 0.0),
        # A slope that stays within roundoff of itself leaves nothing to explain.
        _unexplained(end_slope - start_slope, weight * bend_sum, 1e3 * torch.finfo(x.dtype).eps * size),
        intervals,
    )


def _unexplained(change: Tensor, integral: Tensor, negligible: float) -> float:
    change, integral = change.detach(), integral.detach()
    size = float(torch.maximum(change.norm(), integral.norm()))
    return float((change - integral).norm()) / size if size > negligible else 0.0
