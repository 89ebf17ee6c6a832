"""`chainrig batch` as a person meets it; one run fits for real."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from batch_of_tests import batch, images, load
from conftest import Fitted, Run
from PIL import Image

from pipeline import assets
from pipeline.batch.files import write_run_files
from pipeline.batch.live_link import timecode
from pipeline.commands.batch import run_batch


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photo, and what is no photo, by the command's own work with its default settings."""
    from functools import partial

    from pipeline.batch.fitting import load as load_fitter
    from pipeline.batch.recipe import recipe_of
    from pipeline.config import Config

    folder = tmp_path_factory.mktemp("batch")
    images(folder / "photos", {"broken.jpg": "no image"})
    (folder / "photos" / "ünï é.png").write_bytes(assets.path("example.png").read_bytes())
    wanted = batch(folder / "photos", folder / "out", workers=1, recipe=recipe_of(Config(), "largest"))
    run_batch(wanted, partial(load_fitter, Config(), "largest"), False, True)
    return folder / "out"


def test_an_image_has_the_files_that_fit_writes(fitted: Path, example_fit: Fitted) -> None:
    face = fitted / "ünï é" / "face-0"
    single = {path.name for path in example_fit.folder.iterdir()}
    assert {path.name for path in face.iterdir()} == single - {"face.glb"}  # of a million faces, a terabyte
    for name in ("controls.csv", "config.yaml", "overlay.png"):
        assert (face / name).read_bytes() == (example_fit.folder / name).read_bytes()
    found: dict[str, Any] = json.loads((face / "fit.json").read_text())
    for own in ("photo", "seconds"):
        del found[own]
    assert found == {key: value for key, value in example_fit.document.items() if key in found}
    assert len(found) == len(example_fit.document) - 2


def test_the_summary_has_a_line_for_every_face_and_failure(fitted: Path, example_fit: Fitted) -> None:
    with (fitted / "summary.csv").open(encoding="utf-8", newline="") as file:
        broken, photo = csv.DictReader(file)
    assert broken["status"] == "failed" and "not an image" in broken["error"] and not broken["jawOpen"]
    assert (photo["input"], photo["folder"], photo["face"]) == ("ünï é.png", "ünï é/face-0", "0")
    document = example_fit.document
    for name, value in (document["controls"] | document["identity"]).items():
        assert float(photo[name]) == pytest.approx(value, rel=1e-5, abs=1e-9)
    final = document["residual"]["final_percent_iod"]
    assert float(photo["residual_final_percent"]) == pytest.approx(final, rel=1e-5)
    assert float(photo["yaw_deg"]) == pytest.approx(document["pose"]["head_yaw_pitch_roll_deg"][0], rel=1e-5)
    assert photo["status"] == document["status"]


def test_the_recording_has_a_frame_at_the_images_place(fitted: Path) -> None:
    header, frame = (fitted / "live_link.csv").read_text().splitlines()
    one = (fitted / "ünï é" / "face-0" / "controls.csv").read_text().splitlines()
    assert header == one[0]
    assert frame.split(",")[0] == "00:00:00:01.000" and frame.split(",")[1:] == one[1].split(",")[1:]
    assert timecode(30 * 3671 + 29) == "01:01:11:29.000"


def test_the_contact_sheet_shows_the_overlay(fitted: Path) -> None:
    with Image.open(fitted / "contact_sheet-1.png") as page:
        assert 480 < page.width < 520 and 176 < page.height < 260
        assert len(page.getcolors(1 << 20) or []) > 1000
    assert not (fitted / "contact_sheet-2.png").exists()


def test_the_runs_files_are_made_anew_only_after_the_manifest_changed(fitted: Path) -> None:
    assert write_run_files(fitted) == []
    (fitted / "summary.csv").unlink()
    assert write_run_files(fitted)[-1] == fitted / "summary.csv"


def test_what_there_is_to_do_is_said_and_nothing_is_written(tmp_path: Path, run: Run) -> None:
    source, out = (
        images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "bad", "c.jpg": "ok"}),
        tmp_path / "out",
    )
    assert run("batch", source, "--out", out, "--dry-run")[:2] == (0, "3 images: 3 to do.\n")
    assert run("batch", source, "--out", out, "--dry-run", "--limit", 2)[1] == "2 images: 2 to do.\n"
    assert not out.exists()
    run_batch(batch(source, out, workers=1), load, False, True)
    before = (out / "manifest.jsonl").read_bytes()
    told = run("batch", source, "--out", out, "--dry-run")[1]
    assert told == "3 images: 3 to do (3 fitted with other settings or weights).\n"
    shares = [run("batch", source, "--out", out, "--dry-run", "--shard", f"{i}/2")[1] for i in (1, 2)]
    assert sum(int(told.split()[0]) for told in shares) == 3
    assert (out / "manifest.jsonl").read_bytes() == before


