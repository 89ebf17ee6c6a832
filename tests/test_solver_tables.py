"""The tables of docs/solvers.md: how they are measured, on the example and a small problem, and that they are
those of the committed figures."""

import json
import re
import sys
from pathlib import Path

import pytest
from solve_problems import PROBLEMS, SOLVERS

from pipeline import assets
from pipeline.config import load_config
from pipeline.fit import FaceFitter

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import solver_problems  # noqa: E402  # pyright: ignore[reportMissingImports]
import solvers  # noqa: E402  # pyright: ignore[reportMissingImports]

STEPS = 2


@pytest.fixture(scope="module")
def example() -> solvers.Runs:
    """Two steps of every solver on the example photo, and a fit of two steps."""
    fitter = FaceFitter(load_config(None, [f"fit.iterations={STEPS}"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "loaded", lambda: fitter)
        name, runs = solvers.measure(assets.path("example.png"), STEPS)
    assert name == "example.png"
    return runs


def test_all_start_at_the_same_place_and_nobody_ends_above_it(example: solvers.Runs) -> None:
    compared = {solver: rows for solver, rows in example.items() if solver != solvers.STAGED}
    assert len({(rows[0]["objective"], rows[0]["residual"]) for rows in compared.values()}) == 1
    for solver, rows in example.items():
        assert rows[0]["residual"] > 1 or solver == solvers.STAGED
        assert rows[-1]["residual"] <= rows[0]["residual"], solver
    for rows in compared.values():
        values = [row["objective"] for row in rows]
        assert values == sorted(values, reverse=True)
    ends = {solver: rows[-1]["objective"] for solver, rows in compared.items()}
    first = next(iter(compared.values()))[0]["objective"]
    assert all(end < first for end in ends.values())
    for solver in ("adjoint Broyden, chain", "adjoint Broyden, hybrid", "Levenberg–Marquardt"):
        assert ends[solver] < 0.5 * first, solver  # two steps are enough to see it fall


def test_what_is_counted_is_what_was_spent(example: solvers.Runs) -> None:
    for solver, rows in example.items():
        for before, after in zip(rows, rows[1:], strict=False):
            assert after["evaluations"] > before["evaluations"] and after["seconds"] > before["seconds"]
            assert after["gradients"] >= before["gradients"]
        assert 1 < rows[-1]["evaluations"] <= STEPS + 1 + (solver == solvers.STAGED), solver
        by_stand_in = solver in ("Gauss–Newton", "Levenberg–Marquardt", "dogleg", "column space")
        if by_stand_in or solver == "adjoint Broyden, embedding":
            assert rows[-1]["gradients"] == 0, solver
        else:
            assert rows[-1]["gradients"] > 0, solver


def run(*rows: tuple[float, float, int, float]) -> list[dict[str, float]]:
    """Of f, residual, evaluations and seconds."""
    return [
        {"objective": f, "residual": r, "evaluations": n, "gradients": n - 1, "seconds": s}
        for f, r, n, s in rows
    ]


MADE = {
    "a.png": {
        "quick": run((30, 2, 1, 0.0), (10.1, 0.5, 2, 1.0), (10, 0.45, 3, 2.0)),
        "slow": run((30, 2, 1, 0.0), (20, 1, 2, 1.0), (15, 0.4, 3, 9.0)),
        solvers.STAGED: run((30, 2, 1, 0.0), (9, 0.1, 5, 3.0)),
    },
    "b.png": {
        "quick": run((40, 2, 1, 0.0), (30, 1, 2, 1.0), (20, 0.6, 3, 2.5)),
        "slow": run((40, 2, 1, 0.0), (35, 1, 2, 1.0), (25, 0.601, 4, 9.0)),
        solvers.STAGED: run((40, 2, 1, 0.0), (36, 0.9, 5, 3.0)),
    },
}


def test_a_level_is_near_the_least_of_all_solvers_but_not_of_a_fit_in_stages() -> None:
    _, _, quick, slow, staged = solvers.table(MADE).splitlines()
    # f of a: 10.2, of b: 20.4; residuals 0.408 and 0.612
    assert quick == "| quick | 2 of 2 | 3 | 2 | 2.5 | 15.00 | 1 of 2 | – | – | 0.525 |"
    assert slow == "| slow | 0 of 2 | – | – | – | 20.00 | 2 of 2 | 4 | 9.0 | 0.500 |"
    assert staged == f"| {solvers.STAGED} | 1 of 2 | – | – | – | 22.50 | 1 of 2 | – | – | 0.500 |"


def test_the_page_shows_the_committed_figures() -> None:
    page = (ROOT / "docs" / "solvers.md").read_text("utf-8")
    photos = json.loads(solvers.RESULTS.read_text("utf-8"))["photos"]
    problems = json.loads(solver_problems.RESULTS.read_text("utf-8"))
    for marker, table in (
        ("solvers", solvers.table(photos)),
        ("solver_problems", solver_problems.table(problems)),
    ):
        (shown,) = re.findall(f"<!-- {marker} -->\n(.*?)\n<!-- /{marker} -->", page, re.DOTALL)
        assert shown == table
    assert problems.keys() == PROBLEMS.keys()
    for name, of in problems.items():
        assert of.keys() == SOLVERS.keys(), name
    case = {solver for runs in photos.values() for solver in runs}
    assert case == {*solvers.solvers(1, *2 * [solvers.torch.zeros(1)]), solvers.STAGED}
    for name, runs in photos.items():
        for solver, rows in runs.items():
            assert rows[-1]["residual"] <= rows[0]["residual"], (name, solver)  # nobody ends above


def test_a_small_problem_is_measured_as_the_page_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = json.loads(solver_problems.RESULTS.read_text("utf-8"))["toy rig"]
    few = ("gradient descent", "L-BFGS", "Gauss–Newton", "dogleg", "adjoint Broyden")
    monkeypatch.setattr(solver_problems, "SOLVERS", {name: SOLVERS[name] for name in few})
    found = solver_problems.measure("toy rig")
    for solver, row in found.items():
        assert row["evaluations_until_near"] == pytest.approx(kept[solver]["evaluations_until_near"], abs=2)
        assert row["left"] <= 1e-6 and row["evaluations"] >= row["evaluations_until_near"]
        assert row["status"] in ("converged", "max_iterations")
    assert found["gradient descent"]["jacobians"] == 0 < found["Gauss–Newton"]["jacobians"]
    assert found["Gauss–Newton"]["gradients"] == 0 < found["L-BFGS"]["gradients"]
    cells = solver_problems.table({"toy rig": found}).splitlines()
    assert cells[2] == f"| gradient descent | {found['gradient descent']['evaluations_until_near']} |"
    rosenbrock = solver_problems.table(
        {"x": {name: row | {"evaluations_until_near": None, "left": 0.0123} for name, row in found.items()}}
    )
    assert "| L-BFGS | 1e-02 left |" in rosenbrock
