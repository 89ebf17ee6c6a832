"""Axes with names, and names along them: what the rows and columns of a Jacobian are."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.layer import Layer, Pipeline

# One name or index, a pattern such as "mouth*", or several of them.
Choice = int | str | Iterable[int | str]

_KNOWN_LABELS: Mapping[str, tuple[str, ...]] = {
    "xy": ("x", "y"),
    "xyz": ("x", "y", "z"),
    "rgb": ("r", "g", "b"),
}


@dataclass(frozen=True)
class Axis:
    """One axis of a tensor.

    Attributes:
        name: e.g. "control" or "landmark".
        labels: one a coordinate, e.g. "jawOpen"; the index as a string where nothing better is known.
    """

    name: str
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def find(self, choice: Choice) -> list[int]:
        """Where the chosen coordinates lie, in the order in which they were asked for.

        Raises:
            ChainRigError: a name or pattern that fits no coordinate, or an index out of range.
        """
        wanted = [choice] if isinstance(choice, int | str) else list(choice)
        found: list[int] = []
        for one in wanted:
            if isinstance(one, int):
                if not -len(self) <= one < len(self):
                    raise ChainRigError(
                        f"The axis {self.name} has {len(self)} coordinates: there is no {one}."
                    )
                found.append(one % len(self))
            elif one in self.labels:
                found.append(self.labels.index(one))
            else:
                fitting = [i for i, label in enumerate(self.labels) if fnmatchcase(label, one)]
                if not fitting:
                    raise ChainRigError(f"There is no {self.name} named {one}.{self._hint(one)}")
                found.extend(fitting)
        return list(dict.fromkeys(found))

    def _hint(self, wrong: str) -> str:
        if self.labels == tuple(map(str, range(len(self)))):
            return f" They are numbered from 0 to {len(self) - 1}."
        close = difflib.get_close_matches(wrong, self.labels, n=1, cutoff=0.0)
        return f" Did you mean {close[0]}?" if close else ""

    def keep(self, indices: Sequence[int]) -> "Axis":
        """The same axis with fewer coordinates, which keep their labels."""
        return replace(self, labels=tuple(self.labels[i] for i in indices))


def sizes(axes: Iterable[Axis]) -> tuple[int, ...]:
    """The shape of a tensor with these axes."""
    return tuple(len(axis) for axis in axes)


def choose(axes: Sequence[Axis], choices: Mapping[str, Choice] | None) -> tuple[tuple[Axis, ...], Tensor]:
    """The part of a tensor that `choices` ask for, axis by axis; all of an axis that is not mentioned.

    Returns:
        The axes of the part, and `(n,)` int64 where its n entries lie in the flattened tensor.

    Raises:
        ChainRigError: there is no such axis, or no such coordinate on it.
    """
    choices = dict(choices or {})
    kept: list[Axis] = []
    flat = torch.zeros(1, dtype=torch.int64)
    for axis in axes:
        indices = axis.find(choices.pop(axis.name)) if axis.name in choices else range(len(axis))
        kept.append(axis.keep(indices))
        flat = (flat[:, None] * len(axis) + torch.tensor(list(indices), dtype=torch.int64)).flatten()
    if choices:
        known = ", ".join(axis.name for axis in axes)
        raise ChainRigError(f"There is no axis {next(iter(choices))} here: there are {known}.")
    return tuple(kept), flat


def input_axes(layer: Layer, x: Tensor) -> tuple[Axis, ...]:
    """The named axes of one X_j, for an x `(*B, *input)`.

    Raises:
        ChainRigError: x has fewer axes than the layer takes.
    """
    first = layer
    while isinstance(first, Pipeline):
        first = next(iter(first))
    return _axes(first, layer.input_axes, x, "takes")


def output_axes(layer: Layer, y: Tensor) -> tuple[Axis, ...]:
    """The named axes of one X_{j+1}, for a y `(*B, *output)`."""
    last = layer
    while isinstance(last, Pipeline):
        last = list(last)[-1]
    return _axes(last, layer.output_axes, y, "gives")


def batch_shape(layer: Layer, x: Tensor) -> tuple[int, ...]:
    """*B of an x `(*B, *input)`."""
    return tuple(x.shape[: x.ndim - len(layer.input_axes)])


def check_output(layer: Layer, x: Tensor, y: Tensor) -> None:
    """Holds the layer to its word: y is `(*B, *output)`.

    Raises:
        ChainRigError: it is not.
    """
    batch = batch_shape(layer, x)
    if y.ndim != len(batch) + len(layer.output_axes) or tuple(y.shape[: len(batch)]) != batch:
        raise ChainRigError(
            f"The layer {layer.name} turned {tuple(x.shape)} into {tuple(y.shape)}, which is not "
            f"{batch} followed by the axes {layer.output_axes}: correct its forward or its output_axes."
        )


def _axes(owner: Layer, names: Sequence[str], value: Tensor, verb: str) -> tuple[Axis, ...]:
    if value.ndim < len(names):
        raise ChainRigError(
            f"The layer {owner.name} {verb} axes {tuple(names)}, but the tensor is {tuple(value.shape)}."
        )
    known: dict[str, Sequence[str]] = dict(_KNOWN_LABELS)
    controls = getattr(owner, "controls", None)
    if controls is not None:
        known["control"] = controls.names
    known |= getattr(owner, "axis_labels", {})
    shape = value.shape[value.ndim - len(names) :]
    axes = []
    for name, size in zip(names, shape, strict=True):
        labels = tuple(known.get(name, ()))
        axes.append(Axis(name, labels if len(labels) == size else tuple(map(str, range(size)))))
    return tuple(axes)


def count(axes: Iterable[Axis]) -> int:
    """How many numbers a tensor with these axes holds."""
    return math.prod(sizes(axes))


def units(like: Tensor, batch: tuple[int, ...], indices: Tensor) -> Tensor:
    """Unit vectors `(n, *B, …)` along n entries of a tensor `(*B, …)`, the same for every item."""
    inner = like.shape[len(batch) :]
    flat = torch.zeros(len(indices), inner.numel(), dtype=like.dtype, device=like.device)
    flat = flat.scatter(1, indices[:, None], 1.0)
    return flat.reshape(len(indices), *(1 for _ in batch), *inner).expand(-1, *like.shape).contiguous()


class FunctionLayer(Layer):
    """Any function as a layer, so that everything here works on it.

    Args:
        function: `(*B, *input)` → `(*B, *output)`.
        input_axes, output_axes: names of the axes of one input and one output.
        name: what reports call it.
        axis_labels: names along the axes, e.g. `{"joint": ("head", "jaw")}`.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        input_axes: tuple[str, ...],
        output_axes: tuple[str, ...],
        name: str = "function",
        axis_labels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.function, self.name = function, name
        self.input_axes, self.output_axes = input_axes, output_axes
        self.axis_labels = dict(axis_labels or {})

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
