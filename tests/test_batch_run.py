"""Runs of `chainrig batch` in real processes, killed, starved and disturbed; the fit is a stand-in."""

import errno
import random
import re
import shutil
import signal
from pathlib import Path

import pytest
from batch_of_tests import batch, calls, finished, images, lines, load, started, tree, wait_for

from pipeline.batch.disk import CannotWrite
from pipeline.commands.batch import run_batch
from pipeline.errors import ChainRigError


def manifest_length(out: Path) -> int:
    path = out / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_five_times_it_ends_with_what_an_undisturbed_run_has(tmp_path: Path) -> None:
    texts = {f"shoot {i % 7}/ünï {i:03d}.jpg": f"ok {i // 2}" for i in range(288)}
    texts |= {f"broken {i}.png": ("bad", "crash", "unfit")[i % 3] for i in range(11)}
    texts |= {"broken 11.png": "die"}
    source = images(tmp_path / "photos", texts)
    assert finished(source, tmp_path / "whole")[0] == 0
    whole = tree(tmp_path / "whole")

    out, random_, ends = tmp_path / "killed", random.Random(5), 0
    for _ in range(5):
        ends += random_.randrange(10, 50)
        with started(source, out) as run:
            wait_for(lambda: manifest_length(out) >= ends or run.poll() is not None)  # noqa: B023
            run.kill()
    assert 50 <= manifest_length(out) < 290
    assert finished(source, out)[0] == 0

    assert tree(out) == whole and len(whole) == (288 + 3) * 4
    last = {line["input"]: line for line in lines(out)}
    assert len(last) == 300 and len(lines(out)) == 300
    failed = {name: line["error"] for name, line in last.items() if line["status"] == "failed"}
    assert set(failed) == {f"broken {i}.png" for i in range(12)}
    assert failed["broken 0.png"] == "broken 0.png is not an image."
    assert "a mistake of ours" in failed["broken 1.png"]
    assert failed["broken 2.png"] == "It is no face."
    assert "ended 2 times (signal 9)" in failed["broken 11.png"]
    undisturbed = len(calls(tmp_path / "whole"))
    assert undisturbed == 301 and len(calls(out)) <= undisturbed + 5 * 2  # two workers, so two in flight
    assert not list((out / ".chainrig" / "drafts").iterdir())
    assert (out / "summary.csv").read_text().count("\n") == 301


def test_starting_again_does_what_is_missing_changed_or_asked_for(tmp_path: Path) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "ok", "c.jpg": "bad", "d.jpg": "ok"})
    out = tmp_path / "out"
    assert finished(source, out)[0] == 0 and len(calls(out)) == 4
    assert finished(source, out)[0] == 0 and len(calls(out)) == 4

    (source / "a.jpg").write_text("ok, another")
    (out / "b" / "face-0" / "overlay.png").unlink()
    (source / "d.jpg").write_text("ok")  # another date, the same bytes
    images(source, {"e.jpg": "ok"})
    assert finished(source, out)[0] == 0
    assert sorted(calls(out)[4:]) == ["a.jpg", "b.jpg", "e.jpg"]
    assert "ok, another" in tree(out)["a/face-0/fit.json"]

    (source / "c.jpg").touch()
    assert finished(source, out, retry_failed=True)[0] == 0
    assert calls(out)[7:] == ["c.jpg"]


def test_fewer_faces_than_before_leave_no_old_ones(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "faces 3"}), tmp_path / "out"
    run_batch(batch(source, out), load, False, True)
    assert len(tree(out)) == 12
    images(source, {"a.jpg": "faces 2"})
    run_batch(batch(source, out), load, False, True)
    assert {name.split("/")[1] for name in tree(out)} == {"face-0", "face-1"}


def test_an_image_that_takes_forever_is_stopped_and_the_others_are_done(tmp_path: Path) -> None:
    texts = {"a.jpg": "wait 60"} | {f"b{i}.jpg": "ok" for i in range(5)}
    source, out = images(tmp_path / "photos", texts), tmp_path / "out"
    assert finished(source, out, seconds=1.0)[0] == 0
    found = {line["input"]: line for line in lines(out)}
    assert len(found) == 6 and found["a.jpg"]["status"] == "failed"
    assert "longer than the 1 s" in found["a.jpg"]["error"] and found["a.jpg"]["sha256"]
    assert finished(source, out, seconds=1.0)[0] == 0 and len(lines(out)) == 6


def test_a_worker_that_is_killed_once_costs_nothing(tmp_path: Path) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "die-once", "b.jpg": "ok"})
    assert finished(source, tmp_path / "out")[0] == 0
    assert {line["status"] for line in lines(tmp_path / "out")} == {"done"}


