"""Photos of one person: what they share is found from all of them."""

from dataclasses import replace

import pytest
import torch
from solve_problems import Counted, random
from torch import Tensor

from pipeline.solve.adjoint_broyden import AdjointBroyden
from pipeline.solve.block_arrow import BlockArrow
from pipeline.solve.descent import Point
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.priors import Prior
from pipeline.solve.robust import Squares
from pipeline.solve.shared import Shared
from pipeline.solve.shared_broyden import SharedBroyden
from pipeline.solve.solver import Solver

PHOTOS = 3
IS_SHARED = torch.tensor([False, True, True, False, True])
TRUTH = random(PHOTOS, 5, seed=1).clamp(-0.9, 0.9)
TRUTH[:, IS_SHARED] = TRUTH[0, IS_SHARED]
ONE = torch.ones(5, dtype=torch.float64)
MEAN, PRECISION, SPARSITY = 1e-3 * random(3, 5, seed=9).abs()
PRIOR = Prior(MEAN, PRECISION, SPARSITY, -ONE, ONE)


def photo(n: int) -> Counted:
    """4 + n residuals: too few to tell five controls by themselves."""
    matrix = random(4 + n, 5, seed=20 + n)
    target = matrix @ TRUTH[n] + 0.1 * torch.sin(matrix @ TRUTH[n])
    return Counted(lambda x: x @ matrix.mT + 0.1 * torch.sin(x @ matrix.mT) - target)


def together() -> Shared:
    return Shared([photo(n) for n in range(PHOTOS)], IS_SHARED)


def test_unknowns_are_put_together_and_taken_apart() -> None:
    problem = together()
    y = problem.joined(TRUTH)
    assert y.shape == (3 + PHOTOS * 2,) and torch.equal(y[:3], TRUTH[0, IS_SHARED])
    assert torch.allclose(problem.apart(y), TRUTH)


def test_couplings_of_photos_are_coupled_together() -> None:
    root = random(2, 5, seed=5)
    problem, priors = together(), [replace(PRIOR, coupling=(n + 1) * root.T @ root) for n in range(PHOTOS)]
    y = random(9, seed=3)
    joint, x = problem.prior(priors), problem.apart(y)
    # What lies among shared controls counts in the mean, all else in the sum.
    assert joint.coupling is not None
    shared_only = torch.where(IS_SHARED, x, 0)
    of_shared = torch.stack([p.value(s) - PRIOR.value(s) for p, s in zip(priors, shared_only, strict=True)])
    of_all = torch.stack([p.value(s) - PRIOR.value(s) for p, s in zip(priors, x, strict=True)])
    expected = of_all.sum() - of_shared.sum() + of_shared.mean()
    assert float(joint.value(y) - replace(joint, coupling=None).value(y)) == pytest.approx(float(expected))
    assert torch.allclose(joint.gradient(y), torch.func.grad(joint.value)(y))


def test_derivatives_are_those_of_the_joint_residual() -> None:
    problem, y = together(), random(9, seed=3)
    expected = torch.func.jacfwd(problem.residual)(y)
    assert torch.allclose(problem.jacobian(y), expected) and torch.allclose(
        problem.stand_in(y), 0.8 * expected
    )
    residual, vjp = problem.residual_and_vjp(y)
    v = random(len(residual), seed=4)
    assert torch.equal(residual, problem.residual(y)) and torch.allclose(vjp(v), expected.T @ v)


def test_its_normal_matrix_is_an_arrow() -> None:
    same = [photo(1) for _ in range(PHOTOS)]  # equal numbers of residuals
    problem, y = Shared(same, IS_SHARED), random(9, seed=3)
    each = torch.stack([one.jacobian(x) for one, x in zip(same, problem.apart(y), strict=True)])
    dense = problem.jacobian(y)
    assert torch.allclose(BlockArrow.of_jacobians(each, IS_SHARED).dense(), dense.T @ dense)


def test_the_prior_counts_what_is_shared_once() -> None:
    problem = together()
    prior, x = problem.prior([PRIOR] * PHOTOS), TRUTH[0]
    every = torch.stack([x] * PHOTOS)
    own = Prior(MEAN, PRECISION.masked_fill(IS_SHARED, 0), SPARSITY.masked_fill(IS_SHARED, 0), -ONE, ONE)
    expected = PRIOR.value(x) + (PHOTOS - 1) * own.value(x)
    assert torch.allclose(prior.value(problem.joined(every)), expected)
    high = torch.stack([PRIOR.high, 0.5 * PRIOR.high, PRIOR.high])
    high[:, IS_SHARED] = 1.0
    each = [replace(PRIOR, high=one) for one in high]
    assert problem.apart(problem.prior(each).high).tolist() == high.tolist()


@pytest.mark.parametrize(
    "solver",
    [
        SharedBroyden(steps=200, tolerance=1e-12, patience=10),
        AdjointBroyden(steps=200, tolerance=1e-12, patience=10),
        LevenbergMarquardt(),
        LBFGS(),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_a_shared_identity_is_found(solver: Solver) -> None:
    problem = together()
    found = problem.apart(
        solver.minimize(problem, problem.prior([PRIOR] * PHOTOS), torch.zeros(9).double()).x
    )
    assert torch.allclose(found, TRUTH, atol=0.02)
    assert bool((found[1:, IS_SHARED] == found[0, IS_SHARED]).all())

    def alone(n: int) -> Tensor:
        return LevenbergMarquardt().minimize(photo(n), PRIOR, torch.zeros(5).double()).x

    assert float((alone(0) - TRUTH[0]).abs().max()) > 2 * 0.02  # one photo does not tell


def test_without_anything_learnt_a_step_in_blocks_is_the_dense_one() -> None:
    start, prior = torch.full((9,), 0.1).double(), together().prior([PRIOR] * PHOTOS)
    dense, blocks = (
        solver(steps=1, gradients=False).minimize(together(), prior, start).x
        for solver in (AdjointBroyden, SharedBroyden)
    )
    assert torch.allclose(dense, blocks, atol=1e-9) and not torch.allclose(dense, start)


def test_the_blocks_learn_the_gradient_of_all_and_the_secant_of_each() -> None:
    problem, y = together(), torch.full((9,), 0.1).double()
    prior = problem.prior([PRIOR] * PHOTOS)
    residual, vjp = problem.residual_and_vjp(y)
    ones, value = torch.ones_like(residual), torch.zeros(()).double()
    here = Point(y, residual, value, ones, residual, vjp(residual) + prior.gradient(y))
    estimate = SharedBroyden().begin(problem, prior, Squares())
    estimate.arrive(here, torch.tensor(True))
    assert torch.allclose(estimate.pull(residual), vjp(residual), atol=1e-9)

    step = estimate.step(here, torch.tensor(1e2))
    there = problem.residual(y + step.d)
    estimate.tried(here, step, there, torch.tensor(True))
    each = (estimate.jacobian @ problem.apart(step.d)[..., None]).squeeze(-1)
    assert torch.allclose(each, estimate.by_photo(there - residual), atol=1e-9)
