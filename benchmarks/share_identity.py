"""One head from several photos of a person: is it closer to the truth than the heads of single fits?

    python benchmarks/share_identity.py [--people 6] [--photos 4] [--set a.b=c …] [--rows FILE] [--json FILE]

Every person is a head and a skin of `known_controls.py`, photographed with other expressions, poses and
lights; focal lengths are known. Each photo is fitted alone, then all of a person together, as
`chainrig fit --share-identity` does. A head's error is the mean distance of its landmarks at rest from the
true ones in millimetres, once it is turned, shifted and scaled to lie on them: size and distance look alike.
Expressions' errors are those of `chainrig evaluate`. `--rows` keeps every person, and a second run goes on
there.
"""

import argparse
import json
import math
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean
from typing import Any, cast

import roma
import torch
from known_controls import SIDE, draw, photograph, truth_of
from torch import Tensor

from pipeline.calibrate import calibrate, largest_face
from pipeline.config import Config, load_config
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.statistics import of_fits, of_truth
from pipeline.evaluation.truth import Truth
from pipeline.fit import FaceFitter
from pipeline.subject import subject_json
from pipeline.target.faces import Face
from pipeline.target.photo import Photo

Seen = tuple[Photo, Face, Truth]


def photographed(person: int, photos: int, rig: Rig) -> list[Seen]:
    """Photos of one head and skin; all else is another's each time."""
    x, _, material, _ = draw(person)
    identity = rig.controls.groups["identity"]
    seen = []
    for place in range(photos):
        other, light, _, focal = draw(1000 * (person + 1) + place)
        other[identity] = x[identity]
        lens = math.hypot(36, 24) * focal / math.hypot(SIDE, SIDE)
        photo = replace(photograph(other, light, material, focal), focal_35mm=lens)
        seen.append((photo, largest_face(photo)[1], truth_of(other)))
    return seen


def head_error_mm(rig: Rig, found: Mapping[str, float], true: Mapping[str, float]) -> float:
    """Mean distance of the scored landmarks of two heads at rest, of the same size, one laid on the other."""
    heads = at_rest(rig, found), at_rest(rig, true)
    moves = roma.rigid_points_registration(*heads, compute_scaling=True)
    turn, shift, scale = cast(tuple[Tensor, Tensor, Tensor], moves)
    return 1000 * float((scale * heads[0] @ turn.mT + shift - heads[1]).norm(dim=-1).mean())


def at_rest(rig: Rig, identity: Mapping[str, float]) -> Tensor:
    """`(442, 3)` float64 metres: the scored landmarks of a head."""
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    values = torch.tensor([identity[name] for name in rig.identity_names]).double()
    vertices = small.rest.double() + torch.einsum("n,nvc->vc", values, small.identity_deltas.double())
    points = small.landmark_barycentric.double()[..., None] * vertices[small.triangles]
    return points.sum(-2)[list(SCORED)]


def one(person: int, photos: int, config: Config) -> dict[str, Any]:
    """What single fits and the shared head come to."""
    alone, rig = FaceFitter(config), Rig.load()
    seen = photographed(person, photos, rig)
    true = seen[0][2].identity
    assert true is not None
    single = [(alone.fit(photo, face), truth) for photo, face, truth in seen]
    subject = calibrate([(photo, face) for photo, face, _ in seen], config, at_rest=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "subject.json"
        file.write_text(subject_json(subject))
        fit = config.fit.model_copy(update={"subject": str(file)})
        fitter = FaceFitter(config.model_copy(update={"fit": fit}))
    together = [(fitter.fit(photo, face), truth) for photo, face, truth in seen]
    return {
        "person": person,
        "mean_head_mm": head_error_mm(rig, dict.fromkeys(true, 0.0), true),
        "single_head_mm": [head_error_mm(rig, found.identity, true) for found, _ in single],
        "shared_head_mm": head_error_mm(rig, subject.identity, true),
        "single": told([row_of(str(person), found, truth=truth) for found, truth in single]),
        "shared": told([row_of(str(person), found, truth=truth) for found, truth in together]),
    }


def told(rows: list[Row]) -> dict[str, float]:
    """Of the fits of a person."""
    truth, fits = of_truth(rows), of_fits(rows)
    names = ("observable_error", "active_error", "quiet_error", "rotation_deg_mean")
    return {name: truth[name] for name in names} | {"residual_percent": fits["residual_percent_mean"]}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over people."""
    single, shared = (
        mean(mean(row["single_head_mm"]) for row in rows),
        mean(row["shared_head_mm"] for row in rows),
    )
    return {
        "people": len(rows),
        "mean_head_mm": mean(row["mean_head_mm"] for row in rows),
        "single_head_mm": single,
        "shared_head_mm": shared,
        "closer_than_the_mean_single": sum(
            row["shared_head_mm"] < mean(row["single_head_mm"]) for row in rows
        ),
        "closer_than_the_best_single": sum(
            row["shared_head_mm"] < min(row["single_head_mm"]) for row in rows
        ),
        **{
            kind: {name: mean(row[kind][name] for row in rows) for name in rows[0][kind]}
            for kind in ("single", "shared")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--photos", type=int, default=4, help="of each")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--rows", type=Path, help="keeps every person; a second run goes on there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(None, arguments.set)
    rows: list[dict[str, Any]] = []
    if arguments.rows and arguments.rows.is_file():
        rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    for person in range(len(rows), arguments.people):
        rows.append(one(person, arguments.photos, config))
        print(json.dumps(rows[-1]), flush=True)
        if arguments.rows:
            with arguments.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    found = summary(rows)
    print(json.dumps(found, indent=1))
    if arguments.json:
        about = {
            "command": f"benchmarks/share_identity.py --photos {arguments.photos} {arguments.set}",
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        arguments.json.write_text(json.dumps(about | {"summary": found, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
