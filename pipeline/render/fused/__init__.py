"""Faster twins, for CPUs, of plain functions of the renderer: one compiled loop each, forward and backward.

A plain function asks `serves` and hands over to its twin. It stays the reference (a test holds the two
together) and does what the twin cannot: GPUs, forward mode, `torch.func` transforms, and derivatives of
derivatives. What finds integers only (`coverage.py`, `outlines.py`) has no derivative to lose, and is used
wherever the tensors are on a CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

_enabled = True


def serves(*tensors: Tensor) -> bool:
    """Whether a twin may be used: on a CPU, in one precision, outside of forward mode and `torch.func`."""
    return (
        _enabled
        and forward_ad._current_level < 0
        and torch._C._functorch.maybe_current_level() is None  # pyright: ignore[reportAttributeAccessIssue]
        and all(tensor.device.type == "cpu" for tensor in tensors)
        and len({tensor.dtype for tensor in tensors}) == 1
        and tensors[0].dtype in (torch.float32, torch.float64)
    )


@contextmanager
def plain() -> Iterator[None]:
    """Within, every function is the plain one: for tests and measurements."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def again(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], gradient: Tensor
) -> list[Tensor | None]:
    """The gradients of a plain function, to be differentiated again."""
    with torch.enable_grad(), plain():
        wanted = [x for x in inputs if x.requires_grad]
        found = iter(torch.autograd.grad(function(*inputs), wanted, gradient, create_graph=True))
    return [next(found) if x.requires_grad else None for x in inputs]
