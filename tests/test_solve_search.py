"""Line searches and trust regions keep the conditions they are named for."""

import math

import pytest
import torch
from solve_problems import Counted, anywhere, random, rosenbrock, vector
from torch import Tensor

from pipeline.solve.column_space import ColumnSpace
from pipeline.solve.dogleg import Dogleg
from pipeline.solve.gauss_newton import GaussNewton
from pipeline.solve.gradient_descent import GradientDescent
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.line_search import Armijo, LearningRate, StrongWolfe, Trial, cubic_minimum
from pipeline.solve.priors import Prior, flat
from pipeline.solve.trust_region import Nielsen, TrustRegion


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_armijo_backtracks_and_grows_again_item_by_item() -> None:
    sizes = Armijo(part=0.1, shrink=0.5, grow=2.0, most=3.0).begin(numbers(1.0, 1.0, 2.0))
    accepted = sizes.judge(Trial(numbers(5, 5, 5), numbers(4, 4.99, math.nan), numbers(1, 1, 1)))
    assert accepted.tolist() == [True, False, False]  # enough, too little, no number
    assert sizes.size.tolist() == [2.0, 0.5, 1.0]
    sizes.judge(Trial(numbers(5, 5, 5), numbers(4, 4, 4), numbers(1, 1, 1)))
    assert sizes.size.tolist() == [3.0, 1.0, 2.0]


def wave(t: Tensor) -> tuple[Tensor, Tensor]:
    """A line that falls, rises and falls again; value and slope."""
    return -t + 0.3 * torch.sin(6 * t) + 0.25 * t**2, -1 + 1.8 * torch.cos(6 * t) + 0.5 * t


@pytest.mark.parametrize("flat_part", [0.1, 0.9])
@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 3.0, 40.0])
def test_strong_wolfe_holds_where_a_step_is_accepted(first: float, flat_part: float) -> None:
    search = StrongWolfe(part=1e-4, flat=flat_part, trials=60)
    sizes = search.begin(numbers(first))
    value, slope = (part + 0 for part in wave(numbers(0.0)))
    slope = slope - 2.0  # the wave begins by rising: tilt it
    for _ in range(60):
        t = sizes.size
        new_value, new_slope = wave(t)
        new_value, new_slope = new_value - 2.0 * t, new_slope - 2.0
        if bool(sizes.judge(Trial(value, new_value, -slope * t, slope=slope, new_slope=new_slope))):
            break
    else:
        pytest.fail("nothing was accepted")
    assert float(new_value) <= float(value + 1e-4 * t * slope)
    assert abs(float(new_slope)) <= flat_part * abs(float(slope))
    assert sizes.size.item() == search.first  # a new line begins


def test_strong_wolfe_wants_a_fair_part_of_what_the_slope_promises() -> None:
    sizes = StrongWolfe(part=0.1, flat=0.5).begin(numbers(1.0, 1.0, 1.0))
    level, down = numbers(1, 1, 1), numbers(-1, -1, -1)
    trial = Trial(level, numbers(0.95, 0.85, 0.85), -down, slope=down, new_slope=numbers(0, 0, -0.6))
    assert sizes.judge(trial).tolist() == [False, True, False]  # too little, enough, still steep


def test_the_cubic_is_exact_for_cubics() -> None:
    def cubic(t: float) -> tuple[float, float, float]:
        return t, t**3 - 3 * t + 1, 3 * t**2 - 3  # lowest at 1

    assert float(cubic_minimum(numbers(*cubic(0.2)), numbers(*cubic(2.5)))) == pytest.approx(1.0)
    assert float(cubic_minimum(numbers(*cubic(2.5)), numbers(*cubic(0.2)))) == pytest.approx(1.0)


def test_learning_rates_decay() -> None:
    sizes = LearningRate(decay=0.5).begin(numbers(1.0))
    for expected in (1 / 1.5, 1 / 2, 1 / 2.5):
        assert bool(sizes.judge(Trial(numbers(1), numbers(2), numbers(1))))  # also uphill
        assert float(sizes.size) == pytest.approx(expected)


def test_a_trust_region_shrinks_from_the_step_that_was_taken() -> None:
    sizes = TrustRegion(grow=2.0, shrink=0.25).begin(numbers(8.0, 8.0, 8.0))
    trial = Trial(numbers(1, 1, 1), numbers(0, 0.5, 2), numbers(1, 1, 1), used=numbers(6.0, 8.0, 2.0))
    assert sizes.judge(trial).tolist() == [True, True, False]
    assert sizes.size.tolist() == [12.0, 8.0, 0.5]


def test_nielsen_damps_ever_faster_while_steps_are_rejected() -> None:
    sizes = Nielsen().begin(numbers(1.0))
    seen = []
    for _ in range(3):
        sizes.judge(Trial(numbers(1), numbers(2), numbers(1)))
        seen.append(float(sizes.size))
    assert seen == [1 / 2, 1 / 8, 1 / 64]
    assert bool(sizes.judge(Trial(numbers(1), numbers(0), numbers(1))))
    assert float(sizes.size) == pytest.approx(3 / 64)


