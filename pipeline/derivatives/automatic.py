"""Automatic differentiation: what a layer's derivative does to vectors, and its Jacobian from that.

- A JVP pushes a tangent of X forward to one of Y: J d, a combination of columns.
- A VJP pulls a cotangent of Y back to one of X: Jᵀ g, a combination of rows.

Neither builds J, and each costs a small multiple of the layer itself, whatever the sizes (Griewank and
Walther, "Evaluating Derivatives", 2008, chapter 3). J is made of columns (one JVP an input) or of rows (one
VJP an output), several at a time.

In a batch `(*B, …)` every item has its own derivative; tangents and cotangents carry the same batch axes.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from pipeline.derivatives.axes import (
    Choice,
    batch_shape,
    check_output,
    choose,
    input_axes,
    output_axes,
    units,
)
from pipeline.derivatives.jacobian import Jacobian
from pipeline.layer import Layer

Mode = Literal["columns", "rows"]
CHUNK = 16


def jvp(layer: Layer, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Y `(*B, *output)` and J d, of the same shape, for a tangent d `(*B, *input)`."""
    # With a batch axis more: torch makes float32 tangents of tensors without any axis float64.
    y, pushed = torch.func.jvp(layer, (x.contiguous()[None],), (tangent.contiguous()[None],))[:2]
    return y[0], pushed[0]


def vjp(layer: Layer, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Y `(*B, *output)`, and the function g `(*B, *output)` → Jᵀ g `(*B, *input)`."""
    y, back = torch.func.vjp(layer, x[None])[:2]
    return y[0], lambda cotangent: back(cotangent[None])[0][0]


def push(layer: Layer, x: Tensor, tangents: Tensor, chunk: int = CHUNK) -> Tensor:
    """J d for n tangents: `(n, *B, *input)` → `(n, *B, *output)`, `chunk` of them at a time."""
    return in_chunks(lambda d: jvp(layer, x, d)[1], tangents, chunk)


def pull(layer: Layer, x: Tensor, cotangents: Tensor, chunk: int = CHUNK) -> Tensor:
    """Jᵀ g for n cotangents: `(n, *B, *output)` → `(n, *B, *input)`, after one pass forward."""
    return in_chunks(vjp(layer, x)[1], cotangents, chunk)


def jacobian(
    layer: Layer,
    x: Tensor,
    mode: Mode | None = None,
    rows: Mapping[str, Choice] | None = None,
    columns: Mapping[str, Choice] | None = None,
    chunk: int = CHUNK,
) -> Jacobian:
    """∂Y/∂X at x `(*B, *input)`, or the part of it that is asked for; the rest is not computed.

    Args:
        mode: by "columns" (forward mode) or by "rows" (reverse mode); by default, whichever are fewer.
        rows, columns: what to keep, axis by axis: `columns={"control": "mouth*"}`.
        chunk: derivatives taken in one pass; memory grows with it.

    Raises:
        ChainRigError: an unknown axis or coordinate, or a layer whose output does not have its axes.
    """
    with torch.no_grad():
        y = layer(x)
    check_output(layer, x, y)
    kept_rows, m = choose(output_axes(layer, y), rows)
    kept_columns, n = choose(input_axes(layer, x), columns)
    batch, m, n = batch_shape(layer, x), m.to(x.device), n.to(x.device)
    if (mode or ("columns" if len(n) <= len(m) else "rows")) == "columns":
        parts = [  # a chunk's outputs are thinned out before the next chunk: only the part is ever held
            _flat(push(layer, x, units(x, batch, some), chunk), y.ndim - len(batch)).index_select(-1, m)
            for some in n.split(chunk)
        ]
        matrix = torch.cat(parts).movedim(0, -1)
    else:
        pull_back = vjp(layer, x)[1]
        parts = [
            _flat(in_chunks(pull_back, units(y, batch, some), chunk), x.ndim - len(batch)).index_select(-1, n)
            for some in m.split(chunk)
        ]
        matrix = torch.cat(parts).movedim(0, -2)
    return Jacobian.from_matrix(matrix, kept_rows, kept_columns)


def _flat(vectors: Tensor, axes: int) -> Tensor:
    """The last `axes` axes as one (also where there are none)."""
    outer = vectors.shape[: vectors.ndim - axes]
    return vectors.reshape(*outer, vectors.shape[vectors.ndim - axes :].numel())


def in_chunks(linear: Callable[[Tensor], Tensor], vectors: Tensor, chunk: int) -> Tensor:
    """A linear map of n vectors; one at a time where vmap cannot carry it (or chunk is 1)."""
    results: list[Tensor] = []
    together = chunk > 1
    for some in vectors.split(chunk):
        if together:
            try:
                results.append(torch.func.vmap(linear)(some))
                continue
            except (
                RuntimeError
            ):  # an operation without a vmap rule; an error of the layer's own comes again below
                together = False
        results.extend(linear(one)[None] for one in some)
    return torch.cat(results)
