"""The lecture's small examples run, and show what the documentation says they show."""

import runpy
import sys
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "lecture"
PAGE = (ROOT / "docs" / "derivatives.md").read_text("utf-8")


def run(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return runpy.run_path(str(FOLDER / name))


def drawn(folder: Path, *names: str) -> None:
    """The example drew these figures, and the page shows them."""
    for name in names:
        ElementTree.fromstring((folder / name).read_text("utf-8"))
        assert (ROOT / "docs" / "pictures" / "derivatives" / name).exists()
        assert f"pictures/derivatives/{name}" in PAGE


def test_finite_differences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweeps = dict(run("finite_differences.py", monkeypatch, str(tmp_path))["sweeps"])
    assert sweeps["central"].least_error < sweeps["forward"].least_error / 30
    assert sweeps["central"].best_step > sweeps["forward"].best_step
    assert sweeps["central, float32"].least_error > 1e3 * sweeps["central"].least_error
    drawn(tmp_path, "v_curve.svg")


def test_smoothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("smoothing.py", monkeypatch, str(tmp_path))
    drawn(tmp_path, "heaviside.svg", "rectifier.svg", "leaky_rectifier.svg")


def test_soft_margin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At the last, narrow width: the gradient is zero, and the plane classifies nearly all points."""
    example = run("soft_margin.py", monkeypatch)
    unknowns = example["unknowns"]
    assert example["gradient"](lambda u: example["objective"](u, 0.01), unknowns).norm() < 1e-6
    assert (example["constraints"](unknowns) > -1).sum() >= 36
    assert "has the derivative [0.0, 0.0, 0.0]" in capsys.readouterr().out


def test_pseudo_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """With equal singular values, only the closed form is right."""
    by_svd, by_power, closed = run("pseudo_inverse.py", monkeypatch)["errors"]
    assert not by_svd < 1e-4 and not by_power < 1e-2
    assert closed < 1e-6


def test_differentiate_the_right_thing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = run("differentiate_the_right_thing.py", monkeypatch, str(tmp_path))
    rows = zip(example["counts"], example["unrolled"], example["implicit"], strict=True)
    assert median(unrolled / implicit for count, unrolled, implicit in rows if count >= 40) > 3
    drawn(tmp_path, "unrolling.svg")


def test_the_page_names_every_example_and_every_module() -> None:
    for file in sorted(FOLDER.glob("*.py")):
        assert f"examples/lecture/{file.name}" in PAGE
    for module in sorted((ROOT / "pipeline" / "derivatives").glob("[a-z]*.py")):
        assert f"`{module.stem}`" in PAGE, module.name


def test_the_pages_code_runs() -> None:
    blocks = [block.split("```")[0] for block in PAGE.split("```python\n")[1:]]
    assert blocks
    exec("\n".join(blocks), {})
