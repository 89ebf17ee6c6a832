"""Every solver on every standard problem."""

from functools import cache

import pytest
import torch
from solve_problems import CURVED, FIRST_ORDER, PROBLEMS, SOLVERS, Counted, Standard

from pipeline.solve.solver import Solution

STEPS = {"default rig": 40}  # of first-order solvers; the rig takes a while


@cache
def standard(name: str) -> Standard:
    return PROBLEMS[name]()


@cache
def optimum(name: str) -> float:
    return standard(name).optimum()


@cache
def solved(solver: str, name: str) -> tuple[Solution, Counted]:
    problem = standard(name).problem()
    steps = STEPS.get(name, 120) if solver in FIRST_ORDER else 100 if solver == "adjoint Broyden" else 200
    made = SOLVERS[solver](standard(name).metric(), steps)
    return made.minimize(problem, standard(name).prior, standard(name).start), problem


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("solver", CURVED)
def test_solvers_that_know_curvature_find_what_scipy_finds(solver: str, name: str) -> None:
    found, _ = solved(solver, name)
    assert float(found.value) == pytest.approx(optimum(name), rel=1e-6, abs=1e-8)
    assert found.status == "converged" or float(found.value) < 1e-8


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("solver", ["gradient descent", "momentum", "Nesterov"])
def test_line_searches_of_first_order_never_go_up(solver: str, name: str) -> None:
    found, _ = solved(solver, name)
    objective = found.trace.column("objective")
    assert bool((objective.diff() <= 0).all())
    excess = objective - optimum(name)
    assert float(excess[-1]) < 0.2 * float(excess[0])


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("solver", ["RMSprop", "Adam"])
def test_learning_rates_go_down_on_the_whole(solver: str, name: str) -> None:
    """Single steps may go up, as a rate of 0.02 is long for metres; on the whole the way leads down."""
    found, _ = solved(solver, name)
    excess = (found.trace.column("objective") - optimum(name)).clamp(min=0)
    quarters = torch.stack([part.mean() for part in excess.tensor_split(4)]) / excess[0]
    assert float(quarters.diff().max()) < 0.06
    assert float(quarters[2:].mean()) < 0.9 * float(quarters[:2].mean())
    assert float(excess[-1]) < 0.3 * float(excess[0])


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_returned_is_the_best_that_was_seen_and_in_the_box(solver: str, name: str) -> None:
    found, problem = solved(solver, name)
    one = standard(name)
    for x in problem.seen:
        assert torch.equal(x, one.prior.project(x))
    assert float(found.value) == pytest.approx(float(one.objective(found.x)), rel=1e-12, abs=1e-30)
    assert float(found.value) <= float(found.trace.column("tried").min())
    assert float(found.value) < float(one.objective(one.start))
    assert torch.equal(found.residual, one.function(found.x))


@pytest.mark.parametrize("solver", SOLVERS)
def test_passes_are_counted(solver: str) -> None:
    found, problem = solved(solver, "bounded")
    assert found.evaluations == problem.evaluations == len(found.trace)
    assert found.gradients == problem.gradients <= found.evaluations
    if solver != "adjoint Broyden":  # whose stand-in here is made of Jacobians
        assert found.jacobians == problem.jacobians <= found.evaluations
