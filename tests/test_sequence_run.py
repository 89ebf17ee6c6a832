"""`chainrig batch --sequence` in real processes, killed and disturbed; the face is a stand-in."""

import csv
import itertools
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_of_tests import PATIENCE, TESTS, lines, tree, wait_for
from sequence_of_tests import Here, StandIn, calls, curve, frames, load, take

from pipeline.batch.disk import CannotWrite
from pipeline.batch.lock import WHOLE, only_run
from pipeline.batch.pool import Pool
from pipeline.commands.sequence import run_sequence
from pipeline.errors import ChainRigError
from pipeline.sequence.state import State
from pipeline.sequence.work import LOST, Tracker


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sequence.run.Pool", Here)
    monkeypatch.setattr("pipeline.sequence.files.write_glb", lambda folder, _: folder / "sequence.glb")


def run(source: Path, out: Path, **options: Any) -> None:
    wanted = take(source, out, **options)
    run_sequence(wanted, wanted.work(load(out)), False, True)


def started(source: Path, out: Path) -> subprocess.Popen[bytes]:
    """In a process of its own, which does all of the work: a kill hits whoever is writing."""
    program = out.with_name(f"{out.name}.py")
    program.write_text(
        f"""
from pathlib import Path, PosixPath
import pipeline.sequence.run
from sequence_of_tests import Here
from test_sequence_run import run
pipeline.sequence.run.Pool = Here
run({source!r}, {out!r})
"""
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    return subprocess.Popen([sys.executable, str(program)], env=environment)


def ramp(count: int) -> dict[int, str]:
    noise = random.Random(1)
    return {k: f"slowly {0.1 + 0.01 * k + noise.uniform(-0.05, 0.05):.4f}" for k in range(count)}


def test_killed_twice_it_ends_with_what_an_undisturbed_run_has(tmp_path: Path) -> None:
    texts = ramp(40) | {7: "blank", 8: "crash"}
    del texts[30]  # a number that is left out
    source = frames(tmp_path / "shots", texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.sequence.run.Pool", Here)
        run(source, tmp_path / "whole")

    out, chance = tmp_path / "killed", random.Random(5)
    log = out.with_name("killed.calls")
    for moment in (chance.randrange(5, 35), chance.randrange(45, 70)):  # of each sweep
        with started(source, out) as process:
            wait_for(lambda: log.exists() and len(calls(out)) >= moment, PATIENCE)  # noqa: B023
            assert process.poll() is None
            process.kill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.sequence.run.Pool", Here)
        run(source, out)

    assert tree(out) == tree(tmp_path / "whole") and len(tree(out)) == 37 * 4 + 3 * 2
    assert len(calls(out)) <= len(calls(tmp_path / "whole")) + 2  # nothing twice but what was in hand
    last = {line["input"]: line for line in lines(out)}
    assert len(last) == 40 and {line["status"] for line in last.values()} == {"done"}
    assert all((out / name).exists() for name in ("sequence.glb", "live_link.csv", "summary.csv"))


def test_frames_without_a_face_are_bridged_and_marked(here: None, tmp_path: Path) -> None:
    texts = {0: "blank", 1: "at 0.2", 2: "at 0.2", 4: "blank", 5: "at 0.8", 6: "at 0.8", 7: "blank"}
    source, out = frames(tmp_path / "shots", texts), tmp_path / "out"
    run(source, out)
    found = curve(out, 8)
    assert found[0] == found[1] and found[7] == found[6] and 0.2 < found[2] < found[5] < 0.8
    step = (found[5] - found[2]) / 3
    assert found[3] == pytest.approx(found[2] + step) and found[4] == pytest.approx(found[2] + 2 * step)

    document = json.loads((out / "shot_3" / "face-0" / "fit.json").read_text())
    assert document["status"] == "bridged" and document["between"] == ["shot_2.png", "shot_5.png"]
    assert document["pose"]["rotation_vector_rad"][1] == pytest.approx(found[3] / 2, abs=0.05)
    marked = {line["input"]: line["faces"][0] for line in lines(out)}
    assert marked["shot_4.png"]["status"] == "bridged" and marked["shot_5.png"]["status"] == "converged"
    assert "no face in shot_4.png" in marked["shot_4.png"]["error"]
    assert "There is no shot_3.png" in marked["shot_3.png"]["error"]
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] == "bridged" for row in rows] == [
        True,
        False,
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert rows[3]["jawOpen"] and not rows[3]["residual_final_percent"]
    with (out / "live_link.csv").open(newline="") as file:
        recorded = list(csv.DictReader(file))
    assert [row["Bridged"] for row in recorded] == ["1", "0", "0", "1", "1", "0", "0", "1"]
    assert [float(row["JawOpen"]) for row in recorded] == pytest.approx(found, abs=1e-8)
    assert float(recorded[3]["HeadYaw"]) == pytest.approx(document["pose"]["rotation_vector_rad"][1])
    assert recorded[7]["Timecode"] == "00:00:00:07.000"


def test_a_noisy_motion_comes_out_smooth_and_does_not_lag(here: None, tmp_path: Path) -> None:
    texts = ramp(30)
    source, out = frames(tmp_path / "shots", texts), tmp_path / "out"
    run(source, out)
    truth = [0.1 + 0.01 * k for k in range(30)]
    given = [float(text.split()[1]) for text in texts.values()]
    error = [found - true for found, true in zip(curve(out, 30), truth, strict=True)]
    noise = [found - true for found, true in zip(given, truth, strict=True)]

    def jitter(errors: list[float]) -> float:
        return sum(abs(b - a) for a, b in zip(errors, errors[1:], strict=False))

    assert jitter(error) < 0.5 * jitter(noise)
    middle = slice(5, 25)
    assert abs(sum(error[middle]) - sum(noise[middle])) / 20 < 0.003  # a lag of one frame would be 0.01


def test_what_is_done_stays_and_what_changes_starts_the_sequence_anew(here: None, tmp_path: Path) -> None:
    source, out = frames(tmp_path / "shots", {k: f"at 0.{k}" for k in range(5)}), tmp_path / "out"
    run(source, out)
    assert len(calls(out)) == 10
    (source / "shot_3.png").touch()
    run(source, out)
    assert len(calls(out)) == 10
    (out / "shot_2" / "face-0" / "fit.json").unlink()
    run(source, out)
    assert calls(out)[10:] == ["polish shot_2.png"]
    before = curve(out, 5)
    frames(source, {3: "at 0.9"})
    run(source, out)
    assert len(calls(out)) == 21 and curve(out, 5)[2:4] != before[2:4]
    assert len(list((out / ".chainrig" / "sequence").iterdir())) == 1
    run(source, out, options="smoother")
    assert len(calls(out)) == 31


def test_without_a_terminal_it_says_every_minute_how_far_it_is(
    here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = frames(tmp_path / "shots", {k: f"at 0.{k}" for k in range(6)}), tmp_path / "out"
    clock = itertools.count(0.0, 5.0)  # every look at it is five seconds later
    monkeypatch.setattr("pipeline.commands.sequence.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("pipeline.commands.sequence.EVERY", 20)
    wanted = take(source, out)
    run_sequence(wanted, wanted.work(load(out)), False, False)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Fitting frames …" and "Tying frames together …" in said
    told = [
        re.fullmatch(r"Fitting frames: (\d) of 6 frames, \d+\.\d a minute, \d min left", line)
        for line in said
    ]
    assert [int(line[1]) for line in told if line] == [5]
    run(source, out)
    assert capsys.readouterr().err == ""  # quiet


def test_a_frame_that_takes_forever_is_bridged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sequence.files.write_glb", lambda folder, _: folder / "sequence.glb")
    pools = iter([Pool, Here])  # a process for what waits; what comes after needs none
    monkeypatch.setattr("pipeline.sequence.run.Pool", lambda *given: next(pools)(*given))
    source, out = frames(tmp_path / "shots", {0: "at 0.2", 1: "wait 60", 2: "at 0.4"}), tmp_path / "out"
    run(source, out, seconds=1.5)
    assert curve(out, 3)[0] < curve(out, 3)[1] < curve(out, 3)[2]
    assert "1.5 s" in lines(out)[-1]["error"] and lines(out)[-1]["faces"][0]["status"] == "bridged"


def test_a_face_lost_for_long_is_looked_for_anew(tmp_path: Path) -> None:
    source = frames(tmp_path / "shots", {k: "at 0.5" for k in range(LOST + 3)})
    wanted, performer = take(source, tmp_path / "out"), StandIn(tmp_path / "calls")
    state = State(tmp_path, "digest" * 4)
    state.begin()
    footage = wanted.footage.frames
    assert Tracker(state, performer)(footage[0]) == 0
    again = Tracker(state, performer)  # as after a restart
    near, far = again.before(LOST), again.before(LOST + 1)
    assert near is not None and near.found.place == 0 and far is None


def test_nothing_but_blanks_and_a_folder_in_use_and_a_full_disk_are_sentences(
    here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = frames(tmp_path / "shots", {0: "blank", 1: "blank"}), tmp_path / "out"
    with pytest.raises(ChainRigError, match="No frame shows a face that can be fitted.*shot_0.png"):
        run(source, out)
    with only_run(out, WHOLE), pytest.raises(ChainRigError, match="Another run is writing"):
        run(source, out)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(CannotWrite, match="No space left"):
        run(source, tmp_path / "other")


def test_a_folder_that_is_removed_stops_the_run_and_is_not_made_anew(here: None, tmp_path: Path) -> None:
    source, out = frames(tmp_path / "shots", {0: "at 0.2", 1: "remove", 2: "at 0.2"}), tmp_path / "out"
    with pytest.raises(CannotWrite, match="there is no such folder"):
        run(source, out)
    assert not out.exists()
