"""A sequence of a real face, by few and cheap steps: grainy copies of the example photo, and a blank."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from PIL import Image
from sequence_of_tests import Here

from pipeline import assets
from pipeline.batch.person import spread
from pipeline.commands.sequence import fit_sequence, load_performer
from pipeline.config import load_config
from pipeline.deform.rig import Rig
from pipeline.sequence.frames import find_footage
from pipeline.sequence.state import State
from pipeline.subject import Subject, subject_json

CHEAP = ["fit.derivatives=embedding", "fit.iterations=6", "appearance.fit=false", "render.samples=1"]
BLANK, FRAMES = 1, 4


def cache_of(function: Any) -> Any:
    """One result for all calls: the rig and the detector are loaded once."""
    made: list[Any] = []
    return lambda *arguments: made[0] if made else made.append(function(*arguments)) or made[0]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequence")
    (folder / "shots").mkdir()
    with Image.open(assets.path("example.png")) as image:
        clean = np.asarray(image.convert("RGB").reduce(2), np.float32)
    noise = np.random.default_rng(0)
    for k in range(FRAMES):
        grainy = clean + 12 * noise.standard_normal(clean.shape).astype(np.float32)
        pixels = np.full_like(clean, 127) if k == BLANK else grainy
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "shots" / f"{k}.png")
    rig = Rig.load()
    nobody = Subject(dict.fromkeys(rig.identity_names, 0.0), torch.zeros(478, 3).double(), (), 0.0)
    (folder / "ann.json").write_text(subject_json(nobody))
    settings = load_config(None, [*CHEAP, f"fit.subject={folder / 'ann.json'}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.sequence.run.Pool", Here)
        patch.setattr("pipeline.commands.sequence.load_performer", cache_of(load_performer))
        footage = find_footage(str(folder / "shots"))
        fit_sequence(footage, folder / "out", settings, 1.0, 1, None, False, True)
    return folder / "out"


def test_frames_that_show_the_same_come_out_alike(fitted: Path) -> None:
    (digest,) = (path.name for path in (fitted / ".chainrig" / "sequence").iterdir())
    alone = [one.found.x for one in State(fitted, digest).frames()]
    kept = [k for k in range(FRAMES) if k != BLANK]
    found = [json.loads((fitted / str(k) / "face-0" / "fit.json").read_text()) for k in kept]
    controls = torch.tensor([list(one["controls"].values()) for one in found])
    jitter = controls.diff(dim=0).square().mean().sqrt()
    # Three grainy frames by cheap steps; the figure that counts is that of benchmarks/sequence.py.
    assert jitter < 0.7 * torch.stack(alone)[:, :52].diff(dim=0).square().mean().sqrt()
    assert all(0 < one["residual"]["final_percent_iod"] < 3 for one in found)
    assert {one["subject"] for one in found} and all(one["status"] != "failed" for one in found)


def test_the_frame_that_shows_nothing_is_between_its_neighbours(fitted: Path) -> None:
    before, bridged, after = (
        json.loads((fitted / str(k) / "face-0" / "fit.json").read_text()) for k in (0, 1, 2)
    )
    assert bridged["status"] == "bridged" and "no face" in bridged["error"]
    for name, value in bridged["controls"].items():
        assert value == pytest.approx((before["controls"][name] + after["controls"][name]) / 2, abs=1e-6)
    assert (fitted / "sequence.glb").stat().st_size > 1e6


def test_frames_for_the_persons_head_are_spread_over_the_sequence(fitted: Path) -> None:
    footage = find_footage(str(fitted.parent / "shots"))
    assert [[frame.place for frame in part] for part in spread(footage.frames, 2)] == [[1, 0], [3, 2]]
    assert [part[0].place for part in spread(footage.frames, 9)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [["--shard", "1/2"], ["--engine", "ray"], ["--face", "all"], ["--retry-failed"]],
)
def test_what_a_sequence_cannot_be_is_a_sentence(fitted: Path, run: Run, options: list[str]) -> None:
    code, _, told = run(
        "batch", fitted.parent / "shots", "--sequence", "--out", fitted.parent / "no", *options
    )
    assert code == 2 and "--sequence takes no" in told and told.count("\n") == 1


def test_options_of_sequences_and_dry_runs_are_told(fitted: Path, run: Run) -> None:
    shots, out = fitted.parent / "shots", fitted.parent / "no"
    code, _, told = run("batch", shots, "--out", out, "--fps", "25")
    assert code == 2 and "go with --sequence" in told
    code, said, _ = run("batch", shots, "--out", out, "--sequence", "--fps", "25", "--dry-run")
    assert code == 0 and "4 frames at 25 a second: 4 to do." in said and not out.exists()