def test_images_side_by_side_end_as_one_by_one_and_only_the_guilty_fail(tmp_path: Path) -> None:
    texts = {f"{i:02d}.jpg": "ok" for i in range(9)}
    texts |= {"03.jpg": "die", "04.jpg": "wait 60", "06.jpg": "bad", "07.jpg": "crash", "09.jpg": "faces 2"}
    source = images(tmp_path / "photos", texts)
    assert finished(source, tmp_path / "alone", seconds=3.0, workers=1)[0] == 0
    assert finished(source, tmp_path / "side by side", seconds=3.0, workers=1, together=3)[0] == 0
    assert tree(tmp_path / "side by side") == tree(tmp_path / "alone")

    def told(out: Path) -> dict[str, tuple[str, str]]:
        return {line["input"]: (line["status"], line["error"]) for line in lines(out)}

    assert told(tmp_path / "side by side") == told(tmp_path / "alone")
    assert len(lines(tmp_path / "side by side")) == 10
    assert calls(tmp_path / "side by side")[:4] == ["00.jpg", "01.jpg", "02.jpg", "03.jpg"]
    assert calls(tmp_path / "side by side").count("03.jpg") == 4  # twice with its neighbours, twice alone


def test_two_runs_do_not_share_a_folder_but_shards_do(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {f"{i}.jpg": "hold" for i in range(24)}), tmp_path / "out"
    with started(source, out, shard=(1, 2)) as first:
        wait_for((out / "manifest-1-of-2.jsonl").exists)
        for shard in (None, (1, 2), (3, 3)):
            with pytest.raises(ChainRigError, match="shard 1/2 is writing to"):
                run_batch(batch(source, out, shard=shard), load, False, True)
        (tmp_path / "go").touch()
        run_batch(batch(source, out, shard=(2, 2)), load, False, True)
        assert first.wait(30) == 0
    assert not (out / "summary.csv").exists() and not (out / "manifest.jsonl").exists()
    run_batch(batch(source, out), load, False, True)  # finds all done, and sums up
    assert len(tree(out)) == 24 * 4 and (out / "summary.csv").read_text().count("\n") == 25


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_folder_that_takes_no_more_stops_the_run_and_blames_no_image(tmp_path: Path, code: int) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": f"write {code}", "c.jpg": "ok"})
    out = tmp_path / "out"
    with pytest.raises(CannotWrite, match="the same command again"):
        run_batch(batch(source, out, workers=1), load, False, True)
    assert [line["input"] for line in lines(out)] == ["a.jpg"]
    images(source, {"b.jpg": "ok"})  # the disk has room again
    run_batch(batch(source, out, workers=1), load, False, True)
    assert len(tree(out)) == 12 and len(lines(out)) == 3


def test_a_manifest_that_cannot_grow_loses_no_line(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {f"{i:02d}.jpg": "ok" for i in range(20)}), tmp_path / "out"
    code, told = finished(source, out, file_bytes=4000, workers=1)
    assert code == 1 and "cannot be written" in told and "Traceback" not in told
    written = lines(out)  # every line is whole
    assert 3 < len(written) < 20
    assert finished(source, out)[0] == 0
    assert len(lines(out)) == 20 and len(calls(out)) <= 22


def test_a_folder_that_is_removed_is_not_made_anew(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {f"{i}.jpg": "wait 0.2" for i in range(30)}), tmp_path / "out"
    with started(source, out) as run:
        wait_for(lambda: manifest_length(out) > 1)
        out.rename(tmp_path / "moved")
        shutil.rmtree(tmp_path / "moved")
        told = run.communicate(timeout=30)[1]
    assert run.returncode == 1 and "there is no such folder" in told and "Traceback" not in told
    assert not out.exists()


def test_an_interruption_is_told_and_what_is_done_is_summed_up(tmp_path: Path) -> None:
    texts = {"a.jpg": "ok", "b.jpg": "ok", "c.jpg": "hold", "d.jpg": "hold", "e.jpg": "ok"}
    source, out = images(tmp_path / "photos", texts), tmp_path / "out"
    with started(source, out) as run:
        wait_for(lambda: manifest_length(out) >= 2)
        run.send_signal(signal.SIGINT)
        told = run.communicate(timeout=30)[1]
    assert run.returncode == 130
    assert re.fullmatch(
        "chainrig: stopped after [12] of 5 images; the same command goes on from there.\n", told
    )
    assert (out / "summary.csv").read_text().count("\n") == 3


def test_a_file_in_the_way_of_one_image_stops_only_that(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "ok", "b.jpg": "ok"}), tmp_path / "out"
    images(out, {"a": "somebody's own"})
    run_batch(batch(source, out), load, False, True)
    found = {line["input"]: line for line in lines(out)}
    assert found["b.jpg"]["status"] == "done" and "cannot be put into a" in found["a.jpg"]["error"]
    assert (out / "a").read_text() == "somebody's own"


def test_work_that_cannot_begin_is_one_sentence(tmp_path: Path) -> None:
    source, out = images(tmp_path / "photos", {"a.jpg": "ok"}), tmp_path / "out"
    (tmp_path / "refuse").touch()
    assert finished(source, out) == (1, "ChainRigError: There is no such detector.\n")
    assert not lines(out)


def test_nothing_but_failures_is_a_failure(tmp_path: Path) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "bad"})
    with pytest.raises(ChainRigError, match="None of 1 images .* a.jpg is not an image"):
        run_batch(batch(source, tmp_path / "out"), load, False, True)
