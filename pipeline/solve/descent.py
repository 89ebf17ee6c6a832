"""Which way: what every solver shares about points and steps.

A solver is a descent (which way) and a search (how far: `line_search.py`, `trust_region.py`). The search
gives every item of the batch one number, its `size`; the descent makes a step of it: so far along a line, so
long within a radius, so weakly damped. The trial is evaluated once, the search accepts or rejects it item by
item, and chooses the next size. Line searches and trust regions are then the same loop (`solver.py`), and any
descent goes with any search that understands its sizes. The idea is optimistix's (Rader, Lyons and Kidger,
2024).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from pipeline.solve.priors import Regulariser

Needs = Literal["values", "gradient", "jacobian"]


@dataclass
class Point:
    """Where every item of a batch stands.

    Attributes:
        x: `(*B, K)`.
        residual: `(*B, M)`.
        value: `(*B,)` loss and prior.
        weighted: `(*B, M)` ρ'(r): the residuals, each times its weight.
        weight: `(*B, M)`.
        gradient: `(*B, K)` of the value, where it was asked for.
        jacobian: `(*B, M, K)` of the residuals, where it was asked for.
    """

    x: Tensor
    residual: Tensor
    value: Tensor
    weight: Tensor
    weighted: Tensor
    gradient: Tensor
    jacobian: Tensor | None = None


@dataclass
class Step:
    """What a descent proposes.

    Attributes:
        d: `(*B, K)`; x + d lies in the box.
        predicted: `(*B,)` decrease of the value according to the descent's model.
        promise: `(*B,)` what is weighed against the tolerance: the decrease that the model sees at all,
            whatever the size.
        gradient: `(*B, K)` of the value as the descent sees it.
        used: `(*B,)` how much of the size it took, where the whole would have been too much.
        slope, tangent: φ'(0) `(*B,)`, and the derivative of d by the size `(*B, K)`, for searches along a
            line.
    """

    d: Tensor
    predicted: Tensor
    promise: Tensor
    gradient: Tensor
    used: Tensor | None = None
    slope: Tensor | None = None
    tangent: Tensor | None = None


class Descent(Protocol):
    """One run of a method: it lives for one `minimize` and may keep a memory."""

    needs: Needs

    def arrive(self, here: Point, moved: Tensor) -> None:
        """The items `moved` `(*B,)` stand at new points, whose derivatives are there."""
        ...

    def first_size(self, here: Point) -> Tensor:
        """`(*B,)` to begin with."""
        ...

    def step(self, here: Point, size: Tensor) -> Step: ...

    def tried(self, here: Point, step: Step, residual: Tensor, accepted: Tensor) -> None:
        """The residual `(*B, M)` at x + d; items that were not accepted stay."""
        ...


class Memoryless:
    """A descent that forgets."""

    def arrive(self, here: Point, moved: Tensor) -> None:
        pass

    def first_size(self, here: Point) -> Tensor:
        return torch.ones_like(here.value)

    def tried(self, here: Point, step: Step, residual: Tensor, accepted: Tensor) -> None:
        pass


def along(prior: Regulariser, here: Point, direction: Tensor, size: Tensor, plain: Tensor) -> Step:
    """size · direction, cut off at the box: the projected path of Bertsekas ("Projected Newton methods for
    optimization problems with simple constraints", 1982).

    Args:
        plain: `(*B, K)` a scaled −gradient without what pushes out of the box. It is the path where
            `direction` does not lead downhill, as one with a memory may not, or once some controls are cut
            off.
    """
    gradient = here.gradient
    downhill = dot(gradient, prior.project(here.x + size[..., None] * direction) - here.x) < 0
    path = torch.where(downhill[..., None], direction, plain)
    wanted = here.x + size[..., None] * path
    d = prior.project(wanted) - here.x
    blocked = ((here.x <= prior.low) & (path < 0)) | ((here.x >= prior.high) & (path > 0))
    return Step(
        d,
        predicted=-dot(gradient, d),
        promise=-dot(gradient, prior.project(here.x + plain) - here.x),
        gradient=gradient,
        slope=dot(gradient, path.masked_fill(blocked, 0)),
        tangent=torch.where((wanted >= prior.low) & (wanted <= prior.high), path, 0),
    )


def dot(a: Tensor, b: Tensor) -> Tensor:
    """`(*B, K)`, `(*B, K)` → `(*B,)`."""
    return (a * b).sum(-1)


def length(a: Tensor) -> Tensor:
    """`(*B, K)` → `(*B,)`."""
    return a.square().sum(-1).sqrt()
