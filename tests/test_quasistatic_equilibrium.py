"""The equilibrium of a block of flesh as a differentiable function of all that drives it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flesh_block import block, in_numpy, random_like
from torch import Tensor
from unrolled_flesh import unrolled

from pipeline.deform.quasistatic.contact import Obstacles
from pipeline.deform.quasistatic.equilibrium import equilibrium
from pipeline.deform.quasistatic.factor import Factor, Factors
from pipeline.deform.quasistatic.flesh import Drive, imbalance
from pipeline.deform.quasistatic.newton import find_equilibrium
from pipeline.deform.quasistatic.potential import Potential
from pipeline.deform.quasistatic.solver import EquilibriumSolver
from pipeline.errors import ChainRigError

FLESH, DRIVE = block()
REST = DRIVE.rest[: FLESH.free]
WEIGHTS = random_like(REST, 5)


@pytest.fixture
def solver() -> EquilibriumSolver:
    return EquilibriumSolver(FLESH, tolerance=1e-12)


def moved(name: str, values: Tensor) -> Drive:
    if name in Drive._fields:
        return DRIVE._replace(**{name: values})
    return DRIVE._replace(obstacles=DRIVE.obstacles._replace(**{name: values}))


def value_of(name: str) -> Tensor:
    return getattr(DRIVE if name in Drive._fields else DRIVE.obstacles, name)


def test_the_solvers_forces_are_those_that_are_differentiated(solver: EquilibriumSolver) -> None:
    potential = Potential(in_numpy(DRIVE), FLESH, solver.sparsity)
    x = REST + 1e-3 * random_like(REST)
    g = potential.gradient(x.numpy())[0]
    np.testing.assert_allclose(g, imbalance(x, DRIVE, FLESH), atol=1e-12)
    along, h = random_like(REST, 1).numpy(), 1e-7
    there, back = x.numpy() + h * along, x.numpy() - h * along
    slope = (potential.energy(there) - potential.energy(back)) / (2 * h)
    assert slope == pytest.approx((g * along).sum(), rel=1e-6)
    change = (potential.gradient(there)[0] - potential.gradient(back)[0]) / (2 * h)
    matrix = solver.sparsity.matrix(potential.hessian(x.numpy()))
    product = solver.sparsity.out_of_order(matrix @ solver.sparsity.into_order(along))
    np.testing.assert_allclose(product, change, atol=1e-6 * np.abs(change).max())


def test_forces_balance_at_a_minimum_and_the_floor_holds(solver: EquilibriumSolver) -> None:
    x = solver.solve(in_numpy(DRIVE), REST.numpy())
    assert solver.last is not None and solver.last.residual <= 1e-8
    g = imbalance(torch.from_numpy(x), DRIVE, FLESH)
    assert g.norm() < 1e-8 * imbalance(REST, DRIVE, FLESH).norm()
    potential = Potential(in_numpy(DRIVE), FLESH, solver.sparsity)
    assert Factor(solver.sparsity.matrix(potential.hessian(x))).positive
    s = DRIVE.obstacles.plane_offset - torch.from_numpy(x)[FLESH.touching.plane_nodes, 2]
    assert s.max() > 0 and s.max() < 5e-4  # pressed onto the floor, and not through it


@pytest.mark.parametrize("start", ["mirrored", "collapsed", "scrambled"])
def test_inverted_starts_recover(start: str, solver: EquilibriumSolver) -> None:
    expected = solver.solve(in_numpy(DRIVE), REST.numpy())
    starts = {
        "mirrored": REST * torch.tensor([1.0, -1.0, 1.0]),
        "collapsed": torch.zeros_like(REST),
        "scrambled": REST + 0.008 * random_like(REST),
    }
    solver.forget()
    found = solver.solve(in_numpy(DRIVE), starts[start].double().numpy())
    assert solver.last is not None and solver.last.projections > 0
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(
    "name", ["rest", "driven", "target", "gravity", "plane_normal", "plane_offset", "plane_stiffness"]
)
def test_the_implicit_derivative_is_the_slope_of_the_solution(name: str, solver: EquilibriumSolver) -> None:
    def f(values: Tensor) -> Tensor:
        return (equilibrium(moved(name, values), REST, solver) * WEIGHTS).sum()

    values = value_of(name)
    along = random_like(values, 2) * values.abs().max()
    gradient = torch.func.grad(f)(values)
    slope = torch.func.jvp(f, (values,), (along,))[1]
    assert slope == pytest.approx(float((gradient * along).sum()), rel=1e-9)  # the modes are adjoint
    h = 1e-5
    difference = (f(values + h * along) - f(values - h * along)) / (2 * h)
    assert slope == pytest.approx(float(difference), rel=1e-5)


def test_batches_and_mapped_axes_are_their_members(solver: EquilibriumSolver) -> None:
    pulls = DRIVE.gravity + torch.arange(6.0).double().view(2, 3)[..., None] * torch.tensor([1.0, 0.0, 0.5])

    def repeated(gravity: Tensor) -> Tensor:
        batch = gravity.shape[:-1]
        rest, driven, target = (t.expand(*batch, *t.shape) for t in DRIVE[:3])
        obstacles = Obstacles(*(t.expand(*batch, *t.shape) for t in DRIVE.obstacles))
        drive = Drive(rest, driven, target, gravity, obstacles)
        return equilibrium(drive, REST.expand(*batch, *REST.shape), solver)

    together = repeated(pulls)
    assert together.shape == (2, 3, *REST.shape)
    for i, j in ((0, 0), (1, 2)):
        torch.testing.assert_close(together[i, j], repeated(pulls[i, j]), atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.func.vmap(repeated)(pulls), together, atol=1e-10, rtol=0)
    columns, rows = (jacobian(repeated)(DRIVE.gravity) for jacobian in (torch.func.jacfwd, torch.func.jacrev))
    torch.testing.assert_close(columns, rows, atol=1e-14, rtol=1e-7)
    whole = torch.autograd.functional.jacobian(lambda p: repeated(p).sum((0, 1)), pulls)
    assert isinstance(whole, Tensor)
    torch.testing.assert_close(whole[..., 0, 0, :], columns, atol=1e-12, rtol=1e-6)


def test_where_it_starts_does_not_matter_beyond_the_tolerance(solver: EquilibriumSolver) -> None:
    first = solver.solve(in_numpy(DRIVE), REST.numpy())
    elsewhere = moved("gravity", torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64))
    solver.solve(in_numpy(elsewhere), REST.numpy())
    np.testing.assert_allclose(solver.solve(in_numpy(DRIVE), REST.numpy()), first, atol=1e-10)


def test_solved_loosely_the_implicit_derivative_is_right_and_the_unrolled_one_is_not(
    solver: EquilibriumSolver,
) -> None:
    def gradient(of: Callable[[Drive], Tensor]) -> Tensor:
        target = DRIVE.target.clone().requires_grad_()
        return torch.autograd.grad((of(moved("target", target)) * WEIGHTS).sum(), target)[0]

    exact = gradient(lambda drive: equilibrium(drive, REST, solver))
    x = torch.from_numpy(solver.solve(in_numpy(DRIVE), REST.numpy()))
    loose = EquilibriumSolver(FLESH, tolerance=1e-2)
    implicit = gradient(lambda drive: equilibrium(drive, REST, loose))
    assert loose.last is not None and loose.last.residual > 1e-3
    unrefined = loose.last.x
    curvature = torch.func.jacrev(lambda x: imbalance(x, DRIVE, FLESH).flatten())(x)
    matrix = 2 * curvature.reshape(REST.numel(), -1)
    by_steps = gradient(lambda drive: unrolled(drive, FLESH, REST, matrix, 1e-3)[0])
    error = (implicit - exact).norm() / exact.norm()
    assert error < 1e-5 and (by_steps - exact).norm() > 1e-3 * exact.norm()
    np.testing.assert_allclose(
        equilibrium(DRIVE, REST, loose), unrefined, atol=1e-12
    )  # only the derivative is
    # from a warm start there is next to nothing left to unroll
    warm = x + 1e-5 * random_like(x)
    few, steps = unrolled(moved("target", DRIVE.target.clone().requires_grad_()), FLESH, warm, matrix, 1e-2)
    assert 0 < steps < 5
    by_few = gradient(lambda drive: unrolled(drive, FLESH, warm, matrix, 1e-2)[0])
    assert (few - x).norm() < 0.01 * (x - REST).norm() and (by_few - exact).norm() > 0.1 * exact.norm()


def test_what_cannot_be_solved_is_a_sentence(solver: EquilibriumSolver) -> None:

    potential = Potential(in_numpy(DRIVE), FLESH, solver.sparsity)
    with pytest.raises(ChainRigError, match="no equilibrium in 2 steps.*nearer to their ranges"):
        find_equilibrium(potential, REST.numpy(), Factors(), most=2)
