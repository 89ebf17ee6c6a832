"""Implicit layers: the derivative of a solution, whoever found it, and how unrolling compares."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pipeline.derivatives.automatic import jacobian
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.implicit import ImplicitLayer, dense, solve_linear, solve_root
from pipeline.derivatives.trust import adjoint_gap
from pipeline.errors import ChainRigError
from pipeline.layer import Pipeline

D = torch.float64


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def by_numpy(A: Tensor, b: Tensor) -> Tensor:
    """A black box: torch sees nothing of it."""
    return torch.from_numpy(np.linalg.solve(A.numpy(), b.numpy()[..., None])[..., 0])


def conjugate_gradients(A: Tensor, b: Tensor, iterations: int) -> Tensor:
    """Hestenes and Stiefel's method for symmetric positive definite A `(n, n)`, in plain torch."""
    c = torch.zeros_like(b)
    r = p = b
    for _ in range(iterations):
        Ap = A @ p
        step = (r @ r) / (p @ Ap)
        c, after = c + step * p, r - step * Ap
        p = after + (after @ after) / (r @ r) * p
        r = after
    return c


@pytest.mark.parametrize("solver", [dense, by_numpy])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_linear_systems_in_both_modes_and_to_second_order(solver: Any, batch: tuple[int, ...]) -> None:
    A = (some(*batch, 3, 3) + 3 * torch.eye(3, dtype=D)).requires_grad_()
    b = some(*batch, 3, seed=1).requires_grad_()

    def solve(A: Tensor, b: Tensor) -> Tensor:
        return solve_linear(A, b, solver)

    torch.testing.assert_close((A @ solve(A, b)[..., None]).squeeze(-1), b)
    assert gradcheck(solve, (A, b), check_forward_ad=True)
    assert gradgradcheck(solve, (A, b))


def test_one_matrix_serves_a_batch_of_right_hand_sides() -> None:
    A, b = some(3, 3).requires_grad_(), some(4, 3, seed=1).requires_grad_()
    assert gradcheck(solve_linear, (A, b), check_forward_ad=True)


def test_the_derivative_by_the_right_hand_side_is_the_inverse() -> None:
    A = some(5, 5)
    layer = FunctionLayer(lambda b: solve_linear(A, b, by_numpy), ("b",), ("c",))
    for mode in ("columns", "rows"):
        torch.testing.assert_close(jacobian(layer, some(5), mode).matrix, A.inverse())


def test_a_singular_system_is_an_error_not_a_number() -> None:
    with pytest.raises(RuntimeError, match="singular"):
        solve_linear(torch.zeros(2, 2, dtype=D), torch.ones(2, dtype=D))


def test_an_iterative_solver_stopped_early_is_differentiated_right_but_its_unrolling_is_not() -> None:
    """The lecture's case: c from A c = b by CG. The implicit derivative is as exact as the adjoint solve; the
    unrolled one is the derivative of 12 steps."""
    basis = torch.linalg.qr(some(20, 20)).Q
    A = basis @ torch.logspace(0, 3, 20, dtype=D).diag() @ basis.mT  # condition 1000
    b = some(20, seed=1)

    def cotangent(c: Tensor) -> Tensor:
        return c @ some(20, seed=2)

    exact = torch.linalg.solve(A, some(20, seed=2))
    unrolled = torch.func.grad(lambda b: cotangent(conjugate_gradients(A, b, 12)))(b)
    solved = torch.func.grad(
        lambda b: cotangent(solve_linear(A, b, lambda A, b: conjugate_gradients(A, b, 60)))
    )(b)
    assert (solved - exact).norm() < 1e-9 * exact.norm()
    assert (unrolled - exact).norm() > 0.1 * exact.norm()


def cubic(x: Tensor, theta: Tensor) -> Tensor:
    """x³ + x = θ: one real root, dx/dθ = 1/(3x² + 1)."""
    return x**3 + x - theta


def by_bisection(theta: Tensor) -> Tensor:
    """Numpy, without a derivative in sight."""
    target = theta.numpy()
    low, high = np.full_like(target, -10), np.full_like(target, 10)
    for _ in range(80):
        middle = (low + high) / 2
        above = middle**3 + middle > target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return torch.from_numpy((low + high) / 2)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_roots_by_bisection_have_the_derivative_of_the_theorem(
    batch: tuple[int, ...],
) -> None:
    theta = some(*batch, 4)
    layer = ImplicitLayer(cubic, by_bisection, ("theta",), ("x",))
    x = layer(theta)
    torch.testing.assert_close(cubic(x, theta), torch.zeros_like(x), atol=1e-12, rtol=0)
    for mode in ("columns", "rows"):
        torch.testing.assert_close(jacobian(layer, theta, mode).matrix, (1 / (3 * x**2 + 1)).diag_embed())
    assert gradcheck(layer, theta.requires_grad_(), check_forward_ad=True)


