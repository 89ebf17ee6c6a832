"""The solvers reach what scipy reaches, stay inside the ranges, and count what they spend."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares, lsq_linear
from torch import Tensor

from pipeline.solve import adjoint_broyden, levenberg_marquardt
from pipeline.solve.box_qp import solve_box_qp
from pipeline.solve.priors import Prior, alike

INF = math.inf


def prior_of(
    mean: list[float],
    precision: float | list[float] = 0.0,
    sparsity: float | list[float] = 0.0,
    low: float | list[float] = -INF,
    high: float | list[float] = INF,
) -> Prior:
    def full(values: float | list[float]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64).expand(len(mean)).clone()

    return Prior(torch.tensor(mean, dtype=torch.float64), *map(full, (precision, sparsity, low, high)))


def optimum(residual: Callable[[Tensor], Tensor], prior: Prior, start: Tensor) -> Tensor:
    """scipy's minimiser of ½‖r‖² + prior. The prior completes to squares: more residuals."""
    free = (prior.low < prior.high).numpy()
    weight, pull = prior.precision.sqrt(), prior.sparsity / prior.precision.clamp(min=1e-300)
    assert bool(((prior.sparsity == 0) | (prior.precision > 0)).all())

    def full(z: np.ndarray) -> Tensor:
        x = prior.low.clone()
        x[torch.from_numpy(free)] = torch.from_numpy(z)
        return x

    def residuals(z: np.ndarray) -> np.ndarray:
        x = full(z)
        return torch.cat([residual(x), weight * (x - prior.mean + pull)]).numpy()

    bounds = (prior.low.numpy()[free], prior.high.numpy()[free])
    found = least_squares(
        residuals, start.numpy()[free], "3-point", bounds, method="dogbox", ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    return full(found.x)


# A quadratic over a box.


def random_qp(seed: int, size: int, condition: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Some bounds active, some absent, on one side or on both."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    basis = torch.linalg.qr(normal(size, size))[0]
    hessian = basis * torch.logspace(0, math.log10(condition), size, dtype=torch.float64) @ basis.T
    middle, half = normal(size), normal(size).abs() * 0.3 + 1e-3
    low, high = middle - half, middle + half
    low[torch.rand(size, generator=draw) < 0.3] = -INF
    high[torch.rand(size, generator=draw) < 0.3] = INF
    return (hessian + hessian.T) / 2, normal(size) * condition**0.5, low, high


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e5])
@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_box_qp_finds_the_minimum(size: int, condition: float) -> None:
    touched = 0
    for seed in range(10):
        hessian, gradient, low, high = random_qp(seed, size, condition)
        d = solve_box_qp(hessian, gradient, low, high)
        slope = (hessian @ d + gradient) / gradient.abs().max()
        at_low, at_high = d == low, d == high
        assert bool(((d >= low) & (d <= high)).all())
        assert slope[~at_low & ~at_high].abs().sum() < 1e-8  # nowhere to go, and only outward at a bound
        assert bool((slope[at_low] > -1e-8).all()) and bool((slope[at_high] < 1e-8).all())
        touched += int((at_low | at_high).sum())

        root = torch.linalg.cholesky(hessian)
        right = -torch.linalg.solve_triangular(root, gradient[:, None], upper=False)[:, 0]
        scipys = lsq_linear(root.T.numpy(), right.numpy(), (low.numpy(), high.numpy()), "bvls", 1e-14)
        assert d.numpy() == pytest.approx(scipys.x, abs=1e-6)
    assert touched > 0


def test_box_qp_keeps_a_coordinate_without_room() -> None:
    hessian, gradient, low, high = random_qp(3, 12, 1e2)
    low[[2, 5]] = high[[2, 5]] = torch.tensor([0.4, -0.7], dtype=torch.float64)
    d = solve_box_qp(hessian, gradient, low, high)
    assert d[[2, 5]].tolist() == [0.4, -0.7]

    rest = [i for i in range(12) if i not in (2, 5)]  # the others are at their best, given these two
    moved = gradient + hessian[:, [2, 5]] @ d[[2, 5]]
    alone = solve_box_qp(hessian[rest][:, rest], moved[rest], low[rest], high[rest])
    assert torch.allclose(d[rest], alone, atol=1e-10)


