"""`--engine ray`: the same work by the workers of a cluster, here of two on this machine."""

import importlib.util
from pathlib import Path
from typing import NoReturn

import pytest
from batch_of_tests import finished, images, lines, tree
from conftest import Run

from pipeline.batch.ray_pool import _Actor
from pipeline.errors import ChainRigError


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_is_one_sentence(tmp_path: Path, run: Run) -> None:
    source = images(tmp_path / "photos", {"a.jpg": "ok"})
    code, _, told = run("batch", source, "--out", tmp_path / "out", "--engine", "ray")
    assert code == 2 and "chainrig[cluster]" in told and told.count("\n") == 1


def test_a_worker_that_cannot_start_says_why() -> None:
    def stumble() -> NoReturn:
        raise RuntimeError("the file is of no use")

    told = _Actor(stumble).start()
    assert isinstance(told, ChainRigError) and "cannot start: RuntimeError: the file is of no use" in str(
        told
    )


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'chainrig[cluster]'")
def test_two_ray_workers_one_killed_give_what_local_ones_give(tmp_path: Path) -> None:
    texts = {f"{i:02d}.jpg": f"ok {i}" for i in range(20)}
    texts |= {"07.jpg": "die-once", "bad.jpg": "bad", "die.jpg": "die", "wait.jpg": "wait 60"}
    source = images(tmp_path / "photos", texts)
    assert finished(source, tmp_path / "local", seconds=4.0) == (0, "")
    code, told = finished(source, tmp_path / "cluster", seconds=4.0, engine="ray")
    assert code == 0, told
    assert tree(tmp_path / "cluster") == tree(tmp_path / "local") and len(tree(tmp_path / "cluster")) == 80
    reasons = {line["input"]: line["error"] for line in lines(tmp_path / "cluster") if line["error"]}
    assert set(reasons) == {"bad.jpg", "die.jpg", "wait.jpg"}
    assert "lost" in reasons["die.jpg"] and "4 s" in reasons["wait.jpg"]
