"""What is examined: a layer, the point at which, and the directions along which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from pipeline.controls import ControlSpace
from pipeline.derivatives.automatic import push
from pipeline.derivatives.axes import count, input_axes
from pipeline.derivatives.trust import random_direction
from pipeline.layer import Layer

MESH, PICTURE = ("vertex", "xyz"), ("row", "column", "rgb")
FEW = 32  # entries of an input that are examined one by one


@dataclass(frozen=True)
class Subject:
    """A layer and where it is asked.

    Attributes:
        layer: in float64.
        x: `(*input)` float64.
        directions: a few, by name, each in the natural size of a step.
        columns: many, by name, where they are cheap: the slope is examined along each.
        smoothing: how far a fit smooths its derivative on purpose; 0 if it does not.
    """

    layer: Layer
    x: Tensor
    directions: dict[str, Tensor]
    columns: dict[str, Tensor] = field(default_factory=dict)
    smoothing: float = 0.0

    @property
    def draws(self) -> bool:
        """Whether it is a renderer: its derivative is judged inside surfaces and at outlines."""
        return self.layer.input_axes == MESH and self.layer.output_axes == PICTURE

    @property
    def looks(self) -> bool:
        """Whether it takes pictures: networks have kinks, so that steps must be tiny."""
        return self.layer.input_axes == PICTURE

    @property
    def last(self) -> dict[str, Tensor]:
        """One of the directions, for questions that take long; of the groups of controls it is the pose."""
        name = list(self.directions)[-1]
        return {name: self.directions[name]}

    @cached_property
    def derivatives(self) -> dict[str, Tensor]:
        """J d of the directions, one by one."""
        return self._pushed(self.directions, 1)

    @cached_property
    def column_derivatives(self) -> dict[str, Tensor]:
        return self._pushed(self.columns, 16)

    def _pushed(self, directions: dict[str, Tensor], chunk: int) -> dict[str, Tensor]:
        if not directions:
            return {}
        pushed = push(self.layer, self.x, torch.stack(list(directions.values())), chunk)
        return dict(zip(directions, pushed, strict=True))


def control_directions(space: ControlSpace, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """For each group of controls, all of them (or of those named) at once, each by its natural step.

    Signs are random, but always the same.
    """
    signed = random_direction(space.rest).sign() * natural_steps(space)
    wanted = torch.tensor([names is None or name in names for name in space.names])
    directions = {}
    for group, place in space.groups.items():
        if wanted[place].any():
            directions[group] = torch.zeros_like(space.rest)
            directions[group][place] = signed[place] * wanted[place]
    return directions


def control_columns(space: ControlSpace, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Each control alone, by its natural step."""
    steps = natural_steps(space).diag()
    return {name: steps[space.index(name)] for name in names or space.names}


def natural_steps(space: ControlSpace) -> Tensor:
    """`(K,)` what a control does in photographs: an expression 1, a rotation 0.5 rad, a shift 5 cm."""
    steps = {"": 1.0, "rad": 0.5, "m": 0.05}
    return torch.tensor([steps[control.unit] for control in space.controls], dtype=torch.float64)


def entry_directions(layer: Layer, x: Tensor) -> dict[str, Tensor]:
    """For a layer of which only the axes are known: each coordinate of a short last axis, and all at once.

    They are random, and as large as the entries are spread about their mean.
    """
    centred = x - x.mean(tuple(range(x.ndim - 1)), keepdim=True) if x.ndim > 1 else x
    size = float(centred.square().mean().sqrt())
    d = random_direction(x) * (size if size > 0 else 1.0)
    axes = input_axes(layer, x)
    directions = {}
    if axes and 1 < len(axes[-1]) <= FEW:
        for k, label in enumerate(axes[-1].labels):
            only = torch.zeros_like(d)
            only[..., k] = d[..., k]
            directions[f"{axes[-1].name} {label}"] = only
    return directions | {"all at once": d}


def own_subject(layer: Layer, x: Tensor) -> Subject:
    """A layer at an input of its own, both in float64."""
    space = getattr(layer, "controls", None)
    if isinstance(space, ControlSpace) and layer.input_axes == ("control",):
        return Subject(layer, x, control_directions(space), control_columns(space))
    directions = entry_directions(layer, x)
    small = count(input_axes(layer, x)) <= FEW and x.ndim == 1
    return Subject(layer, x, directions, directions if small else {})