def test_box_qp_without_any_room() -> None:
    hessian, gradient, low, _ = random_qp(1, 5, 10.0)
    low = low.clamp(min=-1.0)
    assert torch.equal(solve_box_qp(hessian, gradient, low, low), low)


def test_box_qp_without_bounds_solves_the_equations() -> None:
    hessian, gradient, low, _ = random_qp(1, 20, 1e3)
    free = torch.full_like(low, INF)
    expected = torch.linalg.solve(hessian, -gradient)
    assert torch.allclose(solve_box_qp(hessian, gradient, -free, free), expected, rtol=1e-9)


# The prior.


def mixed_prior() -> Prior:
    return prior_of([0.0, 0.5, -1.0], [0.5, 4.0, 0.0], [3.0, 0.0, 0.0], [0.0, -1.0, -INF], [1.0, 2.0, INF])


@pytest.mark.parametrize("coupling", [None, alike([(0, 2), (1, 2)], 3.0, 3)])
def test_the_priors_gradient_is_that_of_its_value(coupling: Tensor | None) -> None:
    prior, x = (
        replace(mixed_prior(), coupling=coupling),
        torch.tensor([[0.3, 0.9, 5.0], [1.0, -0.2, 0.0]], dtype=torch.float64),
    )
    assert prior.value(x).shape == (2,)
    for i in range(3):
        h = torch.zeros(3, dtype=torch.float64)
        h[i] = 1e-3
        slope = (prior.value(x + h) - prior.value(x - h)) / 2e-3
        assert torch.allclose(prior.gradient(x)[:, i], slope, atol=1e-9)


def test_project_gives_the_nearest_point_in_the_ranges() -> None:
    x = torch.tensor([-0.4, 3.0, -99.0], dtype=torch.float64)
    assert mixed_prior().project(x).tolist() == [0.0, 2.0, -99.0]


def test_a_gradient_that_pushes_out_of_the_ranges_counts_as_none() -> None:
    prior, x = mixed_prior(), torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    outward = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)  # descent goes the other way
    assert prior.projected_gradient(x, outward).tolist() == [0.0, 0.0, 1.0]
    assert torch.equal(prior.projected_gradient(x, -outward), -outward)


# Levenberg–Marquardt.


def solve_lm(residual: Callable[[Tensor], Tensor], prior: Prior, start: Tensor) -> Tensor:
    def residual_and_jacobian(x: Tensor) -> tuple[Tensor, Tensor]:
        return residual(x), torch.func.jacfwd(residual)(x)

    return levenberg_marquardt.minimize(residual_and_jacobian, residual, prior, start, 200, 1e-14)


def rosenbrock(x: Tensor) -> Tensor:
    return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def decay(x: Tensor) -> Tensor:
    """a·exp(−b·t) + c against samples of a curve with c < 0."""
    t = torch.linspace(0, 3, 40, dtype=torch.float64)
    measured = 2.0 * torch.exp(-1.3 * t) - 0.4 + 0.02 * torch.sin(17 * t)
    return x[0] * torch.exp(-x[1] * t) + x[2] - measured


LEAST_SQUARES = {
    "rosenbrock": (rosenbrock, prior_of([0.0, 0.0]), [-1.2, 1.0]),
    "rosenbrock, bounded": (rosenbrock, prior_of([0.0, 0.0], high=[0.5, INF]), [-1.2, 1.0]),
    "decay": (decay, prior_of([0.0] * 3), [1.0, 0.5, 0.0]),
    "decay, bounded": (decay, prior_of([0.0] * 3, low=[0.0, 0.0, -0.1]), [1.0, 0.5, 0.0]),
    "decay, held": (decay, prior_of([0.0] * 3, low=[0.0, 1.0, -1.0], high=[9.0, 1.0, 1.0]), [1.0, 0.5, 0.0]),
    "decay, prior": (decay, prior_of([1.0, 2.0, 0.0], 1.5, [0.3, 0.0, 0.1]), [1.0, 0.5, 0.0]),
}


@pytest.mark.parametrize("case", LEAST_SQUARES)
def test_levenberg_marquardt_finds_the_minimum(case: str) -> None:
    residual, prior, start = LEAST_SQUARES[case]
    first = prior.project(torch.tensor(start, dtype=torch.float64))
    x = solve_lm(residual, prior, first)
    assert torch.equal(x, prior.project(x))
    assert torch.allclose(x, optimum(residual, prior, first), atol=1e-5)


