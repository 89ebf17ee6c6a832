"""Training: it learns, it is the same after a kill, and a checkpoint is whole or not there."""

import csv
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.detect.training import checkpoint, loop
from pipeline.detect.training.augmentation import INPUT, Sample
from pipeline.detect.training.data import batch, batches
from pipeline.detect.training.loop import Recipe, pace, train
from pipeline.errors import ChainRigError

RECIPE = Recipe(steps=9, batch=3, widths=(8, 12), every=3, validation=1, dropout=0.3, seed=5)


class Discs:
    """Bright discs on noise; all 68 points lie on the disc, the eyes' corners at its rim."""

    def __len__(self) -> int:
        return 1000

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        centre, radius = rng.uniform(50, 78, 2), 16
        line = np.arange(INPUT) + 0.5
        inside = np.hypot(line[None] - centre[0], line[:, None] - centre[1]) < radius
        picture = (60 * rng.random((INPUT, INPUT, 3)) + 180 * inside[..., None]).astype(np.uint8)
        angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        points = centre + radius * 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1)
        points[[36, 45]] = centre + [[-radius, 0], [radius, 0]]
        return Sample(picture, points.astype(np.float32), np.ones(68, np.float32))


def curve(folder: Path) -> list[dict[str, float]]:
    rows = csv.DictReader((folder / "curve.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


def kill_at(step: int, folder: Path) -> None:
    """Trains in a process of its own, which ends without a chance to tidy up."""
    torch.set_num_threads(1)

    def kill(done: int, row: dict[str, float]) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    train(Discs(), Discs(), RECIPE, folder, progress=kill)


def stop_at(step: int, folder: Path) -> None:
    def stop(done: int, row: dict[str, float]) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Discs(), Discs(), RECIPE, folder, progress=stop)


def test_killed_and_resumed_it_draws_the_same_curve(tmp_path: Path) -> None:
    whole = train(Discs(), Discs(), RECIPE, tmp_path / "whole")
    stop_at(2, tmp_path / "killed")  # before any checkpoint
    process = multiprocessing.get_context("spawn").Process(target=kill_at, args=(5, tmp_path / "killed"))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert [row["step"] for row in curve(tmp_path / "killed")] == [3]
    stop_at(6, tmp_path / "killed")  # right after a checkpoint
    resumed = train(Discs(), Discs(), RECIPE, tmp_path / "killed")

    assert [row["step"] for row in curve(tmp_path / "whole")] == [3, 6, 9]
    for one, other in zip(curve(tmp_path / "whole"), curve(tmp_path / "killed"), strict=True):
        assert list(one) == list(loop.COLUMNS)
        assert other == pytest.approx(one, rel=1e-4)
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(
            tensor.float(), resumed.network.state_dict()[name].float(), rtol=1e-3, atol=1e-5
        )


def test_it_learns_and_averaged_weights_are_what_it_gives(tmp_path: Path) -> None:
    recipe = Recipe(
        steps=60, batch=8, rate=5e-3, widths=(8, 16), every=20, validation=2, dropout=0.0, average=0.9
    )
    seen: list[int] = []
    detector = train(Discs(), Discs(), recipe, tmp_path, progress=lambda step, row: seen.append(step))
    errors = [row["validation"] for row in curve(tmp_path)]
    assert errors[-1] < 0.5 * errors[0] and errors[-1] < 25
    assert seen == list(range(1, 61))
    exam = batch(Discs(), 0 + loop.HELD_OUT, 0, 8)
    crops = exam.pictures.movedim(1, -1).repeat_interleave(2, 1).repeat_interleave(2, 2) / 255
    reach = 2 * (exam.points[:, 45] - exam.points[:, 36]).norm(dim=-1)[:, None]
    error = 100 * ((detector(crops) - 2 * exam.points).norm(dim=-1) / reach).mean()
    assert abs(float(error) - errors[-1]) < 5  # in pixels of the crop, in evaluation mode


def test_another_recipe_is_not_continued_but_a_longer_one_is(tmp_path: Path) -> None:
    short = Recipe(steps=2, batch=2, widths=(8, 12), every=2, validation=1)
    train(Discs(), Discs(), short, tmp_path)
    with pytest.raises(ChainRigError, match="batch"):
        train(Discs(), Discs(), Recipe(steps=2, batch=3, widths=(8, 12), every=2, validation=1), tmp_path)
    train(Discs(), Discs(), Recipe(steps=4, batch=2, widths=(8, 12), every=2, validation=1), tmp_path)
    assert checkpoint.read(tmp_path / "checkpoint.safetensors")[1]["step"] == 4


def test_a_write_that_fails_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, {"a": torch.ones(3)}, {"step": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "replace", full)
    with pytest.raises(ChainRigError, match="No space left"):
        checkpoint.write(path, {"a": torch.zeros(3)}, {"step": 2})
    tensors, about = checkpoint.read(path)
    assert about == {"step": 1} and bool((tensors["a"] == 1).all())


def test_a_checkpoint_holds_seed_settings_and_curve(tmp_path: Path) -> None:
    train(Discs(), Discs(), Recipe(steps=2, batch=2, widths=(8, 12), every=1, validation=1, seed=9), tmp_path)
    about = checkpoint.read(tmp_path / "checkpoint.safetensors")[1]
    assert about["recipe"]["seed"] == 9 and about["recipe"]["widths"] == [8, 12]
    assert [row["step"] for row in about["curve"]] == [1, 2]


def test_batches_depend_on_seed_and_step_alone() -> None:
    one, again = (batch(Discs(), 1, 7, 4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.points, batch(Discs(), 1, 8, 4).points)
    assert not torch.equal(one.points, batch(Discs(), 2, 7, 4).points)
    ahead = list(batches(Discs(), 1, range(6, 9), 4))
    assert torch.equal(ahead[1].pictures, one.pictures)


def test_unknown_points_teach_nothing() -> None:
    data, scores = batch(Discs(), 0, 0, 2), torch.randn(2, 68, 16, 16)
    half = data.weights.clone()
    half[:, :30] = 0
    lost = data.points.clone()
    lost[:, :30] = 3.0
    loss = loop.losses(scores, data._replace(weights=half))
    same = loop.losses(scores, data._replace(weights=half, points=lost))
    assert torch.equal(loss[0], same[0]) and torch.equal(loss[1], same[1])
    beyond = lost.clone()
    beyond[:, :30] = INPUT + 30.0  # where no heatmap can point to
    assert torch.equal(loss[0], loop.losses(scores, data._replace(points=beyond))[0])
    none = loop.losses(scores.requires_grad_(), data._replace(weights=torch.zeros(2, 68)))
    assert float(none[0].detach()) == 0


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [pace(done, RECIPE) for done in (0.0, 0.02, 0.03, 0.5, 0.64, 0.8, 1.0)]
    assert (
        rates[0] < rates[1] < rates[2] == rates[3] == rates[4] == 1 > rates[5] > rates[6] == pytest.approx(0)
    )
