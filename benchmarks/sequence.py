"""Sixty rendered frames whose controls are known: how smooth is a sequence, and how far from the truth?

    python benchmarks/sequence.py [--frames 60] [--folder DIR] [--workers 1] [--set A.B=C …] [--write]

The face of `known_controls.py` goes from one drawn expression and pose to the next in half a second; the
pictures have grain, which moves the detector's landmarks from frame to frame. The frames are fitted by
`chainrig batch --sequence`, and one by one by `chainrig batch` with the same person. Jitter is the root mean
square of how much the error of an expression changes from one frame to the next. All that is done stays in
DIR: start again after an interruption. About 25 minutes of one core.
"""

import argparse
import json
import math
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import roma
import torch
from PIL import Image
from torch import Tensor

from benchmarks.known_controls import draw, photograph
from pipeline.batch.discovery import find_images
from pipeline.batch.fitting import load
from pipeline.batch.manifest import read_manifests
from pipeline.batch.recipe import recipe_of
from pipeline.batch.run import Batch
from pipeline.batch.summary import read_fit
from pipeline.commands.batch import run_batch
from pipeline.commands.sequence import fit_sequence
from pipeline.config import load_config
from pipeline.deform.rig import Rig
from pipeline.sequence.frames import find_footage
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

RESULT = Path(__file__).parent / "results" / "sequence.json"
BETWEEN = 15  # frames from one drawn expression to the next
TURN = 0.6  # of the poses that single renders have
GRAIN = 0.05  # standard deviation of the pictures' values in [0, 1]


def motion(frames: int, seed: int) -> tuple[Tensor, Any, Any, float]:
    """Controls `(T, K)` float64, light, material, focal length in pixels."""
    space = Rig.load().controls
    first, light, material, focal = draw(seed)
    pose, kept = space.groups["pose"], space.groups["identity"]
    keys = [draw(seed + k)[0] for k in range((frames - 1) // BETWEEN + 2)]
    for key in keys:
        key[kept], key[-1] = first[kept], first[-1]
        key[pose][:3] *= TURN
    rows = []
    for frame in range(frames):
        number, share = divmod(frame / BETWEEN, 1)
        share = (1 - math.cos(math.pi * share)) / 2  # slow, fast, slow
        rows.append((1 - share) * keys[int(number)] + share * keys[int(number) + 1])
    return torch.stack(rows), light, material, focal


def render(folder: Path, frames: int, seed: int) -> tuple[Tensor, float]:
    """Writes the pictures that are not there yet; gives controls and focal length."""
    truth, light, material, focal = motion(frames, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for frame, x in enumerate(truth):
        path = folder / f"frame_{frame:03d}.png"
        if not path.exists():
            photo = photograph(x, light, material, focal, GRAIN, 1000 * seed + frame)
            Image.fromarray(photo.pixels.numpy()).save(path)
    return truth, focal


def found(out: Path, frames: int) -> tuple[Tensor, set[str]]:
    """Controls `(T, K)` of a run, and the expressions that some frame cannot show."""
    space, known = Rig.load().controls, read_manifests(out)
    rows, unseen = [], set()
    for frame in range(frames):
        entry = known[f"frame_{frame:03d}.png"]
        document = read_fit(out / entry.output / f"face-{entry.faces[0].index}")
        assert document is not None and document["status"] != "failed", entry
        pose = [*document["pose"]["rotation_vector_rad"], *document["pose"]["translation_m"]]
        named = dict(zip(space.names[space.groups["pose"]], pose, strict=True))
        rows.append(space.pack(document["controls"] | document["identity"] | named))
        unseen |= set(document["unobservable"])
    return torch.stack(rows).double(), unseen


def judged(x: Tensor, truth: Tensor, names: Sequence[int]) -> dict[str, float]:
    """Errors and jitters of expressions, of the head's turn in degrees, and of its place in millimetres."""
    pose = Rig.load().controls.groups["pose"]
    apart = (x - truth)[:, list(names)]
    turns = [roma.rotvec_to_rotmat(one[:, pose][:, :3]) for one in (x, truth)]
    turn = torch.rad2deg(roma.rotmat_to_rotvec(turns[0] @ turns[1].mT))
    place = 1000 * (x - truth)[:, pose][:, 3:]

    def jitter(errors: Tensor) -> float:
        return float(errors.diff(dim=0).square().mean().sqrt())

    return {
        "mean_absolute_error": float(apart.abs().mean()),
        "jitter": jitter(apart),
        "rotation_deg": float(turn.norm(dim=-1).mean()),
        "rotation_jitter_deg": jitter(turn),
        "translation_mm": float(place.norm(dim=-1).mean()),
        "translation_jitter_mm": jitter(place),
    }


def landmark_noise(folder: Path, settings: Any, truth: Tensor, seed: int, frames: Sequence[int]) -> float:
    """Mean distance of the detector's landmarks with and without grain, % of the outer-eye distance."""
    from pipeline.fit import FaceFitter

    _, light, material, focal = motion(len(truth), seed)
    fitter, apart = FaceFitter(settings), []
    for frame in frames:
        clean = photograph(truth[frame], light, material, focal)
        grainy = read_photo(folder / f"frame_{frame:03d}.png")
        targets = [fitter.target(photo, find_faces(photo.pixels)[0]) for photo in (clean, grainy)]
        distance = (targets[0].points - targets[1].points).norm(dim=-1).mean()
        apart.append(float(distance) / targets[0].iod * 100)
    return sum(apart) / len(apart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=700)
    parser.add_argument("--folder", type=Path, default=Path("out/benchmark-sequence"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pictures, together, alone = (asked.folder / name for name in ("frames", "sequence", "alone"))
    truth, focal = render(pictures, asked.frames, asked.seed)
    settings = load_config(None, [*asked.set, f"camera.focal_px={focal}"])
    fit_sequence(find_footage(str(pictures)), together, settings, 1.0, asked.workers, None, False, False)
    one_by_one = load_config(
        None, [*asked.set, f"camera.focal_px={focal}", f"fit.subject={together / 'subject.json'}"]
    )
    recipe = recipe_of(one_by_one, "largest")
    batch = Batch(find_images(str(pictures)), alone, recipe, workers=asked.workers)
    run_batch(batch, partial(load, one_by_one, "largest"), False, False)

    space = Rig.load().controls
    of_sequence, unseen = found(together, asked.frames)
    of_frames, unseen_too = found(alone, asked.frames)
    expressions = space.names[space.groups["expression"]]
    kept = [space.index(name) for name in expressions if name not in unseen | unseen_too]
    figures = {
        "command": f"benchmarks/sequence.py --frames {asked.frames} --seed {asked.seed} {asked.set}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "landmark_noise_percent_iod": landmark_noise(
            pictures, settings, truth, asked.seed, range(0, asked.frames, 10)
        ),
        "expressions": len(kept),
        "sequence": judged(of_sequence, truth, kept),
        "one by one": judged(of_frames, truth, kept),
        "true_motion": float(truth[:, kept].diff(dim=0).square().mean().sqrt()),
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if asked.write:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
