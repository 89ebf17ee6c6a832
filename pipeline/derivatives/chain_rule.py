"""The chain rule as a product, ∂X_n/∂X_1 = ∂X_n/∂X_{n−1} · … · ∂X_2/∂X_1, in the cheapest order.

The product is associative, its cost is not. A dense factor can be extended by pushing its columns through
the next layer (a JVP each), by pulling its rows through the layer before (a VJP each), or by multiplying it
with another dense factor; which is cheapest depends on the sizes at every station. Pixels are many and
controls are few, so ∂pixels/∂vertices is never needed: its products with few vectors are.

`plan` finds the cheapest bracketing by dynamic programming over the segments of the chain, as for products of
matrices, but with JVPs and VJPs as the elementary products (Naumann, "Matrix-Free Jacobian Chaining", 2024).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pipeline.derivatives import automatic
from pipeline.derivatives.automatic import CHUNK, pull
from pipeline.derivatives.axes import Choice, batch_shape, choose, input_axes, output_axes
from pipeline.derivatives.closed_layers import closed_jacobian, has_closed_jacobian
from pipeline.derivatives.jacobian import Jacobian
from pipeline.derivatives.linearize import has_linearization, push_columns
from pipeline.errors import ChainRigError
from pipeline.layer import Layer, Pipeline

How = Literal["closed form", "columns", "rows", "push", "pull", "product"]
LARGEST = 2**27  # numbers in one dense factor: half a gigabyte in float32


@dataclass(frozen=True)
class LayerCost:
    """What a layer takes, in any one unit.

    Attributes:
        forward: one evaluation.
        jvp, vjp: one derivative along a vector, in a chunk of several.
        closed: its whole dense Jacobian in closed form, where that is known.
    """

    forward: float
    jvp: float
    vjp: float
    closed: float | None = None


@dataclass(frozen=True)
class Plan:
    """How the dense Jacobian of layers `first` … `last − 1` is made.

    Attributes:
        how: "closed form", "columns" or "rows" of a single layer; "push": the columns of `inner` through the
            layers after it; "pull": the rows of `outer` through the layers before it; "product" of the two.
        cost: of all of it, in the unit of the layers' costs.
        inner, outer: the dense factors it is made from.
    """

    first: int
    last: int
    how: How
    cost: float
    inner: "Plan | None" = None
    outer: "Plan | None" = None

    def steps(self, names: Sequence[str]) -> list[str]:
        """In words, in the order of execution."""
        before = [step for part in (self.inner, self.outer) if part for step in part.steps(names)]
        if self.inner and self.outer:
            first, middle, last = (f"X{k + 1}" for k in (self.first, self.inner.last, self.last))
            return [*before, f"multiply ∂{last}/∂{middle} · ∂{middle}/∂{first}"]
        if self.inner:
            return [
                *before,
                *(f"push the columns through {name}" for name in names[self.inner.last : self.last]),
            ]
        if self.outer:
            through = reversed(names[self.first : self.outer.first])
            return [*before, *(f"pull the rows through {name}" for name in through)]
        return [f"{names[self.first]}: {'by ' if self.how != 'closed form' else 'in '}{self.how}"]


def plan(
    sizes: Sequence[int], costs: Sequence[LayerCost], largest: int = LARGEST, multiply: float = 0.0
) -> Plan:
    """The cheapest way to the chain's Jacobian.

    Args:
        sizes: how many numbers there are at each station X_1 … X_{n+1}.
        costs: of each of the n layers.
        largest: no factor may hold more numbers than this.
        multiply: cost of one multiplication inside a product of two dense factors.

    Raises:
        ChainRigError: the Jacobian itself is larger than `largest`.
    """
    n = len(costs)
    best: dict[tuple[int, int], Plan] = {}
    for length in range(1, n + 1):
        for a in range(n - length + 1):
            b = a + length
            if sizes[a] * sizes[b] > largest:
                continue
            options: list[Plan] = []
            if length == 1:
                if (closed := costs[a].closed) is not None:
                    options.append(Plan(a, b, "closed form", closed))
                options.append(Plan(a, b, "columns", sizes[a] * costs[a].jvp))
                options.append(Plan(a, b, "rows", costs[a].forward + sizes[b] * costs[a].vjp))
            for k in range(a + 1, b):
                inner, outer = best.get((a, k)), best.get((k, b))
                if inner is not None:
                    pushed = sizes[a] * sum(cost.jvp for cost in costs[k:b])
                    options.append(Plan(a, b, "push", inner.cost + pushed, inner))
                if outer is not None:
                    pulled = sum(cost.forward + sizes[b] * cost.vjp for cost in costs[a:k])
                    options.append(Plan(a, b, "pull", outer.cost + pulled, None, outer))
                if inner is not None and outer is not None:
                    product = multiply * sizes[b] * sizes[k] * sizes[a]
                    options.append(Plan(a, b, "product", inner.cost + outer.cost + product, inner, outer))
            if options:
                best[a, b] = min(options, key=lambda option: option.cost)
    if (0, n) not in best:
        raise ChainRigError(
            f"The Jacobian has {sizes[-1]} × {sizes[0]} entries, more than {largest}: "
            "ask for fewer rows or columns."
        )
    return best[0, n]


@dataclass(frozen=True)
class ChainJacobian:
    """∂X_n/∂X_1 and how it was made.

    Attributes:
        jacobian: with the axes of both ends.
        plan: the order of the products.
        names: the layers'.
        predicted: cost of the plan in plain evaluations of the chain.
        seconds: processor time of every step, as it was.
        forward_seconds: of one plain evaluation.
    """

    jacobian: Jacobian
    plan: Plan
    names: tuple[str, ...]
    predicted: float
    seconds: float
    forward_seconds: float
    stations: list[Tensor] = field(repr=False)

    @property
    def evaluations(self) -> float:
        """What it took, in plain evaluations of the chain."""
        return self.seconds / self.forward_seconds

    def summary(self) -> str:
        """The order and its cost, in one sentence."""
        order = "; ".join(self.plan.steps(self.names))
        return (
            f"{order}: {self.seconds:.2f} s, as long as {self.evaluations:.0f} evaluations of the chain "
            f"({self.predicted:.0f} expected)."
        )


def chain_jacobian(
    chain: Pipeline,
    x: Tensor,
    rows: Mapping[str, Choice] | None = None,
    columns: Mapping[str, Choice] | None = None,
    costs: Sequence[LayerCost] | None = None,
    chunk: int = CHUNK,
    largest: int = LARGEST,
    on_layer: Callable[[str], None] | None = None,
) -> ChainJacobian:
    """∂X_n/∂X_1 as a product of the layers' Jacobians in the cheapest order.

    Args:
        x: `(*B, *input)`.
        rows, columns: the part that is wanted, as in `automatic.jacobian`.
        costs: of each layer; by default a forward pass of each is timed and `expected_costs` does the rest.
        on_layer: called with a step's words before it is taken.
    """
    layers = list(chain)
    stations, seconds = _timed_stations(layers, x)
    batch = batch_shape(chain, x)
    kept_columns, n = choose(input_axes(chain, x), columns)
    kept_rows, m = choose(output_axes(chain, stations[-1]), rows)
    items = max(1, torch.Size(batch).numel())
    sizes = [len(n), *(station.numel() // items for station in stations[1:-1]), len(m)]
    costs = expected_costs(layers, seconds, len(n)) if costs is None else costs
    order = plan(sizes, costs, largest // items)
    work = _Work(layers, stations, batch, rows, columns, n.to(x.device), m.to(x.device), chunk, on_layer)
    start = time.process_time()
    with torch.no_grad():
        matrix = work.run(order)
    taken = time.process_time() - start
    total = sum(cost.forward for cost in costs)
    return ChainJacobian(
        Jacobian.from_matrix(matrix, kept_rows, kept_columns),
        order,
        tuple(layer.name for layer in layers),
        order.cost / total,
        taken,
        max(sum(seconds), 1e-9),
        stations,
    )


def expected_costs(layers: Sequence[Layer], seconds: Sequence[float], columns: int) -> list[LayerCost]:
    """Costs of layers from the time of their forward passes.

    A JVP in a chunk takes about 1.5 evaluations, a VJP about 2; a closed form a fifth of the JVPs it saves. A
    linearization takes 6 once, and a quarter for each column.
    """
    return [
        LayerCost(
            s,
            (6 / columns + 0.25 if has_linearization(layer) else 1.5) * s,
            2 * s,
            0.3 * s * columns if has_closed_jacobian(layer) else None,
        )
        for layer, s in zip(layers, seconds, strict=True)
    ]


def measure_costs(chain: Pipeline, x: Tensor, chunk: int = CHUNK) -> list[LayerCost]:
    """Costs of layers from one chunk of JVPs and one of VJPs each: for reports, as it takes a while."""
    layers = list(chain)
    stations, seconds = _timed_stations(layers, x)
    costs = []
    for layer, before, after, forward in zip(layers, stations, stations[1:], seconds, strict=False):
        ones = torch.ones(chunk, *before.shape, dtype=x.dtype, device=x.device)
        twos = torch.ones(chunk, *after.shape, dtype=x.dtype, device=x.device)
        jvp = min(_seconds(lambda f=layer, a=before, d=ones: push_columns(f, a, d, chunk)) for _ in range(2))
        vjp = min(_seconds(lambda f=layer, a=before, g=twos: pull(f, a, g, chunk)) for _ in range(2))
        costs.append(LayerCost(forward, jvp / chunk, vjp / chunk))
    return costs


@dataclass
class _Work:
    """Carries out a plan; every factor is a matrix `(*B, M, N)`."""

    layers: list[Layer]
    stations: list[Tensor]
    batch: tuple[int, ...]
    rows: Mapping[str, Choice] | None
    columns: Mapping[str, Choice] | None
    n: Tensor
    m: Tensor
    chunk: int
    on_layer: Callable[[str], None] | None

    def run(self, step: Plan) -> Tensor:
        if step.how == "product":
            assert step.inner is not None and step.outer is not None
            inner, outer = self.run(step.inner), self.run(step.outer)
            self._say(step)
            return outer @ inner
        if step.inner is not None:
            return self._push(step, step.inner)
        if step.outer is not None:
            return self._pull(step, step.outer)
        self._say(step)
        layer, x = self.layers[step.first], self.stations[step.first]
        is_first, is_last = step.first == 0, step.last == len(self.layers)
        if step.how == "closed form":
            every = torch.arange(x.numel() // max(1, torch.Size(self.batch).numel()), device=x.device)
            values = closed_jacobian(layer, x, self.n if is_first else every)
            assert values is not None
            matrix = values.flatten(len(self.batch), -2)
            return matrix.index_select(-2, self.m) if is_last else matrix
        rows, columns = self.rows if is_last else None, self.columns if is_first else None
        mode = "columns" if step.how == "columns" else "rows"
        return automatic.jacobian(layer, x, mode, rows, columns, self.chunk).matrix

    def _push(self, step: Plan, inner: Plan) -> Tensor:
        vectors = self._as_vectors(self.run(inner).mT, self.stations[inner.last])
        for k in range(inner.last, step.last):
            self._say_words(f"push the columns through {self.layers[k].name}")
            vectors = push_columns(self.layers[k], self.stations[k], vectors, self.chunk)
        matrix = vectors.flatten(1 + len(self.batch)).movedim(0, -1)
        return matrix.index_select(-2, self.m) if step.last == len(self.layers) else matrix

    def _pull(self, step: Plan, outer: Plan) -> Tensor:
        vectors = self._as_vectors(self.run(outer), self.stations[outer.first])
        for k in reversed(range(step.first, outer.first)):
            self._say_words(f"pull the rows through {self.layers[k].name}")
            vectors = pull(self.layers[k], self.stations[k], vectors, self.chunk)
        matrix = vectors.flatten(1 + len(self.batch)).movedim(0, -2)
        return matrix.index_select(-1, self.n) if step.first == 0 else matrix

    def _as_vectors(self, matrix: Tensor, like: Tensor) -> Tensor:
        """Rows of `(*B, n, size)` as `(n, *B, …)` of the shape of a station."""
        return matrix.movedim(-2, 0).reshape(matrix.shape[-2], *like.shape)

    def _say(self, step: Plan) -> None:
        self._say_words(step.steps([layer.name for layer in self.layers])[-1])

    def _say_words(self, words: str) -> None:
        if self.on_layer is not None:
            self.on_layer(words)


def _timed_stations(layers: Sequence[Layer], x: Tensor) -> tuple[list[Tensor], list[float]]:
    stations, seconds = [x.detach()], []
    with torch.no_grad():
        for layer in layers:
            taken = []
            y = layer(stations[-1])  # once for what is compiled or cached
            for _ in range(2):
                start = time.process_time()
                y = layer(stations[-1])
                taken.append(time.process_time() - start)
            stations.append(y)
            seconds.append(max(min(taken), 1e-6))
    return stations, seconds


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return max(time.process_time() - start, 1e-6)
