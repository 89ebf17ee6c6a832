"""Layers whose whole Jacobian is known in closed form; `chain_rule` uses it in place of dozens of passes.

Another layer joins by registering a function for its class:

    @closed_jacobian.register
    def _(layer: MyLayer, x: Tensor, columns: Tensor) -> Tensor: ...
"""

from functools import singledispatch

from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.deform_jacobian import deform_jacobian
from pipeline.layer import Layer


@singledispatch
def closed_jacobian(layer: Layer, x: Tensor, columns: Tensor) -> Tensor | None:
    """∂Y/∂X at x `(*B, *input)` in closed form, or None if nobody has written it down.

    Args:
        columns: `(n,)` int64 which entries of the flattened input.

    Returns:
        `(*B, *output, n)`.
    """
    return None


def has_closed_jacobian(layer: Layer) -> bool:
    """Whether somebody has."""
    return closed_jacobian.dispatch(type(layer)) is not closed_jacobian.dispatch(Layer)


@closed_jacobian.register
def _(layer: Deformer, x: Tensor, columns: Tensor) -> Tensor:
    return deform_jacobian(layer, x, columns)
