"""Wrong landmarks count for less, hidden ones for nothing."""

import pytest
import torch
from solve_problems import Counted, anywhere, random, vector
from torch import Tensor

from pipeline.solve.continuation import Stage, continuation, widths
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.robust import GemanMcClure, Huber, Kept, Loss, Squares, inside_frame

LOSSES = {
    "squares": Squares(),
    "Huber": Huber(0.7),
    "Geman–McClure": GemanMcClure(0.7),
    "kept": Kept(Huber(0.7), torch.tensor([True, False, True])),
    "one by one": Huber(0.7, group=1),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_weight_times_residual_is_the_derivative(loss: Loss) -> None:
    residual = random(4, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(loss.value, residual, check_forward_ad=True)
    (slope,) = torch.autograd.grad(loss.value(residual).sum(), residual)
    assert torch.allclose(loss.weight(residual) * residual, slope, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_nothing_breaks_at_zero_or_far_away(loss: Loss) -> None:
    for residual in (torch.zeros(6), torch.full((6,), 1e8)):
        residual = residual.double().requires_grad_()
        (slope,) = torch.autograd.grad(loss.value(residual).sum(), residual)
        assert bool(slope.isfinite().all()) and torch.allclose(loss.weight(residual) * residual, slope)


def test_a_landmark_counts_by_its_length_whatever_its_direction() -> None:
    loss = GemanMcClure(1.0)
    assert float(loss.value(vector(3, 4))) == pytest.approx(float(loss.value(vector(0, 5))))
    assert loss.weight(vector(3, 4)).tolist() == pytest.approx([1 / 26**2] * 2)


def test_huber_pulls_with_no_more_than_its_width() -> None:
    loss = Huber(0.5)
    assert float(loss.value(vector(0.3, 0))) == pytest.approx(0.045)
    assert float(loss.value(vector(0, 10))) == pytest.approx(0.5 * 10 - 0.125)
    assert float((loss.weight(vector(0, 10)) * vector(0, 10)).norm()) == pytest.approx(0.5)


def test_the_reweighted_parabola_lies_above_the_loss() -> None:
    for loss in (Huber(0.5), GemanMcClure(0.5)):
        here, there = random(200, 2, seed=2), random(200, 2, seed=3)
        above = loss.value(here) + 0.5 * (loss.weight(here) * (there.square() - here.square())).sum(-1)
        assert bool((loss.value(there) <= above + 1e-12).all())


def test_landmarks_outside_the_frame() -> None:
    points = torch.tensor([[5.0, 5.0, 9.0], [-1.0, 5.0, 9.0], [5.0, 19.5, 9.0], [40.0, 5.0, 9.0]])
    assert inside_frame(points, 40, 20).tolist() == [True, False, True, True]
    assert inside_frame(points, 40, 20, margin=1).tolist() == [True, False, False, False]


# Twenty landmarks of a face that moves by six controls; some are wrong.

SHAPES = random(40, 6, seed=4)
TRUTH = random(6, seed=5)


def seen(wrong: tuple[int, ...], by: float = 20.0) -> Tensor:
    target = SHAPES @ TRUTH + 0.01 * random(40, seed=6)
    for i in wrong:
        target[2 * i : 2 * i + 2] += by
    return target


def error(loss: Loss, target: Tensor) -> float:
    problem = Counted(lambda x: x @ SHAPES.mT - target)
    found = LevenbergMarquardt().minimize(problem, anywhere(6), torch.zeros(6, dtype=torch.float64), loss)
    return float((found.x - TRUTH).abs().max())


def test_huber_bears_wrong_landmarks() -> None:
    clean = error(Squares(), seen(()))
    assert error(Squares(), seen((3, 11))) > 100 * clean
    assert error(Huber(0.03), seen((3, 11))) < 4 * clean


def test_dropped_landmarks_do_not_count_at_all() -> None:
    keep = torch.ones(20, dtype=torch.bool)
    keep[[3, 11]] = False
    near, far = (error(Kept(Squares(), keep), seen((3, 11), by)) for by in (20.0, 2000.0))
    assert near == pytest.approx(far, abs=1e-12) and near < 0.02


def test_a_narrowing_geman_mcclure_forgets_what_is_wrong() -> None:
    target = seen((3, 11, 12, 18))
    problem, start = Counted(lambda x: x @ SHAPES.mT - target), torch.full((6,), 3.0).double()
    stages = [Stage(anywhere(6), GemanMcClure(width)) for width in widths(30.0, 0.05, 8)]
    found = continuation(LevenbergMarquardt(), problem, stages, start)
    right = torch.ones(20, dtype=torch.bool)
    right[[3, 11, 12, 18]] = False
    best = Kept(Squares(), right)
    assert float((found.x - TRUTH).abs().max()) < 1.1 * error(best, target) + 1e-4
    assert found.evaluations == problem.evaluations == found.trace.rows[-1].evaluations
    assert error(Squares(), target) > 1


def test_widths_fall_by_the_same_factor() -> None:
    assert widths(8.0, 1.0, 4) == pytest.approx([8.0, 4.0, 2.0, 1.0]) and widths(8.0, 1.0, 1) == [1.0]


def test_a_continuation_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one stage"):
        continuation(LevenbergMarquardt(), Counted(lambda x: x), [], torch.zeros(1))