def test_levenberg_marquardt_stops_after_so_many_steps() -> None:
    calls = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return rosenbrock(x)

    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    levenberg_marquardt.minimize(
        lambda x: (rosenbrock(x), torch.func.jacfwd(rosenbrock)(x)), counted, prior_of([0.0] * 2), start, 3
    )
    assert calls == 4  # the start, too


# Gauss–Newton with an estimated Jacobian.

SIZE, CONTROLS = 20, 5
RANDOM = torch.Generator().manual_seed(5)
MATRIX = torch.randn(SIZE, CONTROLS, generator=RANDOM, dtype=torch.float64)
AIM = torch.rand(CONTROLS, generator=RANDOM, dtype=torch.float64)
NOISE = torch.randn(SIZE, generator=RANDOM, dtype=torch.float64)
WRONG = torch.randn(SIZE, CONTROLS, generator=RANDOM, dtype=torch.float64)


def linear(x: Tensor) -> Tensor:
    return MATRIX @ (x - AIM) + 0.1 * NOISE


def curved(x: Tensor) -> Tensor:
    return linear(x) + 0.3 * torch.sin(3 * MATRIX @ x)


class Misled:
    """A problem whose stand-in has other lengths and directions than the true Jacobian; counts its passes."""

    def __init__(self, function: Callable[[Tensor], Tensor] = curved) -> None:
        self.function = function
        self.forward = self.backward = self.stand_ins = 0
        self.seen: list[Tensor] = []

    def residual(self, x: Tensor) -> Tensor:
        self.forward += 1
        self.seen.append(x)
        return self.function(x)

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, adjoint_broyden.Vjp]:
        residual, pull, *_ = torch.func.vjp(self.function, x)
        self.forward += 1
        self.seen.append(x)

        def vjp(v: Tensor) -> Tensor:
            self.backward += 1
            return pull(v)[0]

        return residual, vjp

    def stand_in(self, x: Tensor) -> Tensor:
        self.stand_ins += 1
        lengths = torch.tensor([0.6, 1.5, 0.8, 1.0, 1.3], dtype=torch.float64)
        return MATRIX * lengths + 0.3 * WRONG


START = torch.full((CONTROLS,), 0.5, dtype=torch.float64)
MILD = prior_of([0.0] * CONTROLS, 0.2, [0.3, 0.0, 0.3, 0.0, 0.0], 0.0, 1.0)


def objective(x: Tensor, prior: Prior = MILD) -> float:
    return float(0.5 * curved(x).square().sum() + prior.value(x))


@pytest.mark.parametrize("refresh", [True, False])
def test_backward_passes_lead_to_the_true_minimum(refresh: bool) -> None:
    problem = Misled()
    found = adjoint_broyden.minimize(problem, MILD, START, 200, refresh=refresh, tolerance=1e-13)
    assert found.status == "converged"
    assert torch.allclose(found.x, optimum(curved, MILD, START), atol=1e-4)
    assert torch.equal(found.residual, curved(found.x))


def test_secants_alone_lead_downhill() -> None:
    problem = Misled()
    found = adjoint_broyden.minimize(problem, MILD, START, 10, gradients=False)
    best = objective(optimum(curved, MILD, START))
    assert objective(found.x) - best < 0.2 * (objective(START) - best)
    assert problem.backward == 0


def test_a_stand_in_that_points_uphill_is_corrected() -> None:
    class Backward(Misled):
        def stand_in(self, x: Tensor) -> Tensor:
            return -MATRIX

    wide = prior_of([0.0] * CONTROLS, 1e-6)
    found = adjoint_broyden.minimize(Backward(linear), wide, START, 60, tolerance=1e-10)
    assert torch.allclose(found.x, optimum(linear, wide, START), atol=1e-3)


@pytest.mark.parametrize("gradients", [True, False])
def test_every_pass_is_counted_for(gradients: bool) -> None:
    problem, heard = Misled(), []
    found = adjoint_broyden.minimize(problem, MILD, START, 7, gradients, on_step=heard.append, tolerance=0.0)
    accepted = int(found.trace.column("accepted")[1:-1].sum())  # the last point is never left
    assert problem.forward == len(found.trace) == found.trace.rows[-1].evaluations == 8
    assert len(heard) == 7 and torch.equal(heard[-1], found.residual)
    assert problem.stand_ins == 1 + accepted
    assert problem.backward == (1 + accepted if gradients else 0)


