"""Wrong landmarks: what do they do to the controls, and what does a robust loss save?

    python benchmarks/corrupted_landmarks.py [PHOTO …] [--renders 20] [--rows FILE] [--json FILE]
    python benchmarks/corrupted_landmarks.py --warm-start --losses squares huber:1.5 geman_mcclure:3

Renders of known controls (`known_controls.py`) and photographs are fitted to the detector's landmarks, then
to the same landmarks of which 10 % lie wrong, by 20 % of the outer-eye distance in any direction; with every
loss, of the width (% of the outer-eye distance) behind its colon. Errors of renders are those of expressions
that show, against the truth. Photographs have no truth: told is how far expressions move from those of the
clean fit by the same loss. `--warm-start` stops before the chain: no pixel is drawn, and all expressions
count. `--rows` keeps every fit, and a second run goes on there.
"""

import argparse
import json
import math
import platform
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from known_controls import draw, photograph, truth_of

from pipeline import assets
from pipeline.calibrate import largest_face
from pipeline.config import load_config
from pipeline.errors import ChainRigError
from pipeline.evaluation.control_error import absolute_errors, angle_between, control_error
from pipeline.evaluation.truth import Truth
from pipeline.fit import FaceFitter
from pipeline.result import FitResult, Picture
from pipeline.target.faces import Face
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo, read_photo
from pipeline.target.target import Target

WRONG, BY = 0.1, 0.2  # of the landmarks, and of the outer-eye distance
LOSSES = ("squares", "huber")
KNOWN = ("observable", "active", "quiet", "rotation_deg")  # of `ControlError`


def corrupted(target: Target, seed: int, wrong: float = WRONG, by: float = BY) -> Target:
    """The target after some of the detector's landmarks were moved, each in a direction of its own."""
    noise = torch.Generator().manual_seed(seed)
    count = len(target.landmarks)
    which = torch.randperm(count, generator=noise)[: round(wrong * count)]
    turn = 2 * math.pi * torch.rand(len(which), generator=noise)
    landmarks = target.landmarks.clone()
    landmarks[which, :2] += by * target.iod * torch.stack([turn.cos(), turn.sin()], -1)
    return replace(
        target,
        mesh=target.mesh._replace(landmarks=landmarks),
        landmarks=landmarks,
        points=target.comparison.detected(landmarks.double()),
    )


class Misled(FaceFitter):
    """Fits to landmarks that `corrupted` has moved, where a seed is given."""

    seed: int | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.studio.picture = self._no_picture  # type: ignore[method-assign]

    def target(self, photo: Photo, face: Face, labels: Labels | None = None) -> Target:
        target = super().target(photo, face, labels)
        return target if self.seed is None else corrupted(target, self.seed)

    def _no_picture(self, *_: Any) -> Picture:
        """Nobody looks at it."""
        return Picture(torch.zeros(1, 1, 4, dtype=torch.uint8), torch.eye(2, 3))


def read(name: str) -> tuple[Photo, list[str], Truth | None]:
    """A photo's path, or a render's seed → the picture, the settings that it comes with, and its truth."""
    if not name.isdecimal():
        return read_photo(name), [], None
    x, light, material, focal = draw(int(name))
    return photograph(x, light, material, focal), [f"camera.focal_px={focal}"], truth_of(x)


def fits(name: str, losses: Sequence[str], settings: list[str], warm_start: bool) -> dict[str, Any]:
    """One row: what every loss makes of the clean and of the corrupted landmarks."""
    photo, own, truth = read(name)
    face = largest_face(photo)[1]
    row: dict[str, Any] = {"picture": name if truth else Path(name).stem, "render": truth is not None}
    for loss in losses:
        kind, _, width = loss.partition(":")
        wanted = [f"fit.loss={kind}", *([f"fit.loss_percent={width}"] if width else [])]
        fitter = Misled(load_config(None, [*settings, *own, *wanted]))
        for landmarks in ("clean", "corrupted"):
            seed = int(name) if truth else sum(Path(name).stem.encode())
            fitter.seed = None if landmarks == "clean" else seed
            fit = started(fitter, photo, face, truth) if warm_start else told(fitter.fit(photo, face), truth)
            row[f"{loss}, {landmarks}"] = fit
    return row


