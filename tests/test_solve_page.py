"""docs/solvers.md: its example runs, and it names what there is."""

import re
from pathlib import Path

import pytest
import torch

from pipeline.solve.solver import Solution

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "solvers.md").read_text("utf-8")


def test_the_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(example, names)
    solution = names["solution"]
    assert isinstance(solution, Solution) and solution.statuses == ["converged", "converged"]
    assert torch.allclose(solution.x, torch.tensor([0.5, 0.25]).double(), atol=1e-6)
    assert len((tmp_path / "trace.csv").read_text().splitlines()) == 1 + 2 * len(solution.trace)


def test_every_file_is_named() -> None:
    unsaid = {"__init__", "descent", "solver", "problem", "quadratic_model", "trace"}
    for file in (ROOT / "pipeline" / "solve").glob("*.py"):
        assert file.stem in unsaid or f"{file.stem}.py" in PAGE or file.stem in PAGE, file.name