def test_a_run_tells_what_failed_and_where_its_files_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "bad"}), tmp_path / "out"
    run_batch(batch(source, out, workers=1), load, False, False)
    told = capsys.readouterr().out
    assert "2 images: 2 to do." in told and "b.jpg failed: b.jpg is not an image." in told
    assert str(out / "summary.csv") in told
    run_batch(batch(source, out, workers=1), load, False, False)
    told = capsys.readouterr().out
    assert told == "2 images: nothing to do, 1 done before, 1 failed before (--retry-failed tries again).\n"


def test_images_of_one_person_get_one_head(tmp_path: Path, run: Run) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    with Image.open(assets.path("example.png")) as example:
        for k in range(2):
            example.reduce(2 + k).save(photos / f"{k}.png")
    images(photos, {"broken.jpg": "no image"})
    cheap = ["fit.derivatives=embedding", "fit.iterations=4", "appearance.fit=false", "render.samples=1"]
    options = [part for setting in cheap for part in ("--set", setting)]
    command = ["batch", photos, "--out", out, "--share-identity", "--glb", "--workers", 1, *options]
    assert run(*command)[0] == 0

    faces = [json.loads((out / str(k) / "face-0" / "fit.json").read_text()) for k in range(2)]
    assert all((out / str(k) / "face-0" / "face.glb").read_bytes()[:4] == b"glTF" for k in range(2))
    person = json.loads((out / "subject.json").read_text())
    assert faces[0]["identity"] == faces[1]["identity"]
    assert max(abs(value) for value in faces[0]["identity"].values()) > 0.1
    for name, value in faces[0]["identity"].items():
        assert person["identity"][name] == pytest.approx(value, abs=1e-6)
    made = (out / "subject.json").read_bytes()
    told = run(*command)[1]
    assert "nothing to do, 2 done before, 1 failed before" in told
    assert "nothing to do, 2 done before" in run(*command, "--dry-run")[1]
    assert (out / "subject.json").read_bytes() == made
    # The head was found in a picture that is not meant now: it may be somebody else's.
    assert "2 to do (2 fitted with other settings" in run(*command, "--exclude", "0.png", "--dry-run")[1]


@pytest.mark.parametrize(
    "options, words",
    [
        (["--shard", "3/2"], "--shard takes I/N"),
        (["--shard", "x"], "--shard takes I/N"),
        (["--face", "some"], "--face takes largest or all"),
        (["--engine", "slurm"], "--engine takes local or ray"),
        (["--set", "fit.iteratons=3"], "iterations"),
        (["--subject", "nobody.json"], "nobody.json"),
        (["--exclude", "*"], "--include and --exclude"),
        (["--limit", "0"], "limit"),
        (["--together", "2", "--set", "fit.deformer=quasistatic"], "give --together 1"),
        (["--engine", "ray", "--set", "fit.device=cuda"], "--shard for each GPU"),
        (["--share-identity", "--sequence"], "--share-identity takes no"),
        (["--share-identity"], "No picture shows a face"),
        (["--share-identity", "--shard", "3/2"], "--shard takes I/N"),
        (["--sequence", "--together", "2"], "--sequence takes no"),
    ],
)
def test_a_wrong_option_is_one_sentence(tmp_path: Path, run: Run, options: list[str], words: str) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "ok"})
    code, _, told = run("batch", source, "--out", tmp_path / "out", "--workers", 1, *options)
    assert code == 2 and words in told and told.count("\n") == 1


def test_parquet_holds_the_same_table(fitted: Path, tmp_path: Path, run: Run) -> None:
    try:
        from pyarrow.parquet import read_table  # pyright: ignore[reportMissingImports]
    except ImportError:
        code, _, told = run("batch", fitted, "--out", tmp_path / "out", "--parquet")
        assert code == 2 and "chainrig[parquet]" in told and told.count("\n") == 1
        pytest.skip("pip install 'chainrig[parquet]'")
    assert write_run_files(fitted, parquet=True)
    rows = read_table(fitted / "summary.parquet").to_pylist()
    with (fitted / "summary.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [list(line) for line in lines]
    assert rows[0]["jawOpen"] is None and rows[0]["error"] == lines[0]["error"]
    assert rows[1]["jawOpen"] == pytest.approx(float(lines[1]["jawOpen"]), rel=1e-5, abs=1e-9)


def test_one_image_tells_no_head_apart(tmp_path: Path, run: Run) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "ok"})
    code, _, told = run("batch", source, "--out", tmp_path / "out", "--share-identity")
    assert code == 2 and "two images or more" in told and not (tmp_path / "out").exists()
