"""Penalties hold what a box holds, and what it cannot: that two controls exclude each other."""

import pytest
import torch
from solve_problems import Counted, anywhere, bounded, random, vector
from torch import Tensor

from pipeline.solve.constraints import ExclusivePairs, Penalised, Range
from pipeline.solve.continuation import Stage, continuation, widths
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.priors import Prior, flat

LEFT_RIGHT = ExclusivePairs(torch.tensor([[0, 2], [1, 3]]), 3.0)
CONSTRAINTS = {
    "range": Range(vector(0, -1, -torch.inf, 0), vector(1, 1, 0.5, torch.inf), 2.0),
    "pairs": LEFT_RIGHT,
}


def some_prior(low: Tensor, high: Tensor) -> Prior:
    mean, precision, sparsity = random(3, 4, seed=2).abs()
    return Prior(mean, precision, sparsity, low, high)


@pytest.mark.parametrize("constraint", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_a_constraints_slope_is_its_derivative(constraint: Range | ExclusivePairs) -> None:
    x = random(5, 4, seed=1)
    slope = torch.func.vmap(torch.func.jacrev(constraint.violation))(x)
    assert constraint.slope(x).shape == (5, *slope.shape[1:])
    assert torch.allclose(constraint.slope(x), slope)


@pytest.mark.parametrize("width", [1.0, 0.1, 0.01])
def test_the_penaltys_gradient_is_that_of_its_value(width: float) -> None:
    free = anywhere(4)
    prior = some_prior(free.low, free.high)
    penalised = Penalised(prior, list(CONSTRAINTS.values()), width)
    x = random(5, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(penalised.value, x)
    (slope,) = torch.autograd.grad(penalised.value(x).sum(), x)
    assert torch.allclose(penalised.gradient(x), slope, atol=1e-10)


def test_the_penalty_becomes_the_lectures_as_the_width_goes_to_zero() -> None:
    x = vector(-0.5, 0.2, 0.9, 0.1)  # low ≤ x₀ is violated by 0.5, x₂ ≤ 0.5 by 0.4, and D is 2
    sharp = Penalised(anywhere(4), [CONSTRAINTS["range"]], 0.0)
    assert float(sharp.value(x)) == pytest.approx(2 * (0.5 + 0.4))
    errors = [
        abs(float(Penalised(anywhere(4), [CONSTRAINTS["range"]], width).value(x) - sharp.value(x)))
        for width in (0.3, 0.1, 0.03)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-3


def test_the_curvature_is_positive_semidefinite() -> None:
    penalised = Penalised(anywhere(4), list(CONSTRAINTS.values()), 0.3)
    values = torch.linalg.eigvalsh(penalised.curvature(2 * random(50, 4, seed=5)))
    assert float(values.min()) > -1e-12 and float(values.max()) > 0.1


def test_ranges_by_penalty_come_to_the_box() -> None:
    """The active set's answer, found without one."""
    one = bounded()
    boxed = LevenbergMarquardt().minimize(one.problem(), one.prior, one.start).x
    ranges = Range(one.prior.low, one.prior.high, 100.0)
    stages = [Stage(Penalised(anywhere(12), [ranges], width)) for width in widths(0.3, 1e-3, 8)]
    found = continuation(LevenbergMarquardt(), one.problem(), stages, one.start)
    assert float((found.x - boxed).abs().max()) < 1e-3
    assert (
        float((LevenbergMarquardt().minimize(one.problem(), anywhere(12), one.start).x - boxed).abs().max())
        > 0.1
    )


@pytest.mark.parametrize("solver", [LevenbergMarquardt(), LBFGS()])
def test_exclusive_pairs_leave_one_of_two(solver: LevenbergMarquardt | LBFGS) -> None:
    """Left and right do nearly the opposite, and noise asks for some of both."""
    left = random(30, seed=1)
    columns = torch.stack([left, -left + 0.3 * random(30, seed=2)], -1)
    target = columns @ vector(0.6, 0.25)
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    box, problem = flat(zero, one), Counted(lambda x: x @ columns.mT - target)
    both = solver.minimize(problem, box, 0.5 * one)
    assert both.x.tolist() == pytest.approx([0.6, 0.25], abs=1e-4)
    pair = ExclusivePairs(torch.tensor([[0, 1]]), 50.0)
    stages = [Stage(Penalised(box, [pair], width)) for width in widths(10.0, 1e-3, 8)]
    found = continuation(solver, problem, stages, 0.5 * one)
    assert float(found.x[1]) < 1e-3 and float(found.x[0]) == pytest.approx(0.35, abs=0.1)


def test_pairs_are_found_by_name_and_the_unknown_are_left_out() -> None:
    names = ["jawLeft", "jawOpen", "jawRight"]
    pairs = ExclusivePairs.named([("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")], names, 1.0)
    assert pairs.pairs.tolist() == [[0, 2]]
    assert ExclusivePairs.named([], names, 1.0).violation(torch.rand(5, 3)).shape == (5, 0)


def test_projected_pairs_keep_the_larger() -> None:
    x = torch.stack([vector(0.5, 0.2, 0.4, 0.3), vector(0.0, 0.2, 0.4, 0.0)])
    assert LEFT_RIGHT.project(x).tolist() == [[0.5, 0.0, 0.0, 0.3], [0.0, 0.2, 0.4, 0.0]]
    assert bool((LEFT_RIGHT.violation(LEFT_RIGHT.project(x)) == 0).all())


def test_a_prior_of_many_stays_the_same_with_nothing_penalised() -> None:
    prior = some_prior(vector(0, 0, 0, 0), vector(1, 1, 1, 1))
    same, x = Penalised(prior, [], 0.1), random(3, 4, seed=7)

    def answers(one: Prior | Penalised) -> list[Tensor]:
        return [one.value(x), one.gradient(x), one.curvature(x), one.project(x), one.low, one.high]

    assert all(torch.equal(a, b) for a, b in zip(answers(prior), answers(same), strict=True))
