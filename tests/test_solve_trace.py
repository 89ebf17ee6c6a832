"""What a solver did can be read, drawn and added up."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from solve_problems import Counted, Standard, anywhere, bounded, rosenbrock, vector

from pipeline.errors import ChainRigError
from pipeline.solve.gradient_descent import GradientDescent
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.solver import Solution
from pipeline.solve.trace_files import draw, write_trace


def rosenbrock_run(*batch: int) -> Solution:
    start = vector(-1.2, 1.0).expand(*batch, 2)
    return LevenbergMarquardt(steps=20).minimize(
        Counted(rosenbrock), anywhere(2), start, measure=lambda r: 100 * r.norm(dim=-1)
    )


def test_a_row_tells_what_a_step_did() -> None:
    found = rosenbrock_run()
    trace = found.trace
    objective, tried, accepted = (trace.column(name) for name in ("objective", "tried", "accepted"))
    assert len(trace) == 21 == found.evaluations and trace.solver == "LevenbergMarquardt"
    assert torch.equal(objective[1:], torch.where(accepted[1:], tried[1:], objective[:-1]))
    assert float(objective[0]) == pytest.approx(12.1) and float(trace.column("step")[0]) != 0  # NaN: no step
    assert torch.allclose(trace.column("residual"), 100 * (2 * objective).sqrt())
    kept = trace.column("gain")[1:] * trace.column("predicted")[1:]
    assert torch.allclose(kept, objective[:-1] - tried[1:])
    assert float(trace.column("damping")[1]) == pytest.approx(1e-3)
    rejected = (~accepted[1:-1]).nonzero().flatten()
    assert len(rejected) and bool(
        (trace.column("damping")[rejected + 2] > trace.column("damping")[rejected + 1]).all()
    )


def test_gradient_norms_go_to_zero_although_the_box_is_pushed_at() -> None:
    one: Standard = bounded()
    found = GradientDescent().minimize(one.problem(), one.prior, one.start)
    norms = found.trace.column("gradient_norm")[1:]
    assert float(norms[-1]) < 1e-4 * float(norms[0])
    assert bool((found.x == 0).any() and (found.x == 1).any())


def test_without_a_measure_the_residual_is_unknown() -> None:
    found = LevenbergMarquardt().minimize(Counted(rosenbrock), anywhere(2), vector(-1.2, 1.0))
    assert bool(found.trace.column("residual").isnan().all())


@pytest.mark.parametrize("batch", [(), (3,)])
def test_csv_and_json_hold_every_row_of_every_item(tmp_path: Path, batch: tuple[int, ...]) -> None:
    trace, items = rosenbrock_run(*batch).trace, max(1, *batch, 1)
    for ending in ("csv", "json"):
        write_trace(trace, tmp_path / f"trace.{ending}")
    rows = list(csv.DictReader((tmp_path / "trace.csv").read_text().splitlines()))
    document = json.loads((tmp_path / "trace.json").read_text())
    assert len(rows) == len(document["rows"]) == items * len(trace)
    assert document["schema"] == "chainrig.trace/1" and document["solver"] == "LevenbergMarquardt"
    assert document["rows"][0]["gain"] is None  # NaN is no JSON
    for row, entry in zip(rows, document["rows"], strict=True):
        assert list(row) == list(entry)
        assert float(row["objective"]) == entry["objective"]
    assert [entry["item"] for entry in document["rows"][:items]] == list(range(items))
    assert document["rows"][-1]["evaluations"] == len(trace)


def test_a_drawing_shows_every_item(tmp_path: Path) -> None:
    write_trace(rosenbrock_run(3).trace, tmp_path / "trace.svg")
    texts = [e.text for e in ElementTree.parse(tmp_path / "trace.svg").iter() if e.tag.endswith("text")]
    assert {"item 0", "item 1", "item 2", "residual, % IOD", "evaluations"} <= set(texts)
    assert "LevenbergMarquardt: residual" in texts


def test_an_objective_is_drawn_where_nothing_was_measured() -> None:
    found = LevenbergMarquardt().minimize(Counted(rosenbrock), anywhere(2), vector(-1.2, 1.0))
    assert "LevenbergMarquardt: objective" in draw(found.trace)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match=r"trace\.png: let it end in \.csv, \.json or \.svg"):
        write_trace(rosenbrock_run().trace, tmp_path / "trace.png")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="cannot be written to .*nowhere"):
        write_trace(rosenbrock_run().trace, tmp_path / "nowhere" / "trace.csv")


def test_two_stages_are_one_run() -> None:
    first, second = rosenbrock_run(), rosenbrock_run()
    both = first.then(second)
    assert both.evaluations == both.trace.rows[-1].evaluations == 42
    assert both.trace.column("evaluations").tolist() == list(range(1, 43))
    assert torch.equal(both.x, second.x)
