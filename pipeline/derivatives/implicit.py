"""Implicit layers: derivatives of "the x that solves g(x, θ) = 0", whoever solved it.

Differentiating g(x(θ), θ) = 0 gives

    ∂g/∂x · dx = −∂g/∂θ · dθ,

one linear system at the solution. How x was found does not enter: not the iterations, not their number, not
their rounding. Unrolling a solver and differentiating its steps gives the derivative of the steps, at the
memory of all of them; it is as near to the solution's derivative as the solver came to the solution, or less.

- `solve_linear`: A c = b, by any solver.
- `solve_root`: g(x, θ) = 0, by any solver.
- `pseudo_inverse.least_squares`: c = A⁺b.

Forward and reverse mode, vmap, batches `(*B, …)`. (Blondel and others, "Efficient and Modular Implicit
Differentiation", 2022, go into the variants.)
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.layer import Layer

# A `(*B, n, n)`, b `(*B, n)` → c `(*B, n)` with A c = b. May leave torch for numpy, Fortran or a file.
LinearSolver = Callable[[Tensor, Tensor], Tensor]
# θ `(*B, …)` → x `(*B, n)` with g(x, θ) = 0. May leave torch, too.
RootSolver = Callable[[Tensor], Tensor]


def dense(A: Tensor, b: Tensor) -> Tensor:
    """LU: the solver to use when nothing speaks for another."""
    return torch.linalg.solve(A, b[..., None]).squeeze(-1)


class _Solve(torch.autograd.Function):
    """c = A⁻¹ b. Tangent: A ċ = ḃ − Ȧ c. Cotangents: Aᵀ b̄ = c̄, Ā = −b̄ cᵀ."""

    @staticmethod
    def forward(A: Tensor, b: Tensor, solver: LinearSolver) -> Tensor:
        return solver(A, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, LinearSolver], output: Tensor) -> None:
        A, _, ctx.solver = inputs
        ctx.save_for_backward(A, output)
        ctx.save_for_forward(A, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        A, c = ctx.saved_tensors
        b_bar = _Solve.apply(A.mT, grad, ctx.solver)
        return -b_bar[..., :, None] * c[..., None, :], b_bar, None

    @staticmethod
    def jvp(ctx: Any, A_dot: Tensor | None, b_dot: Tensor | None, _: None) -> Tensor:  # type: ignore[override]
        A, c = ctx.saved_tensors
        right = torch.zeros_like(c)
        if b_dot is not None:
            right = right + b_dot
        if A_dot is not None:
            right = right - (A_dot @ c[..., None]).squeeze(-1)
        return _Solve.apply(A, right, ctx.solver)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, A: Tensor, b: Tensor, solver: LinearSolver) -> tuple[Tensor, int]:
        """The vmapped axis becomes a batch axis like any other."""
        A = _lead(A, in_dims[0], info.batch_size)
        b = _lead(b, in_dims[1], info.batch_size)
        return _Solve.apply(A, b, solver), 0


def solve_linear(A: Tensor, b: Tensor, solver: LinearSolver = dense) -> Tensor:
    """c with A c = b, differentiable in A and b to every order, whatever the solver is.

    Its derivative ∂c/∂b is A⁻¹ itself; both modes call the same solver again, on A or on Aᵀ.

    Args:
        A: `(*B, n, n)`, invertible.
        b: `(*B, n)`.
        solver: of such systems; it sees plain tensors.

    Returns:
        `(*B, n)`.
    """
    batch = torch.broadcast_shapes(A.shape[:-2], b.shape[:-1])
    A, b = A.expand(*batch, *A.shape[-2:]), b.expand(*batch, b.shape[-1])
    return _Solve.apply(A, b, solver)  # type: ignore[return-value]


class _BlackBox(torch.autograd.Function):
    """Calls a solver on a plain tensor. Its result counts as a constant: the derivative is not taken here."""

    @staticmethod
    def forward(theta: Tensor, solver: RootSolver) -> Tensor:
        return solver(theta)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, RootSolver], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return torch.zeros_like(ctx.saved_tensors[0]), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(ctx.saved_tensors[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple, theta: Tensor, solver: RootSolver) -> tuple[Tensor, int]:
        return _BlackBox.apply(theta.movedim(in_dims[0], 0), solver), 0


def solve_root(
    g: Callable[[Tensor, Tensor], Tensor],
    theta: Tensor,
    solver: RootSolver,
    linear_solver: LinearSolver = dense,
    order: int = 1,
    tolerance: float | None = None,
) -> Tensor:
    """x with g(x, θ) = 0, differentiable in θ.

    The solver's x is followed by one Newton step, x − (∂g/∂x)⁻¹ g(x, θ), with x held fixed. At a root the
    step is zero, and its derivative is −(∂g/∂x)⁻¹ ∂g/∂θ: the implicit function theorem, in either mode. A
    second step makes second derivatives right as well: each step squares the error.

    Args:
        g: `(*B, n)`, θ → `(*B, n)`; items of the batch do not depend on each other. What is to be
            differentiated comes in by θ.
        theta: `(*B, …)`.
        solver: finds x; it sees a plain tensor with θ's values and may do with it what it likes.
        linear_solver: of the Newton systems.
        order: 1 or 2, the highest derivative that must be right.
        tolerance: largest |g| for which the solver's word is taken; by default √ε of the precision, times
            1 + the largest |x|.

    Returns:
        `(*B, n)`.

    Raises:
        ChainRigError: the solver's x is not a root, so that there is nothing to differentiate.
    """
    if order not in (1, 2):
        raise ChainRigError(f"An implicit layer has right derivatives to order 1 or 2, not {order}.")

    def checked(values: Tensor) -> Tensor:
        x = solver(values).to(values)
        size = float(g(x, values).abs().max()) if x.numel() else 0.0
        allowed = tolerance
        if allowed is None:
            allowed = torch.finfo(x.dtype).eps ** 0.5 * (1 + (float(x.abs().max()) if x.numel() else 0.0))
        if not size <= allowed:
            raise ChainRigError(
                f"The solver left |g| = {size:.1e}, more than {allowed:.1e}: let it iterate longer, or raise "
                "the tolerance."
            )
        return x

    x: Tensor = _BlackBox.apply(theta, checked)  # type: ignore[assignment]
    for _ in range(order):
        x = x - solve_linear(_jacobian_by_x(g, x, theta), g(x, theta), linear_solver)
    return x


def _jacobian_by_x(g: Callable[[Tensor, Tensor], Tensor], x: Tensor, theta: Tensor) -> Tensor:
    """∂g/∂x `(*B, n, n)`: one VJP a row, for all items of the batch at once.

    By rows, as torch nests reverse mode in any other, but forward mode not in its older forward mode.
    """
    pull = torch.func.vjp(lambda x: g(x, theta), x)[1]
    units = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return torch.stack([pull(unit.expand_as(x))[0] for unit in units], -2)


class ImplicitLayer(Layer):
    """θ ↦ the x that solves g(x, θ) = 0, as a layer of a chain. Arguments as for `solve_root`."""

    def __init__(
        self,
        g: Callable[[Tensor, Tensor], Tensor],
        solver: RootSolver,
        input_axes: tuple[str, ...],
        output_axes: tuple[str, ...],
        name: str = "implicit",
        linear_solver: LinearSolver = dense,
        order: int = 1,
        tolerance: float | None = None,
    ) -> None:
        super().__init__()
        self.g, self.solver, self.linear_solver = g, solver, linear_solver
        self.order, self.tolerance, self.name = order, tolerance, name
        self.input_axes, self.output_axes = input_axes, output_axes

    def forward(self, x: Tensor) -> Tensor:
        return solve_root(self.g, x, self.solver, self.linear_solver, self.order, self.tolerance)


def _lead(value: Tensor, axis: int | None, size: int) -> Tensor:
    """The vmapped axis in front; a value without one is repeated."""
    return value.expand(size, *value.shape) if axis is None else value.movedim(axis, 0)
