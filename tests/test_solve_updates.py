"""Steps are what their papers say: as torch has them, as recursions have them, and in any units."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from solve_problems import CURVED, Counted, anywhere, bounded, random, vector
from torch import Tensor

from pipeline.solve.adam import Adam
from pipeline.solve.column_space import ColumnSpace
from pipeline.solve.dogleg import Dogleg
from pipeline.solve.gauss_newton import GaussNewton
from pipeline.solve.gradient_descent import GradientDescent
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.line_search import LearningRate
from pipeline.solve.momentum import Momentum
from pipeline.solve.nesterov import Nesterov
from pipeline.solve.priors import Prior, alike, flat
from pipeline.solve.quadratic_model import normal_matrix
from pipeline.solve.rmsprop import RMSprop
from pipeline.solve.solver import Solver
from pipeline.solve.trust_region import TrustRegion

STEADY = LearningRate()
START = vector(1.5, -1.0, 0.7)
MATRIX = random(6, 3, seed=21) * vector(1.0, 1.6, 0.6)


def bowl(x: Tensor) -> Tensor:
    return x @ MATRIX.mT - 0.3


def slope(x: Tensor) -> Tensor:
    return MATRIX.T @ bowl(x)


def path(solver: Solver) -> Tensor:
    """`(1 + steps, 3)` the points that a solver evaluates."""
    problem = Counted(bowl)
    solver.minimize(problem, anywhere(3), START)
    return torch.stack(problem.seen)


def torchs(make: Callable[[list[Tensor]], torch.optim.Optimizer], steps: int) -> Tensor:
    """The same of an optimiser of torch."""
    x = START.clone().requires_grad_()
    optimiser, seen = make([x]), [START]
    for _ in range(steps):
        optimiser.zero_grad()
        (0.5 * bowl(x).square().sum()).backward()
        optimiser.step()
        seen.append(x.detach().clone())
    return torch.stack(seen)


def test_adam_is_torchs() -> None:
    ours = path(Adam(search=STEADY, rate=0.05, keep=0.8, keep_squares=0.95, steps=12))
    theirs = torchs(lambda x: torch.optim.Adam(x, lr=0.05, betas=(0.8, 0.95), eps=1e-8), 12)
    torch.testing.assert_close(ours, theirs)


def test_momentum_is_torchs() -> None:
    ours = path(Momentum(search=STEADY, keep=0.6, steps=8))
    rate = float((ours[0] - ours[1]).abs().max() / slope(START).abs().max())
    assert rate == pytest.approx(0.1 / float(slope(START).abs().max()))  # a tenth, in what moves most
    theirs = torchs(lambda x: torch.optim.SGD(x, lr=rate, momentum=0.6), 8)
    torch.testing.assert_close(ours, theirs)


def test_rmsprop_divides_by_the_lately_usual_slope() -> None:
    ours = path(RMSprop(search=STEADY, rate=0.05, keep=0.7, steps=12))
    x, square = START, slope(START).square()
    for seen in ours:
        torch.testing.assert_close(seen, x)
        x = x - 0.05 * slope(x) / square.sqrt()
        square = 0.7 * square + 0.3 * slope(x).square()


def test_nesterov_looks_ahead_ever_further() -> None:
    ours = path(Nesterov(search=STEADY, steps=8))
    rate = 0.1 / float(slope(START).abs().max())
    y, before = START, START
    for n, seen in enumerate(ours):
        torch.testing.assert_close(seen, y)
        x = y - rate * slope(y)
        y, before = x + n / (n + 3) * (x - before), x


def test_lbfgs_applies_what_bfgs_updates_would() -> None:
    """With B written out: B ← (1 − ρ s yᵀ) B (1 − ρ y sᵀ) + ρ s sᵀ, ρ = 1 / sᵀy, from γ = sᵀy / yᵀy."""
    ours = path(LBFGS(search=STEADY, steps=5))
    one = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(ours[1], START - 0.1 * slope(START) / slope(START).abs().max())
    for n in range(1, len(ours) - 1):
        steps = [(b - a, slope(b) - slope(a)) for a, b in zip(ours[:n], ours[1 : n + 1], strict=True)]
        s, y = steps[-1]
        inverse = one * (s @ y) / (y @ y)
        for s, y in steps:
            left = one - torch.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
        torch.testing.assert_close(ours[n + 1], ours[n] - inverse @ slope(ours[n]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("solver", [GaussNewton(), Dogleg()])
def test_the_first_step_is_the_last_where_residuals_are_linear(solver: Solver) -> None:
    problem = Counted(bowl)
    found = solver.minimize(problem, anywhere(3), START)
    best = torch.linalg.lstsq(MATRIX, torch.full((6, 1), 0.3).double()).solution[:, 0]
    torch.testing.assert_close(problem.seen[1], best)
    assert found.status == "converged" and found.evaluations == 2


@pytest.mark.parametrize("solver", [LevenbergMarquardt(), Dogleg(), ColumnSpace(least=0.0)])
def test_what_a_quadratic_model_promises_of_linear_residuals_comes_true(solver: Solver) -> None:
    """With a prior that is quadratic, too; at λ = 1 or at any radius."""
    wide = anywhere(3)
    prior = Prior(wide.mean, vector(0.5, 0.0, 2.0), vector(0.3, 0, 0), wide.low, wide.high)
    prior = replace(prior, coupling=alike([(0, 2)], 1.5, 3))
    found = replace(solver, steps=2, search=TrustRegion(most=1.0)).minimize(Counted(bowl), prior, START)
    assert found.trace.column("gain")[1:].tolist() == pytest.approx([1.0] * (len(found.trace) - 1), rel=1e-6)


def test_the_models_matrix_is_the_curvature_of_weighted_residuals_and_prior() -> None:
    wide, weight = anywhere(3), random(6, seed=22).square()
    prior = Prior(wide.mean, vector(0.5, 0.0, 2.0), vector(0.3, 0, 0), wide.low, wide.high)
    prior = replace(prior, coupling=alike([(0, 2)], 1.5, 3))

    def value(x: Tensor) -> Tensor:
        return 0.5 * (weight * bowl(x).square()).sum() + prior.value(x)

    found = normal_matrix(MATRIX, weight, prior, START)
    torch.testing.assert_close(found, torch.func.hessian(value)(START))


UNITS = vector(*(10.0 ** (0.5 * (k % 5) - 1) for k in range(12)))  # a tenth to tens
MAKE: dict[str, Callable[[Tensor], Solver]] = {
    "gradient descent": lambda metric: GradientDescent(metric=metric, steps=8),
    "momentum": lambda metric: Momentum(metric=metric, steps=8),
    "Nesterov": lambda metric: Nesterov(metric=metric, steps=8),
    "RMSprop": lambda metric: RMSprop(metric=metric, steps=8, rate=0.1),
    "Adam": lambda metric: Adam(metric=metric, steps=8, rate=0.1),
}
for name, make in CURVED.items():
    MAKE[name] = lambda metric, make=make: make(metric, 8)


@pytest.mark.parametrize("solver", MAKE)
def test_the_units_of_controls_do_not_matter(solver: str) -> None:
    """A face in metres is the same face in millimetres, given a metric in their units."""
    one = bounded()
    there, here = Counted(lambda z: one.function(z * UNITS)), Counted(one.function)
    ones = torch.ones_like(UNITS)
    MAKE[solver](0.3 * ones).minimize(here, one.prior, one.start)
    box = flat(one.prior.low / UNITS, one.prior.high / UNITS)
    MAKE[solver](0.3 / UNITS.square()).minimize(there, box, one.start / UNITS)
    assert len(there.seen) == len(here.seen) > 2
    torch.testing.assert_close(torch.stack(there.seen) * UNITS, torch.stack(here.seen), rtol=0, atol=1e-6)
