"""What the tests of `chainrig batch --sequence` share: a stand-in for the face, in real processes.

A "frame" is a text file whose words say what is seen in it: "at 0.5" is jawOpen with a head that turns along.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.batch.manifest import FittedFace
from pipeline.batch.recipe import Recipe
from pipeline.batch.work import FaceFiles
from pipeline.controls import ControlSpace
from pipeline.errors import ChainRigError
from pipeline.outputs.live_link import COLUMNS
from pipeline.sequence.frames import Frame, find_footage
from pipeline.sequence.joint import Found
from pipeline.sequence.motion import Motion, tied
from pipeline.sequence.performer import Neighbours, Tracked
from pipeline.sequence.run import Take
from pipeline.solve.priors import Prior, flat

RECIPE = Recipe("config", "weights", "versions")
NAMES = ("jawOpen", "headRotationY")


class Here:
    """A pool of nobody: this process does the work, which saves the start of another."""

    def __init__(self, prepare: Any, workers: int, seconds: float | None = None) -> None:
        self.prepare = prepare

    def run(self, tasks: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
        tasks = list(tasks)
        do = self.prepare() if tasks else None
        for task in tasks:
            assert do is not None
            yield task, do(task)


@dataclass(frozen=True)
class Seen:
    """A frame's values, and the files of a fit."""

    values: dict[str, float]

    told = FittedFace(0, "converged", 0.5)

    def files(self) -> dict[str, bytes]:
        turn = [0.0, self.values["headRotationY"], 0.0]
        document = {
            "face": {"index": 0, "box": [0.0, 0.0, 1.0, 1.0], "score": 1.0, "presence": 1.0},
            "rig": "head_rig",
            "deformer": "skinning",
            "controls": {"jawOpen": self.values["jawOpen"]},
            "identity": {},
            "pose": {
                "rotation_vector_rad": turn,
                "head_yaw_pitch_roll_deg": [57.29577951 * turn[1], 0.0, 0.0],
                "translation_m": [0.0, 0.0, -1.0],
            },
            "camera": {"focal_px": 700.0, "principal_point_px": [320.0, 240.0]},
            "residual": {"start_percent_iod": 2.0, "final_percent_iod": 0.5},
            "evaluations": 3,
            "gradients": 2,
            "seconds": 1.0,
            "status": "converged",
        }
        values = dict.fromkeys(COLUMNS[2:], 0.0) | {"JawOpen": self.values["jawOpen"], "HeadYaw": turn[1]}
        row = ["00:00:00:00.000", "61", *(f"{value:.8f}" for value in values.values())]
        csv = f"{','.join(COLUMNS)}\n{','.join(row)}\n".encode()
        document = json.dumps(document).encode()
        return {"controls.csv": csv, "fit.json": document, "overlay.png": b"", "config.yaml": b""}


class StandIn:
    """Sees what frames say, plus a little of where it began: order matters, as in a fit."""

    def __init__(self, calls: Path, steadiness: float = 1.0) -> None:
        self.calls = calls
        self.prior: Prior = flat(torch.tensor([0.0, -1.0]).double(), torch.tensor([1.0, 1.0]).double())
        space = ControlSpace.of_rig(["jawOpen"], [], [], [])
        self.stiffness = Motion(steadiness=steadiness).stiffness(space, 30)[[0, 2]]

    def track(self, frame: Frame, before: Tracked | None) -> Tracked:
        x = self.seen(frame, "track")
        if before is not None:
            x = x + 1e-3 * (before.found.x - x)
        hessian = 100 * torch.eye(2, dtype=torch.float64)
        return Tracked(Found(frame.place, x, hessian, torch.zeros(2).double()), 0, torch.zeros(4))

    def polish(self, frame: Frame, index: int, x: Tensor, neighbours: Neighbours) -> FaceFiles:
        seen, prior = self.seen(frame, "polish"), tied(self.prior, self.stiffness, neighbours)
        found = (100 * seen + prior.precision * prior.mean) / (100 + prior.precision)
        return Seen(dict(zip(NAMES, found.tolist(), strict=True)))

    def seen(self, frame: Frame, phase: str) -> Tensor:
        with self.calls.open("a") as file:
            file.write(f"{phase} {frame.name}\n")
        if frame.missing:
            raise ChainRigError(f"There is no {frame.name}.")
        what, _, how = frame.path.read_text().partition(" ")
        if what == "blank":
            raise ChainRigError(f"There is no face in {frame.path}.")
        if what == "crash":
            raise KeyError("a mistake of ours")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "wait":
            time.sleep(float(how))
        if what == "remove":
            shutil.rmtree(self.calls.with_suffix(""))
        if what == "slowly":
            time.sleep(0.03)
        how = how or "0"
        return torch.tensor([float(how), float(how) / 2], dtype=torch.float64)


def frames(folder: Path, texts: dict[int, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in texts.items():
        (folder / f"shot_{number}.png").write_text(text)
    return folder


def take(source: Path, out: Path, **options: Any) -> Take:
    return Take(find_footage(str(source), besides=out), out, **({"recipe": RECIPE, "workers": 1} | options))


def load(out: Path, steadiness: float = 1.0) -> Any:
    return partial(StandIn, out.with_name(f"{out.name}.calls"), steadiness)


def calls(out: Path) -> list[str]:
    """What was looked at, in order."""
    return out.with_name(f"{out.name}.calls").read_text().splitlines()


def curve(out: Path, count: int) -> list[float]:
    """jawOpen of every frame, by its fit.json."""
    faces = [out / f"shot_{number}" / "face-0" / "fit.json" for number in range(count)]
    return [json.loads(face.read_text())["controls"]["jawOpen"] for face in faces]
