"""The manifest: lines are whole or not there, the last of an image counts, and what redoes an image."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from batch_of_tests import RECIPE, batch, images, load

from pipeline.batch.disk import CannotWrite
from pipeline.batch.manifest import Entry, FittedFace, Manifest, read_manifests
from pipeline.batch.plan import FILES, Task, Why
from pipeline.batch.recipe import Recipe, recipe_of
from pipeline.batch.work import failed
from pipeline.commands.batch import run_batch
from pipeline.config import load_config


def entry(name: str, **changes: object) -> Entry:
    return replace(failed(Task(name, Path(name), name), RECIPE, "why"), **changes)  # type: ignore[arg-type]


def written(path: Path, *entries: Entry) -> None:
    manifest = Manifest(path)
    for one in entries:
        manifest.append(one)
    manifest.close()


def test_an_entry_comes_back_as_it_was_whatever_its_name(tmp_path: Path) -> None:
    one = entry(
        os.fsdecode(b"caf\xe9 \n\xe2\x98\xba.jpg"),
        status="done",
        error=None,
        faces=(FittedFace(0, "converged", 0.41), FittedFace(2, "failed", error="It is no face.")),
        seconds={"fit": 4.2},
    )
    written(tmp_path / "manifest.jsonl", one)
    assert read_manifests(tmp_path) == {one.input: one}
    assert one.lacks_a_face and not replace(one, faces=one.faces[:1]).lacks_a_face


def test_a_torn_line_is_left_out_and_nothing_is_lost_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    written(path, entry("a"), entry("b"))
    path.write_bytes(path.read_bytes()[:-40])
    assert list(read_manifests(tmp_path)) == ["a"]
    written(path, entry("c"))
    assert list(read_manifests(tmp_path)) == ["a", "c"]


def test_the_last_line_of_an_image_counts_and_of_shards_the_younger(tmp_path: Path) -> None:
    late, later = "2026-01-02T00:00:00.000+00:00", "2026-01-03T00:00:00.000+00:00"
    whole = entry("a", error="first", finished=later), entry("a", error="second", finished=late)
    written(tmp_path / "manifest.jsonl", *whole)
    assert read_manifests(tmp_path)["a"].error == "second"  # clocks may be set back
    written(tmp_path / "manifest-1-of-2.jsonl", entry("a", error="third", finished=later))
    assert read_manifests(tmp_path)["a"].error == "third"


def test_a_manifest_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest = Manifest(path)
    shutil.copy(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    with pytest.raises(CannotWrite, match="replaced"):
        manifest.append(entry("a"))
    path.unlink()
    with pytest.raises(CannotWrite):
        manifest.append(entry("a"))
    manifest.close()


def test_other_settings_or_weights_redo_everything_and_other_versions_do_not(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "bad"}), tmp_path / "out"
    run_batch(batch(source, out, workers=1), load, False, True)

    def todo(**changes: str) -> Mapping[Why, int]:
        return batch(source, out, recipe=replace(RECIPE, **changes)).plan().why

    assert todo() == {} and todo(config_sha256="x") == {"settings": 2} == todo(weights_sha256="x")
    kept = batch(source, out, recipe=replace(RECIPE, versions="newer")).plan()
    assert not kept.tasks and kept.versions == {"versions": 2} and (kept.done, kept.failed) == (1, 1)
    assert batch(source, out, retry_failed=True).plan().why == {"failed": 1}
    assert [task.name for task in batch(source, out / "new", limit=1).plan().tasks] == ["a.jpg"]


def test_the_recipe_is_of_settings_faces_and_the_files_that_settings_name(tmp_path: Path) -> None:
    subject = tmp_path / "ann.json"
    subject.write_text("one")
    config = load_config(None, [f"fit.subject={subject}"])
    recipe = recipe_of(config, "largest")
    assert recipe == recipe_of(config, "largest") and "torch 2" in recipe.versions
    assert recipe_of(config, "all").config_sha256 != recipe.config_sha256
    assert recipe_of(load_config(), "largest").weights_sha256 != recipe.weights_sha256
    zero = load_config(None, [f"fit.subject={subject}", "landmarks.scores=0"])  # as the default says it
    assert recipe_of(zero, "largest") == recipe
    subject.write_text("another")
    changed = recipe_of(config, "largest")
    assert changed.weights_sha256 != recipe.weights_sha256
    assert changed.config_sha256 == recipe.config_sha256


def test_results_of_images_that_are_added_later_move_no_others(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.png": "ok"}), tmp_path / "out"
    run_batch(batch(source, out, workers=1), load, False, True)
    images(source, {"a.jpg": "ok"})
    assert [(task.name, task.output) for task in batch(source, out).plan().tasks] == [("a.jpg", "a.jpg")]


def test_a_folder_that_is_moved_has_the_same_recipe(tmp_path: Path) -> None:
    def recipe(place: str, text: str) -> Recipe:
        file = tmp_path / place / "subject.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return recipe_of(load_config(None, [f"fit.subject={file}"]), "largest")

    assert recipe("here", "she") == recipe("there", "she") != recipe("there", "he")


def test_a_file_that_is_asked_for_only_now_is_made(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "bad"}), tmp_path / "out"
    run_batch(batch(source, out, workers=1), load, False, True)
    assert not batch(source, out).plan().tasks
    assert dict(batch(source, out, files=(*FILES, "face.glb")).plan().why) == {"missing": 1}


def test_a_report_that_is_lost_is_written_again(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "ok"}), tmp_path / "out"
    for name in ("report.html", "live_link.csv", "summary.csv"):
        run_batch(batch(source, out, workers=1), load, False, True)
        (out / name).unlink()
        run_batch(batch(source, out, workers=1), load, False, True)
        assert (out / name).is_file()