def test_nielsens_damping_follows_the_gain_smoothly() -> None:
    for gain, factor in {0.05: 1.729, 0.25: 1.125, 0.5: 1.0, 0.75: 0.875, 1.0: 1 / 3, 2.0: 1 / 3}.items():
        sizes = Nielsen().begin(numbers(1.0))
        sizes.judge(Trial(numbers(3), numbers(3 - gain), numbers(1)))
        assert float(1 / sizes.size) == pytest.approx(factor)


@pytest.mark.parametrize("search", [Armijo(), StrongWolfe()])
def test_descents_and_searches_compose(search: Armijo | StrongWolfe) -> None:
    for solver in (GradientDescent(search=search), LBFGS(search=search), GaussNewton(search=search)):
        found = solver.minimize(Counted(rosenbrock), anywhere(2), vector(-1.2, 1.0))
        assert float(found.value) < 3.0


@pytest.mark.parametrize("search", [Nielsen(), TrustRegion()])
def test_damped_steps_take_either_trust_region(search: Nielsen | TrustRegion) -> None:
    found = LevenbergMarquardt(search=search).minimize(Counted(rosenbrock), anywhere(2), vector(-1.2, 1.0))
    assert torch.allclose(found.x, torch.ones(2, dtype=torch.float64), atol=1e-6)


def test_a_dogleg_stays_within_its_radius_and_turns_towards_the_newton_point() -> None:
    matrix = random(2, 2, seed=8) * vector(1.0, 30.0)  # controls of other units
    problem, aim = Counted(lambda x: x @ matrix.mT - 1.0), anywhere(2)
    descent = Dogleg().begin(problem, aim, None)  # type: ignore[arg-type]
    from pipeline.solve.descent import Point

    x = vector(0.0, 0.0)
    r, jacobian = problem.residual(x), problem.jacobian(x)
    here = Point(x, r, 0.5 * r @ r, torch.ones_like(r), r, jacobian.T @ r, jacobian)
    descent.arrive(here, torch.tensor(True))
    whole = descent.first_size(here)
    diagonal = (jacobian.T @ jacobian).diagonal().sqrt()
    lengths, predicted = [], []
    for part in (0.01, 0.1, 0.3, 0.6, 0.9, 1.0, 5.0):
        step = descent.step(here, part * whole)
        lengths.append(float((diagonal * step.d).norm() / whole))
        predicted.append(float(step.predicted))
        assert lengths[-1] == pytest.approx(min(part, 1.0))
    assert predicted == sorted(predicted)
    assert torch.allclose(step.d, torch.linalg.solve(matrix, torch.ones(2).double()))
    short = descent.step(here, 0.01 * whole).d
    steepest = -here.gradient / diagonal.square()
    assert float(torch.cosine_similarity(short, steepest, 0)) == pytest.approx(1.0)
    lowest = -(here.gradient @ steepest) / (jacobian @ steepest).square().sum() * steepest  # of the model
    torch.testing.assert_close(descent.step(here, (diagonal * lowest).norm()).d, lowest)


# Column-space search.


def sparse_scene() -> tuple[Counted, Prior, Tensor]:
    """Forty columns alike by half, of which three made the residual, and noise."""
    columns = random(60, 40, seed=6) + 1.5 * random(60, 1, seed=7)
    truth = torch.zeros(40, dtype=torch.float64)
    truth[[3, 17, 31]] = vector(0.8, 0.5, 0.9)
    seen = columns @ truth + 0.2 * random(60, seed=8)
    low, high = torch.zeros(40, dtype=torch.float64), torch.ones(40, dtype=torch.float64)
    return Counted(lambda x: x @ columns.mT - seen), flat(low, high), truth


def test_column_space_search_finds_the_few_that_made_it() -> None:
    problem, prior, truth = sparse_scene()
    zero = torch.zeros(40, dtype=torch.float64)
    dense = LevenbergMarquardt().minimize(problem, prior, zero).x
    few = ColumnSpace(least=0.3).minimize(problem, prior, zero)
    assert few.status == "converged"
    assert set(few.x.nonzero().flatten().tolist()) == {3, 17, 31} and int((dense > 0.001).sum()) > 6
    assert float((few.x - truth).abs().max()) < 0.1
    assert float((few.x - truth).abs().sum()) < 0.3 * float((dense - truth).abs().sum())


def test_column_space_search_moves_no_more_columns_than_it_may() -> None:
    problem, prior, _ = sparse_scene()
    always = torch.zeros(40, dtype=torch.bool)
    always[5] = True
    zero = torch.zeros(40, dtype=torch.float64)
    one_step = ColumnSpace(columns=1, least=0.0, always=always, steps=1).minimize(problem, prior, zero).x
    assert set(one_step.nonzero().flatten().tolist()) <= {5, 3, 17, 31} and int((one_step > 0).sum()) <= 2
