"""The page on layers of one's own shows the file, and what it says of it is so."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "layers"
PAGE = (ROOT / "docs" / "own_layer.md").read_text("utf-8")


def test_the_page_shows_the_layer_and_it_has_forty_lines() -> None:
    code = (FOLDER / "wrinkles.py").read_text("utf-8")
    assert f"```python\n{code}```" in PAGE
    assert len(code[code.index("class Wrinkles") :].splitlines()) <= 40


def test_it_has_a_jacobian_and_a_solver_goes_through_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    example = runpy.run_path(str(FOLDER / "use_wrinkles.py"))
    assert (example["found"] - example["frown"][example["places"]]).abs().max() < 1e-3
    for line in capsys.readouterr().out.splitlines():
        assert line in PAGE
