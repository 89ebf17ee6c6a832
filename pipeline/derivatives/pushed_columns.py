"""What every control does at every station: ∂X2/∂X1, ∂X3/∂X1, … in one pass forward.

The columns of ∂X_{j+1}/∂X1 are those of ∂X_j/∂X1, pushed through layer j: on the way to the landmarks, the
vertices and the pixels come for nothing.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipeline.derivatives.automatic import CHUNK
from pipeline.derivatives.axes import (
    Choice,
    batch_shape,
    check_output,
    choose,
    input_axes,
    output_axes,
    sizes,
    units,
)
from pipeline.derivatives.closed_layers import closed_jacobian
from pipeline.derivatives.jacobian import Jacobian
from pipeline.derivatives.linearize import push_columns
from pipeline.layer import Pipeline


@torch.no_grad()
def pushed_columns(
    chain: Pipeline,
    x: Tensor,
    columns: Mapping[str, Choice] | None = None,
    chunk: int = CHUNK,
    on_layer: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Jacobian]:
    """∂X_j/∂X1 for the stations j = 2 … n + 1, at x = X1 `(*B, *input)`.

    All of them are held at once: n columns of pictures of 256 × 256 take n × 0.8 MB in float32.

    Args:
        columns: the part of X1 that is wanted, as in `automatic.jacobian`.
        chunk: columns pushed in one pass; memory grows with it.
        on_layer: called with a layer's name before anything is pushed through it.
        on_progress: called with how many of the pushes (of a column through a layer) are done, and how many
            there are.

    Returns:
        One Jacobian for each layer; its values are views of memory in which the columns come first.

    Raises:
        ChainRigError: an unknown axis or coordinate, or a layer whose output does not have its axes.
    """
    batch = batch_shape(chain, x)
    kept, indices = choose(input_axes(chain, x), columns)
    n, layers = indices.to(x.device), list(chain)
    found: list[Jacobian] = []
    vectors = units(x, batch, n)  # [n, *B, *X_j]
    for number, layer in enumerate(layers):
        if on_layer is not None:
            on_layer(layer.name)

        def report(done: int, before: int = number) -> None:
            if on_progress is not None:
                on_progress(before * len(n) + done, len(layers) * len(n))

        closed = closed_jacobian(layer, x, n) if number == 0 else None
        if closed is None:
            vectors = push_columns(layer, x, vectors, chunk, report)
        else:
            vectors = closed.movedim(-1, 0).contiguous()
            report(len(n))
        y = layer(x)
        check_output(layer, x, y)
        values = vectors.movedim(0, -1).unflatten(-1, sizes(kept))
        found.append(Jacobian(values, output_axes(layer, y), kept))
        x = y
    return found
