"""`chainrig evaluate` as a person meets it; the last test fits for real, in two processes."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from evaluated import fit_result, image, labelled, labels_document, stub_fitter, write
from PIL import Image
from typer.testing import CliRunner, Result

from pipeline import assets
from pipeline.commands.evaluate import evaluate
from pipeline.errors import ChainRigError
from pipeline.result import FitResult
from pipeline.target.labels.labels import Labels

app = typer.Typer()
app.command()(evaluate)
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs the command on tmp_path/images in this process."""

    def command(*options: object, folder: Path = tmp_path / "images") -> Result:
        arguments = [folder, "--out", tmp_path / "out", "--workers", 1, *options]
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)

    return command


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A pair with a truth and labels, an image without a face, and a file that is no image."""
    folder = tmp_path / "images"
    for name in ("ann_neutral.png", "ann_smile.png"):
        image(folder / name)
    image(folder / "wall.png", "black")
    write(folder / "broken.jpg", "no image")
    write(folder / "ann_neutral.truth.json", {"jawOpen": 0.3})
    write(folder / "ann_smile.json", labels_document(fit_result().projected68.clamp(0, 60) / 2 + 10))
    return folder


def by_name(path: Path, labels: Labels | None) -> FitResult:
    smile = 0.7 if "smile" in path.name else 0.1
    controls = {"jawOpen": 0.2, "mouthSmileLeft": smile, "mouthSmileRight": smile}
    fit = fit_result(controls=controls, residual_final=0.8 if "smile" in path.name else 0.4)
    return fit if labels is None else fit_result(controls=controls, labels=labelled(labels))


def rows(tmp_path: Path) -> dict[str, dict[str, str]]:
    text = (tmp_path / "out" / "evaluation.csv").read_text()
    return {row["path"]: row for row in csv.DictReader(text.splitlines())}


def document(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "out" / "evaluation.json").read_text())


def test_every_image_is_a_row_and_a_bad_one_says_why(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_fitter(monkeypatch, by_name)
    done = command("--set", "fit.iterations=5")
    assert done.exit_code == 0
    found = rows(tmp_path)
    assert list(found) == ["ann_neutral.png", "ann_smile.png", "broken.jpg", "wall.png"]
    assert found["wall.png"]["status"] == "failed" and "no face" in found["wall.png"]["reason"]
    assert found["broken.jpg"]["reason"].startswith("broken.jpg is not an image")
    neutral = found["ann_neutral.png"]
    assert float(neutral["jawOpen"]) == 0.2 and float(neutral["residual_final_percent"]) == 0.4
    assert float(neutral["control_error_active"]) == pytest.approx(0.1) and not neutral["label_points"]
    assert found["ann_smile.png"]["label_points"] == "52"

    told = document(tmp_path)
    assert told["complete"] and told["settings"]["fit"]["iterations"] == 5 and told["versions"]["torch"]
    assert told["summary"]["smile"]["rise_mean"] == pytest.approx(0.6)
    assert [row["path"] for row in told["rows"]] == list(found)
    assert "controls" in told["rows"][0]["found"] and "found" not in told["rows"][3]
    with Image.open(tmp_path / "out" / "histogram.png") as picture:
        assert picture.width > 600

    words = " ".join(done.stdout.split())
    assert words.index("wall.png failed") < words.index("ann_smile.png 1.00 0.80")
    assert words.index("ann_smile.png 1.00 0.80") < words.index("ann_neutral.png 1.00 0.40")
    assert "4, 2 fitted, 2 failed" in words and "rises by 0.60" in words


def test_labels_judge_and_are_the_target_only_when_asked(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bool] = {}

    def fit(path: Path, labels: Labels | None) -> FitResult:
        seen[path.name] = labels is not None
        return by_name(path, labels)

    stub_fitter(monkeypatch, fit)
    command("--quiet")
    assert seen == {"ann_neutral.png": False, "ann_smile.png": False}
    command("--fit-to-labels", "--quiet")
    assert seen == {"ann_neutral.png": False, "ann_smile.png": True}
    told = document(tmp_path)
    assert [row["found"]["target"] for row in told["rows"][:2]] == ["detector", "labels"]
    assert told["fit_to_labels"] and told["summary"]["labels"]["images"] == 1


def test_labels_of_another_size_are_a_row_with_a_reason(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_fitter(monkeypatch, by_name)
    write(images / "ann_smile.json", labels_document(torch.full((68, 2), 5000.0)))
    assert command().exit_code == 0
    assert "another photo" in rows(tmp_path)["ann_smile.png"]["reason"]


def test_json_and_quiet(command: Command, images: Path, tmp_path: Path, monkeypatch) -> None:
    stub_fitter(monkeypatch, by_name)
    printed = json.loads(command("--json").stdout)
    assert printed["rows"] == document(tmp_path)["rows"]
    assert command("--quiet").stdout == ""
    assert command("--quiet", "--limit", 1).exit_code == 0
    assert list(rows(tmp_path)) == ["ann_neutral.png"]


def test_numbers_that_are_none_do_not_break_the_files(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_fitter(monkeypatch, lambda path, labels: fit_result(residual_final=float("nan")))
    assert command().exit_code == 0
    assert document(tmp_path)["rows"][0]["found"]["residual_final_percent"] is None
    assert rows(tmp_path)["ann_smile.png"]["residual_final_percent"] == ""


def test_an_interrupt_leaves_what_is_done(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(path: Path, labels: Labels | None) -> FitResult:
        if "smile" in path.name:
            raise KeyboardInterrupt
        return by_name(path, labels)

    stub_fitter(monkeypatch, fit)
    stopped = command("--quiet")
    assert stopped.exit_code != 0 and "stopped after 1 of 4 images" in stopped.stderr
    assert list(rows(tmp_path)) == ["ann_neutral.png"]
    assert document(tmp_path)["complete"] is False


def test_a_mistake_of_ours_is_told_and_the_others_are_fitted(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(path: Path, labels: Labels | None) -> FitResult:
        if "neutral" in path.name:
            raise KeyError("our own mistake")
        return by_name(path, labels)

    stub_fitter(monkeypatch, fit)
    assert "1 crashed" in command().stdout
    found = rows(tmp_path)
    assert found["ann_neutral.png"]["status"] == "crashed" and found["ann_smile.png"]["status"] == "converged"
    assert "our own mistake" in found["ann_neutral.png"]["reason"]


def refused(command: Command, tmp_path: Path, *options: object, **named: Path) -> str:
    with pytest.raises(ChainRigError) as stopped:
        command(*options, **named)
    assert "\n" not in str(stopped.value) and not (tmp_path / "out").exists()
    return str(stopped.value)


def test_nothing_to_evaluate(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_fitter(monkeypatch, by_name)
    assert "There is no folder" in refused(command, tmp_path)
    (tmp_path / "images").mkdir()
    assert "There is no image in" in refused(command, tmp_path)
    wall = image(tmp_path / "images" / "wall.png", "black")
    assert "is a file" in refused(command, tmp_path, folder=wall)
    assert "None of the 1 images" in refused(command, tmp_path) and "no face" in refused(command, tmp_path)
    truth = write(tmp_path / "images" / "wall.truth.json", "{")
    assert str(truth) in refused(command, tmp_path)


def test_a_wrong_setting_is_told_before_any_image_is_read(
    command: Command, images: Path, tmp_path: Path
) -> None:
    assert "iterations" in refused(command, tmp_path, "--set", "fit.iteratons=3")


def test_real_fits_in_two_processes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write(folder / "broken.jpg", "no image")
    with Image.open(assets.path("example.png")) as photo:
        photo.convert("RGB").save(folder / "example_smiling.png")
    write(folder / "example_smiling.json", {"controls": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5}})
    options = ["--workers", "2", "--set", "fit.iterations=1", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [str(folder), *options], catch_exceptions=False)
    assert done.exit_code == 0
    found = rows(tmp_path)
    assert found["broken.jpg"]["status"] == "failed"
    assert 0.3 < float(found["example_smiling.png"]["residual_final_percent"]) < 2
    assert 0 < float(found["example_smiling.png"]["control_error"]) < 0.2
    assert float(found["example_smiling.png"]["mouthSmileLeft"]) > 0.1
    assert len(document(tmp_path)["rows"][1]["found"]["identity"]) > 100