def test_without_refresh_the_stand_in_is_asked_once() -> None:
    problem = Misled()
    adjoint_broyden.minimize(problem, MILD, START, 7, refresh=False, tolerance=0.0)
    assert problem.stand_ins == 1


def test_the_objective_never_rises() -> None:
    values: list[float] = []
    problem = Misled()
    found = adjoint_broyden.minimize(
        problem, MILD, START, 15, tolerance=0.0, on_step=lambda r: values.append(float(r.square().sum()))
    )
    assert objective(found.x) <= min(objective(x) for x in problem.seen) + 1e-12


def test_no_iterations_leave_the_start() -> None:
    problem = Misled()
    found = adjoint_broyden.minimize(problem, MILD, START, 0)
    assert torch.equal(found.x, START) and found.status == "max_iterations" and problem.forward == 1


def test_too_few_iterations_are_reported() -> None:
    found = adjoint_broyden.minimize(Misled(), MILD, START, 1, tolerance=0.0)
    assert found.status == "max_iterations" and len(found.trace) == 2


def test_promises_that_are_not_kept_are_reported() -> None:
    class Worsening(Misled):
        """Whatever the controls do, it is worse than before, each time in another way."""

        def residual(self, x: Tensor) -> Tensor:
            worse = torch.zeros(SIZE, dtype=torch.float64)
            worse[self.forward] = 3.0 * self.forward
            self.forward += 1
            return linear(START) + worse

    problem = Worsening()
    found = adjoint_broyden.minimize(problem, MILD, START, 20, gradients=False, tolerance=0.0)
    assert found.status == "stalled" and problem.forward == 9  # the start, and patience with eight
    assert torch.equal(found.x, START)


def test_ranges_and_held_controls_are_kept_at_every_evaluation() -> None:
    low, high = [0.0, 0.0, 0.35, 0.0, 0.0], [0.1, 1.0, 0.35, 0.2, 1.0]
    prior, problem = prior_of([0.0] * CONTROLS, low=low, high=high), Misled()
    found = adjoint_broyden.minimize(problem, prior, START, 200, tolerance=1e-13)
    for x in problem.seen:
        assert torch.equal(x, prior.project(x)) and float(x[2]) == 0.35
    assert torch.allclose(found.x, optimum(curved, prior, prior.project(START)), atol=1e-4)


def test_the_estimate_takes_over_the_backward_pass_exactly() -> None:
    problem = Misled(linear)
    wide = prior_of([0.0] * CONTROLS, 1e-6)
    found = adjoint_broyden.minimize(problem, wide, START, 1, tolerance=INF)  # no step is worth it: no secant
    assert found.correction is not None
    estimate, r = problem.stand_in(START) + found.correction, linear(START)
    assert found.status == "converged" and problem.forward == 1
    assert not torch.allclose(problem.stand_in(START).T @ r, MATRIX.T @ r, rtol=0.1)
    assert torch.allclose(estimate.T @ r, MATRIX.T @ r, rtol=1e-10)


def test_the_estimate_takes_over_the_last_step_exactly() -> None:
    problem = Misled()
    found = adjoint_broyden.minimize(problem, MILD, START, 1, gradients=False)
    before, after = problem.seen
    assert not torch.equal(before, after)
    assert found.correction is not None
    estimate = problem.stand_in(START) + found.correction
    assert torch.allclose(estimate @ (after - before), curved(after) - curved(before), rtol=1e-9)


def test_a_later_stage_may_start_from_what_was_learnt() -> None:
    wide = prior_of([0.0] * CONTROLS, 1e-6)
    first = adjoint_broyden.minimize(Misled(linear), wide, START, 30, tolerance=1e-12)
    fresh = adjoint_broyden.minimize(Misled(linear), wide, START, 1, gradients=False, tolerance=0.0)
    taught = adjoint_broyden.minimize(
        Misled(linear), wide, START, 1, gradients=False, correction=first.correction, tolerance=0.0
    )
    best = float(linear(optimum(linear, wide, START)).square().sum())
    assert float(taught.residual.square().sum()) - best < 0.1 * (float(fresh.residual.square().sum()) - best)
