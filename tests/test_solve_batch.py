"""A batch is so many problems by themselves: each item has its own damping, and stops when it is done."""

import math

import pytest
import torch
from solve_problems import (
    SOLVERS,
    Counted,
    Standard,
    anywhere,
    bent,
    bounded,
    default_rig,
    random,
    rosenbrock,
)
from torch import Tensor

from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.priors import flat
from pipeline.solve.robust import Huber

BATCH = 32
LEARNING_RATES = ("RMSprop", "Adam")  # far from done after so few steps


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_of_32_is_32_singles(solver: str) -> None:
    one = bounded()
    starts = torch.rand(BATCH, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    aims = 0.5 + 0.7 * random(BATCH, 12, seed=2)  # of other problems, too
    matrix = random(30, 12, seed=4)
    made = SOLVERS[solver](None, 6)
    together = made.minimize(Counted(bent(matrix, aims)), one.prior, starts)
    for b in range(BATCH):
        alone = made.minimize(Counted(bent(matrix, aims[b])), one.prior, starts[b])
        assert together.statuses[b] == alone.status
        assert torch.allclose(together.x[b], alone.x, rtol=0, atol=1e-9)
        assert torch.allclose(together.value[b], alone.value, rtol=1e-12)


@pytest.fixture(scope="module")
def rig() -> Standard:
    return default_rig()


@pytest.mark.parametrize("solver", SOLVERS)
def test_faces_together_are_as_many_faces_alone(solver: str, rig: Standard) -> None:
    """On the default rig, from other expressions and poses."""
    shown = torch.rand(3, len(rig.start), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    starts = rig.prior.project(rig.start + torch.where(rig.prior.high == 1, 0.3, 0.01) * shown)
    made = SOLVERS[solver](rig.metric(), 2)
    together = made.minimize(rig.problem(), rig.prior, starts)
    for b in range(len(starts)):
        alone = made.minimize(rig.problem(), rig.prior, starts[b])
        assert torch.allclose(together.x[b], alone.x, rtol=0, atol=1e-6)
        assert torch.allclose(together.value[b], alone.value, rtol=1e-8)


def test_more_than_one_leading_dimension() -> None:
    starts = random(2, 3, 2, seed=5)
    found = LevenbergMarquardt().minimize(Counted(rosenbrock), anywhere(2), starts)
    assert found.x.shape == (2, 3, 2) and found.value.shape == (2, 3) and len(found.statuses) == 6
    assert torch.allclose(found.x, torch.ones_like(found.x), atol=1e-6)
    assert found.trace.column("damping").shape == (len(found.trace), 2, 3)


def test_items_stop_by_themselves_and_stand_still() -> None:
    starts = torch.tensor([[1.0, 1.0], [-1.2, 1.0]], dtype=torch.float64)  # the first is there already
    found = LevenbergMarquardt().minimize(Counted(rosenbrock), anywhere(2), starts)
    step, accepted = found.trace.column("step")[1:], found.trace.column("accepted")[1:]
    assert float(step[:, 0].max()) == 0 and not bool(accepted[:, 0].any())
    assert found.statuses == ["converged", "converged"] and len(step) > 10


def test_items_have_their_own_damping() -> None:
    starts = torch.tensor([[0.9, 0.8], [-1.2, 1.0]], dtype=torch.float64)
    damping = LevenbergMarquardt().minimize(Counted(rosenbrock), anywhere(2), starts).trace.column("damping")
    assert float(damping[1, 0]) == float(damping[1, 1])
    assert float((damping[5, 0] / damping[5, 1]).log().abs()) > 1


def test_one_item_that_runs_into_infinity_does_not_stop_the_others() -> None:
    def cliff(x: Tensor) -> Tensor:
        return torch.cat([x - 2.0, torch.where(x > 1, math.nan, 0 * x)], -1)

    low, high = torch.full((1,), -9.0).double(), torch.full((1,), 9.0).double()
    starts = torch.tensor([[0.9], [-5.0]], dtype=torch.float64)
    found = LevenbergMarquardt(steps=60).minimize(Counted(cliff), flat(low, high), starts)
    assert bool(found.value.isfinite().all()) and bool((found.x <= 1).all())
    assert bool((found.value < torch.tensor([0.605, 24.5])).all())


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32(solver: str) -> None:
    one = bounded()
    low, high = one.prior.low.float(), one.prior.high.float()
    aim = (0.5 + 0.7 * random(12)).float()
    made = SOLVERS[solver](None, 40)
    found = made.minimize(
        Counted(bent(random(30, 12, seed=4).float(), aim)), flat(low, high), one.start.float()
    )
    assert found.x.dtype == found.value.dtype == torch.float32
    assert float(found.value) == pytest.approx(one.optimum(), rel=0.1 if solver in LEARNING_RATES else 1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_takes_a_robust_loss(solver: str) -> None:
    one, wrong = bounded(), torch.zeros(30, dtype=torch.float64)
    wrong[4:6] = 50.0
    clean = bent(random(30, 12, seed=4), torch.full((12,), 0.4, dtype=torch.float64))
    problem = Counted(lambda x: clean(x) + wrong)
    plain = LevenbergMarquardt().minimize(problem, one.prior, one.start)
    robust = SOLVERS[solver](None, 60).minimize(problem, one.prior, one.start, Huber(0.05))
    assert float((robust.x - 0.4).abs().max()) < 0.05 < 0.2 < float((plain.x - 0.4).abs().max())
