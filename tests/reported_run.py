"""The folder of a made-up run, as `chainrig batch` leaves it, for tests of what is made of it."""

import json
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.batch.manifest import NAME, SCHEMA, Entry, FittedFace
from pipeline.outputs.overlay import GAP, TITLE

CONTROLS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft")
PANEL = 64


def run_of(
    folder: Path,
    names: list[str],
    failed: dict[str, str] | None = None,
    bridged: dict[str, str] | None = None,
) -> list[Entry]:
    """Writes the files of a run: of every name a face with numbers of its own, of the others a reason."""
    chance = random.Random(1)
    folder.mkdir(parents=True)
    picture = folder / "panel.png"
    overlay().save(picture)
    entries = []
    for number, name in enumerate(names):
        output = str(Path(name).with_suffix(""))
        residual = round(chance.uniform(0.2, 2.0), 4)
        face = folder / output / "face-0"
        face.mkdir(parents=True)
        controls = {control: round(chance.random(), 4) for control in CONTROLS}
        (face / "fit.json").write_text(json.dumps(fit(number, residual, controls)))
        os.link(picture, face / "overlay.png")
        entries.append(entry(name, output, (FittedFace(0, "converged", residual),)))
    for name, why in (failed or {}).items():
        entries.append(entry(name, f"{name}-failed", (), why))
    for name, why in (bridged or {}).items():
        output = str(Path(name).with_suffix(""))
        face = folder / output / "face-0"
        face.mkdir(parents=True)
        between = fit(0, 0.0, {control: 0.5 for control in CONTROLS})
        left = {key: between[key] for key in ("schema", "controls", "identity", "pose", "camera")}
        told = {"status": "bridged", "error": why, "face": {"index": 0}, "between": names[:2]}
        (face / "fit.json").write_text(json.dumps(left | told))
        (face / "controls.csv").write_text("")
        entries.append(entry(name, output, (FittedFace(0, "bridged", error=why),)))
    picture.unlink()
    lines = [json.dumps({"schema": SCHEMA, **asdict(each)}) + "\n" for each in entries]
    (folder / NAME).write_text("".join(lines))
    return entries


def entry(name: str, output: str, faces: tuple[FittedFace, ...], error: str | None = None) -> Entry:
    status = "failed" if error else "done"
    same = {"config_sha256": "c", "weights_sha256": "w", "versions": "v", "finished": "2026-11-23T12:00:00Z"}
    return Entry(name, f"/photos/{name}", 1, 1, "0" * 64, status=status, error=error, output=output,
                 faces=faces, seconds={}, **same)  # fmt: skip


def fit(number: int, residual: float, controls: dict[str, float]) -> dict[str, Any]:
    return {
        "schema": "chainrig.fit/1",
        "face": {"index": 0, "box": [10.0, 20.0, 110.0, 120.0], "score": 0.9, "presence": 0.99},
        "status": "converged",
        "controls": controls,
        "identity": {"age": 0.5},
        "pose": {
            "head_yaw_pitch_roll_deg": [number % 60 - 30.0, 0.0, 0.0],
            "translation_m": [0.0, 0.0, -1.0],
        },
        "camera": {"focal_px": 1000.0},
        "residual": {"start_percent_iod": 2 * residual, "final_percent_iod": residual},
        "evaluations": 17,
        "gradients": 16,
        "seconds": 9.5,
    }


def overlay() -> Image.Image:
    """Three panels of one colour each: blue for the photo, red for the rig, grey."""
    picture = Image.new("RGB", (3 * PANEL + 4 * GAP, TITLE + PANEL + GAP))
    for column, colour in enumerate([(20, 60, 200), (200, 40, 20), (128, 128, 128)]):
        picture.paste(
            colour, (GAP + column * (PANEL + GAP), TITLE, GAP + column * (PANEL + GAP) + PANEL, TITLE + PANEL)
        )
    return picture
