"""The equilibrium as a differentiable function of what drives it: an implicit layer with a sparse Hessian.

g(x(θ), θ) = 0 gives, with the Hessian H = ∂g/∂x of the energy at the equilibrium,

    forward:  H ẋ = −(∂g/∂θ) θ̇,          reverse:  θ̄ = −(∂g/∂θ)ᵀ λ,  H λ = x̄:

one sparse solve each way; H is symmetric, so that one factor serves both. Newton's iterations, its projected
Hessians, its line searches and where it started are not differentiated: see
`pipeline/derivatives/implicit.py`, which does the same with dense matrices.

H is the true Hessian, not the projected one: the projection is a means to descend, not part of ∂g/∂x.

The formulas hold at a solution; at an x that is off by e the derivative is off by O(e). So where x was solved
for loosely, the derivative is taken one Newton step further, at x − H⁻¹g: that is O(e²).
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.quasistatic.flesh import Drive, imbalance
from pipeline.deform.quasistatic.solver import EquilibriumSolver, drive_of, flat


def equilibrium(drive: Drive, guess: Tensor, solver: EquilibriumSolver) -> Tensor:
    """Where the free nodes come to rest, with the derivative of the equilibrium by all of `drive`.

    Args:
        drive: float64 on the CPU; the batch axes of all its tensors are the same.
        guess: (*B, free, 3), from where the solver sets out; without influence on the derivative.
        solver: of the flesh.

    Returns:
        (*B, free, 3) metres.

    Raises:
        ChainRigError: there is no equilibrium within reach.
    """
    values = flat(drive)
    x, nearer = (found.detach() for found in _Solution.apply(guess, solver, *values))  # type: ignore[union-attr]
    g = imbalance(nearer, drive, solver.flesh)
    return x + _Implicit.apply(g, nearer, solver, *values)  # type: ignore[operator]


class _Solution(torch.autograd.Function):
    """Calls the solver: what it finds, and where to differentiate. Their derivative is `_Implicit`'s."""

    @staticmethod
    def forward(guess: Tensor, solver: EquilibriumSolver, *values: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for start, *arrays in _items(guess, *values, trailing=(2, *_AXES)):
            drive = drive_of(arrays)
            x = solver.solve(drive, start)
            found.append((x, solver.refined(x, drive)))
        x, nearer = (torch.from_numpy(np.stack(each)) for each in zip(*found, strict=True))
        return x.reshape(guess.shape), nearer.reshape(guess.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.count = len(inputs)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:  # type: ignore[override]
        return (None,) * ctx.count

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:  # type: ignore[override]
        return tuple(map(torch.zeros_like, ctx.saved_tensors))

    @staticmethod
    def vmap(info: Any, in_dims: tuple, guess: Tensor, solver: Any, *values: Tensor) -> tuple:
        guess, *values = _lead((guess, *values), (in_dims[0], *in_dims[2:]), info.batch_size)  # type: ignore
        return _Solution.apply(guess, solver, *values), (0, 0)


class _Implicit(torch.autograd.Function):
    """Zero, with the derivative −H⁻¹ by g: what the equilibrium does when the balance of forces moves."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, solver: EquilibriumSolver, *values: Tensor) -> Tensor:
        return torch.zeros_like(g)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, x, ctx.solver, *values = inputs
        ctx.save_for_backward(x, *values)
        ctx.save_for_forward(x, *values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:  # type: ignore[override]
        x, *values = ctx.saved_tensors
        return -_Inverse.apply(grad, x, ctx.solver, *values), *(None,) * (2 + len(values))  # type: ignore

    @staticmethod
    def jvp(ctx: Any, g: Tensor, *others: Tensor | None) -> Tensor:  # type: ignore[override]
        x, *values = ctx.saved_tensors
        return -_Inverse.apply(g, x, ctx.solver, *values)  # type: ignore[operator]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, g: Tensor, x: Tensor, solver: Any, *values: Tensor) -> tuple:
        tensors = _lead((g, x, *values), (*in_dims[:2], *in_dims[3:]), info.batch_size)
        return _Implicit.apply(tensors[0], tensors[1], solver, *tensors[2:]), 0


class _Inverse(torch.autograd.Function):
    """H⁻¹ b, linear in b. H itself counts as constant: second derivatives are not right."""

    @staticmethod
    def forward(b: Tensor, x: Tensor, solver: EquilibriumSolver, *values: Tensor) -> Tensor:
        items = list(_items(x, *values, trailing=(2, *_AXES)))
        right = b.detach().numpy().reshape(-1, len(items), *x.shape[-2:])
        columns = [
            solver.solve_linear(right[:, i], there, drive_of(arrays))
            for i, (there, *arrays) in enumerate(items)
        ]
        return torch.from_numpy(np.stack(columns, 1)).reshape(b.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _Implicit.setup_context(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:  # type: ignore[override]
        x, *values = ctx.saved_tensors
        return _Inverse.apply(grad, x, ctx.solver, *values), *(None,) * (2 + len(values))  # type: ignore

    @staticmethod
    def jvp(ctx: Any, b: Tensor, *others: Tensor | None) -> Tensor:  # type: ignore[override]
        x, *values = ctx.saved_tensors
        return _Inverse.apply(b, x, ctx.solver, *values)  # type: ignore[return-value]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, b: Tensor, x: Tensor, solver: Any, *values: Tensor) -> tuple:
        """Many right-hand sides of one Hessian share its factor."""
        where = (*in_dims[1:2], *in_dims[3:])
        if all(axis is None for axis in where):
            return _Inverse.apply(b.movedim(in_dims[0], 0), x, solver, *values), 0
        b, x, *others = _lead((b, x, *values), (in_dims[0], *where), info.batch_size)
        return _Inverse.apply(b, x, solver, *others), 0


_AXES = (2, 2, 2, 1, 2, 1, 1, 2, 1, 2, 1)  # of the arrays of `flat`, behind the batch


def _items(*tensors: Tensor, trailing: tuple[int, ...]) -> Any:
    """The items of the batch, as numpy arrays."""
    count = math.prod(tensors[0].shape[: -trailing[0]])
    return zip(
        *(
            tensor.detach().numpy().reshape(count, *tensor.shape[tensor.ndim - axes :])
            for tensor, axes in zip(tensors, trailing, strict=True)
        ),
        strict=True,
    )


def _lead(tensors: tuple[Tensor, ...], in_dims: tuple, size: int) -> list[Tensor]:
    """The vmapped axis in front; a tensor without one is repeated."""
    pairs = zip(tensors, in_dims, strict=True)
    return [t.expand(size, *t.shape) if axis is None else t.movedim(axis, 0) for t, axis in pairs]
