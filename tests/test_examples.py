"""The examples run, and the README shows them word for word."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_readme_shows_the_example(example: Path) -> None:
    assert f"```python\n{example.read_text('utf-8')}```" in (ROOT / "README.md").read_text("utf-8")


def test_fit_photo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    result = runpy.run_path("examples/fit_photo.py")["result"]
    assert result.residual_final < result.residual_start
    printed = capsys.readouterr().out
    assert "mouthSmileLeft" in printed and "mouthSmileRight" in printed  # the astronaut smiles


def test_compose_layers(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "compose_layers.py"))
    gradient, controls = example["x1"].grad, example["rig"].controls
    assert gradient.isfinite().all()
    # The mouth has to open and the head to turn to its left.
    assert gradient[controls.index("jawOpen")] < 0
    assert gradient[controls.index("headRotationY")] < 0
    assert "jawOpen" in capsys.readouterr().out