def test_second_derivatives_are_right_when_asked_for() -> None:
    theta = some(3).requires_grad_()
    assert gradgradcheck(lambda t: solve_root(cubic, t, by_bisection, order=2), theta)
    x = by_bisection(theta.detach())
    for order, right in ((1, False), (2, True)):
        H = torch.func.hessian(lambda t, o=order: solve_root(cubic, t, by_bisection, order=o).sum())(
            theta.detach()
        )
        assert torch.allclose(H.diagonal(), -6 * x / (3 * x**2 + 1) ** 3) == right


def test_coupled_unknowns_with_parameters_of_another_size() -> None:
    """Where a circle of radius θ₀ meets a line of slope θ₁: two unknowns, two equations."""

    def g(x: Tensor, theta: Tensor) -> Tensor:
        radius, slope = theta[..., 0], theta[..., 1]
        return torch.stack([x.square().sum(-1) - radius.square(), x[..., 1] - slope * x[..., 0]], -1)

    def solver(theta: Tensor) -> Tensor:
        across = theta[..., 0] / (1 + theta[..., 1] ** 2).sqrt()
        return torch.stack([across, theta[..., 1] * across], -1)

    layer = ImplicitLayer(g, solver, ("parameter",), ("xy",))
    theta = torch.tensor([[2.0, 0.5], [1.0, -3.0]], dtype=D)
    by_formula = FunctionLayer(solver, ("parameter",), ("xy",))
    torch.testing.assert_close(jacobian(layer, theta).values, jacobian(by_formula, theta).values)
    assert adjoint_gap(layer, theta) < 1e-9


def test_an_implicit_layer_in_a_chain_and_in_float32() -> None:
    double = FunctionLayer(lambda x: 2 * x, ("x",), ("y",))
    chain = Pipeline([ImplicitLayer(cubic, by_bisection, ("theta",), ("x",)), double])
    theta = some(4).float()
    x = by_bisection(theta)
    J = jacobian(chain, theta).matrix
    assert J.dtype == torch.float32
    torch.testing.assert_close(J, (2 / (3 * x**2 + 1)).diag(), atol=1e-6, rtol=1e-5)


def test_what_is_not_a_root_is_not_differentiated() -> None:
    with pytest.raises(ChainRigError, match="solver left .g. = .* iterate longer"):
        solve_root(cubic, some(3), lambda theta: theta + 1)
    with pytest.raises(ChainRigError, match="solver left"):
        solve_root(cubic, some(3), lambda theta: theta * torch.nan)
    with pytest.raises(ChainRigError, match="order 1 or 2, not 3"):
        solve_root(cubic, some(3), by_bisection, order=3)


def test_unrolled_fixed_point_iterations_come_near_slowly_and_the_implicit_derivative_is_there() -> None:
    """x = cos(θ x): after k steps the unrolled derivative errs in proportion to the rate to the power k."""
    theta = torch.tensor([0.9], dtype=D)

    def iterate(theta: Tensor, steps: int) -> Tensor:
        x = torch.full_like(theta, 0.5)
        for _ in range(steps):
            x = torch.cos(theta * x)
        return x

    def g(x: Tensor, theta: Tensor) -> Tensor:
        return x - torch.cos(theta * x)

    x = iterate(theta, 500)
    exact = (-x * torch.sin(theta * x) / (1 + theta * torch.sin(theta * x))).item()
    implicit = torch.func.grad(lambda t: solve_root(g, t, lambda t: iterate(t, 500)).sum())(theta).item()
    assert implicit == pytest.approx(exact, abs=1e-14)
    errors = [
        abs(torch.func.grad(lambda t, k=k: iterate(t, k).sum())(theta).item() - exact) for k in (5, 10, 20)
    ]
    assert errors[0] > errors[1] > errors[2] > 1e-6
    # from the same poor solution, one Newton step away from it, the implicit derivative is far nearer
    early = torch.func.grad(lambda t: solve_root(g, t, lambda t: iterate(t, 10), tolerance=1.0).sum())(theta)
    assert abs(early.item() - exact) < 0.2 * errors[1]