def started(fitter: FaceFitter, photo: Photo, face: Face, truth: Truth | None) -> dict[str, Any]:
    """Of a warm start."""
    target = fitter.target(photo, face)
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    x = fitter.warm_start(objective, fitter.first_guess(target, camera))
    values, names = fitter.rig.controls.unpack(x), fitter.rig.expression_names
    result: dict[str, Any] = {"controls": {name: values[name] for name in names}, "unobservable": []}
    result["residual_percent"] = objective.percent(objective.embedded(x))
    if truth is not None:
        errors = absolute_errors(result["controls"], truth.expressions)
        result["observable"] = mean(errors.values())
        result["active"] = mean(errors[name] for name in names if truth.expressions[name])
        result["quiet"] = mean(errors[name] for name in names if not truth.expressions[name])
        turn = x[fitter.rig.controls.groups["pose"]][:3].tolist()
        assert truth.rotation_vector is not None
        result["rotation_deg"] = angle_between((turn[0], turn[1], turn[2]), truth.rotation_vector)
    return result


def told(found: FitResult, truth: Truth | None) -> dict[str, Any]:
    """Of one fit."""
    result: dict[str, Any] = {"controls": found.controls, "residual_percent": found.residual_final}
    result |= {"unobservable": [name for name in found.unobservable if name in found.controls]}
    if truth is not None:
        error = control_error(found, truth)
        result |= {name: getattr(error, name) for name in KNOWN}
    return result


def summary(rows: list[dict[str, Any]], losses: Sequence[str]) -> dict[str, Any]:
    """By loss: errors on renders, clean and corrupted, and how far controls of photos move."""
    result: dict[str, Any] = {}
    for loss in losses:
        pairs = [(row, row[f"{loss}, clean"], row[f"{loss}, corrupted"]) for row in rows]
        clean, wrong = ([p[i] for p in pairs if p[0]["render"]] for i in (1, 2))
        photos = [p[1:] for p in pairs if not p[0]["render"]]
        of: dict[str, Any] = {"renders": len(clean), "photos": len(photos)}
        if clean:
            of |= {f"{name}_clean": mean(fit[name] for fit in clean) for name in KNOWN}
            of |= {f"{name}_corrupted": mean(fit[name] for fit in wrong) for name in KNOWN}
            of["ratio"] = of["observable_corrupted"] / of["observable_clean"]
        if photos:
            of["photos_moved"] = mean(moved(*fits) for fits in photos)
            of["photos_residual_clean"] = mean(fit["residual_percent"] for fit, _ in photos)
        result[loss] = of
    return result


def moved(clean: dict[str, Any], wrong: dict[str, Any]) -> float:
    """Mean distance of expressions that show between two fits."""
    unseen = {*clean["unobservable"], *wrong["unobservable"]}
    there = wrong["controls"]
    return mean(abs(value - there[name]) for name, value in clean["controls"].items() if name not in unseen)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path, help="besides the example")
    parser.add_argument("--renders", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first render")
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="LOSS[:WIDTH]")
    parser.add_argument("--warm-start", action="store_true", help="without the chain")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--rows", type=Path, help="keeps every picture's fits; a second run goes on there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    renders = [str(seed) for seed in range(arguments.first, arguments.first + arguments.renders)]
    photos = [] if arguments.warm_start else [assets.path("example.png")]
    photos += arguments.photos
    rows: list[dict[str, Any]] = []
    if arguments.rows and arguments.rows.is_file():
        rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    done = {row["picture"] for row in rows}
    for name in [*renders, *map(str, photos)]:
        if Path(name).stem in done:
            continue
        try:
            rows.append(fits(name, arguments.losses, arguments.set, arguments.warm_start))
        except ChainRigError as refused:
            print(name, refused, flush=True)
            continue
        print(rows[-1]["picture"], flush=True)
        if arguments.rows:
            with arguments.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    found = summary(rows, arguments.losses)
    print(json.dumps(found, indent=1))
    if arguments.json:
        about = {
            "warm_start": arguments.warm_start,
            "settings": arguments.set,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        text = json.dumps(about | {"summary": found, "rows": rows})
        short = re.sub(r"\d+\.\d{5,}(e-\d+)?", lambda number: f"{float(number[0]):.4g}", text)
        arguments.json.write_text(short + "\n")


if __name__ == "__main__":
    main()
