"""`torch.func.vmap` over a function that takes batches anyway: the batch is handed to it as one.

What a renderer computes depends on how many samples see something, so it cannot be vectorised operation by
operation.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

_functorch = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]


def is_batched(x: Tensor) -> bool:
    """Whether some `vmap` around us maps over this tensor."""
    while _functorch.is_functorch_wrapped_tensor(x):
        if _functorch.is_batchedtensor(x):
            return True
        x = _functorch.get_unwrapped(x)
    return False


def is_differentiated(x: Tensor) -> bool:
    """Whether somebody wants derivatives by this tensor, in either mode."""
    return (
        x.requires_grad
        or _functorch.is_functorch_wrapped_tensor(x)
        or forward_ad.unpack_dual(x)[1] is not None
    )


class Batched(torch.autograd.Function):
    """`Batched.apply(function, x)` is function(x), for a function of leading batch dimensions `(*B, …)`."""

    generate_vmap_rule = False

    @staticmethod
    def forward(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return function(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.function, x = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple, function: Callable[[Tensor], Tensor], x: Tensor
    ) -> tuple[Tensor, int]:
        return Batched.apply(function, x.movedim(in_dims[1], 0)), 0

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _Vjp.apply(ctx.function, *ctx.saved_tensors, gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Tensor:
        return _Jvp.apply(ctx.function, *ctx.saved_tensors, tangent)


class _Derivative(torch.autograd.Function):
    """Of `Batched`: itself not differentiable."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @classmethod
    def mapped(
        cls, info: Any, in_dims: tuple, function: Callable, x: Tensor, other: Tensor
    ) -> tuple[Tensor, int]:
        x, other = (
            t.repeat(info.batch_size, *[1] * t.dim()) if dim is None else t.movedim(dim, 0)
            for t, dim in zip((x, other), in_dims[1:], strict=True)
        )
        return cls.apply(function, x, other), 0


class _Vjp(_Derivative):
    @staticmethod
    def forward(function: Callable, x: Tensor, gradient: Tensor) -> Tensor:
        return torch.func.vjp(function, x)[1](gradient)[0]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _Vjp.mapped(info, in_dims, *inputs)


class _Jvp(_Derivative):
    @staticmethod
    def forward(function: Callable, x: Tensor, tangent: Tensor) -> Tensor:
        return torch.func.jvp(function, (x,), (tangent,))[1]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple[Tensor, int]:
        return _Jvp.mapped(info, in_dims, *inputs)
