"""What benchmarks/accuracy.py says of photographs: the example's fit, and made-up ones."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluated import fit_result

from pipeline import assets
from pipeline.evaluation.row import Row, row_of

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import accuracy  # noqa: E402  # pyright: ignore[reportMissingImports]

EXAMPLE = assets.path("example.png")


def made(name: str, start: float, final: float, smile: float, brow: float, evaluations: int = 20) -> Row:
    """A row of three expressions."""
    controls = {"browDownLeft": brow, "mouthSmileLeft": smile, "mouthSmileRight": smile}
    result = fit_result(
        controls=controls, residual_start=start, residual_final=final, evaluations=evaluations
    )
    return row_of(name, result)


ROWS = [
    made("001_neutral", 2.0, 0.5, smile=0.1, brow=0.2),
    made("001_smiling", 2.0, 0.25, smile=0.8, brow=0.0, evaluations=14),
    made("002_neutral", 2.0, 0.75, smile=0.0, brow=0.3),
    made("002_smiling", 1.0, 1.5, smile=0.25, brow=0.0),
    Row("003_neutral", "failed", "no face found"),
]


def test_the_example_is_fitted_and_its_row_says_so() -> None:
    row = accuracy.fit(EXAMPLE, ["fit.iterations=2"])
    told = accuracy.record(row)
    assert told["photo"] == "example" and told["status"] in ("converged", "stalled", "max_iterations")
    assert told["final"] < 0.8 * told["start"] and told["final"] < 1.5
    assert 3 <= told["evaluations"] <= 8 and told["gradients"] >= 2
    yaw_pitch_focal = told["yaw_pitch_focal"]
    assert len(yaw_pitch_focal) == 3 and yaw_pitch_focal[2] > 500
    # she smiles, and does little else
    assert told["smile"] > 0.3 and told["largest_expression"] >= told["smile"] > 4 * told["mean_expression"]
    assert accuracy.summary([row])["final_mean"] == told["final"]
    assert "smile_rise_mean" not in accuracy.summary([row])  # nobody's neutral photo


def test_a_table_of_photos_comes_to_what_one_counts_by_hand() -> None:
    assert accuracy.summary(ROWS) == pytest.approx(
        {
            "photos": 5,
            "failed": 1,
            "final_mean": 0.75,
            "final_worst": 1.5,
            "not_below_start": 1,
            "evaluations_mean": 18.5,
            "evaluations_most": 20,
            "seconds_mean": 0.1,
            "neutral_mean_expression": (0.4 / 3 + 0.1) / 2,
            "neutral_median_largest": 0.25,
            "smile_rise_mean": (0.7 + 0.25) / 2,
            "smile_rise_least": 0.25,
        }
    )
    assert accuracy.summary(ROWS[-1:]) == {"photos": 1, "failed": 1}


def test_a_photo_without_a_face_is_a_line_and_not_the_end(tmp_path: Path) -> None:
    for name, content in {"empty.png": b"", "missing.png": None}.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        row = accuracy.fit(tmp_path / name, [])
        assert row.status == "failed" and name in row.reason
        assert accuracy.record(row) == {"photo": Path(name).stem, "failed": row.reason}


class Pool:
    """Of one worker, in this process."""

    def __init__(self, workers: int) -> None:
        pass

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    imap = staticmethod(map)


def test_what_is_done_is_kept_when_a_run_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, file = tmp_path / "photos", tmp_path / "kept.json"
    photos.mkdir()
    for row in ROWS:
        (photos / f"{row.path}.jpg").touch()
    (photos / "notes.txt").touch()
    file.write_text("of an earlier run")
    seen = []

    def fit(path: Path, settings: list[str]) -> Row:
        seen.append(json.loads(file.read_text())["photos"] if seen else [])
        if path.stem == "003_neutral":
            raise KeyboardInterrupt
        return next((row for row in ROWS if row.path == path.stem), made("example", 2.0, 0.5, 0.5, 0.0))

    monkeypatch.setattr(accuracy, "fit", fit)
    monkeypatch.setattr(accuracy.multiprocessing, "get_context", lambda _: type("", (), {"Pool": Pool}))
    command = ["accuracy.py", str(photos), "--json", str(file), "--set", "fit.iterations=1"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(KeyboardInterrupt):
        accuracy.main()
    assert [len(rows) for rows in seen] == [0, 1, 2, 3, 4, 5]  # after every photo one more
    kept = json.loads(file.read_text())
    assert [row["photo"] for row in kept["photos"]] == ["example", *(row.path for row in ROWS[:4])]
    assert kept["summary"]["smile_rise_least"] == pytest.approx(0.25)
    assert kept["settings"] == ["fit.iterations=1"]
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "kept.json"}  # no drafts
    assert "001_smiling        2.00   0.25    14" in capsys.readouterr().out
