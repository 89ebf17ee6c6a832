"""Light, colours and focal length from photos: how much closer does the render come, at what price?

    python benchmarks/appearance.py [FOLDER] [--set a.b=c …] [--json FILE]
    python benchmarks/appearance.py --distances [--json FILE]

The first fits the example photo and every photo of a folder in the default light and colours and in those of
the photo, and states the difference of sRGB values inside the face's outline with both, and the landmark
residual. The second renders made-up heads from known distances and estimates them.
"""

import argparse
import json
import math
import multiprocessing
import time
from functools import cache, partial
from pathlib import Path
from statistics import mean

import torch

from pipeline import assets
from pipeline.config import load_config
from pipeline.deform.deform import Deformer
from pipeline.fit import FaceFitter
from pipeline.focal import estimate_focal
from pipeline.render.camera import Camera, focal_for_distance
from pipeline.target.faces import find_faces
from pipeline.target.photo import Photo, read_photo

DISTANCES = (0.4, 0.6, 0.9, 1.2, 2.0, 4.0)  # metres


@cache
def _fitter(settings: tuple[str, ...]) -> FaceFitter:
    return FaceFitter(load_config(None, list(settings)))


def follow(path: Path, settings: list[str]) -> dict:
    """One row of the first table; seconds are of the processor."""
    torch.set_num_threads(1)
    photo = read_photo(path)
    face = max(find_faces(photo.pixels), key=lambda face: face.area)
    results, seconds = [], []
    for wanted in ("false", "true"):
        fitter = _fitter((*settings, f"appearance.fit={wanted}"))
        began = time.process_time()
        results.append(fitter.fit(photo, face))
        seconds.append(time.process_time() - began)
    plain, dressed = results
    told = dressed.appearance
    assert told is not None, f"{path}: too little of the face is seen"
    return {
        "photo": path.stem,
        "error_start": told.error_start,
        "error_final": told.error_final,
        "drop": 1 - told.error_final / told.error_start,
        "residual_start": plain.residual_final,
        "residual_final": dressed.residual_final,
        "skin": told.colours["skin"],
        "direction": told.direction,
        "seconds_fit": seconds[0],
        "seconds_appearance": seconds[1] - seconds[0],
    }


def summary(rows: list[dict]) -> dict:
    """What the first table comes to."""
    start, final = mean(row["error_start"] for row in rows), mean(row["error_final"] for row in rows)
    return {
        "photos": len(rows),
        "error_start": start,
        "error_final": final,
        "drop_of_mean": 1 - final / start,
        "drop_least": min(row["drop"] for row in rows),
        "photos_below_60_percent": sum(row["drop"] >= 0.4 for row in rows),
        "residual_start": mean(row["residual_start"] for row in rows),
        "residual_final": mean(row["residual_final"] for row in rows),
        "residual_worse": sum(row["residual_final"] > row["residual_start"] for row in rows),
        "seconds_fit": mean(row["seconds_fit"] for row in rows),
        "seconds_appearance": mean(row["seconds_appearance"] for row in rows),
    }


def tell_distance(head: int, settings: list[str]) -> list[dict]:
    """Rows of the second table: one made-up head, from all distances."""
    torch.set_num_threads(1)
    fitter = _fitter(tuple(settings))
    space, config = fitter.rig.controls, fitter.config
    away, identity = space.index("headTranslationZ"), space.groups["identity"]
    x, noise = space.rest.clone(), torch.Generator().manual_seed(head)
    width = 3 * fitter.prior.precision[identity].rsqrt()
    x[identity] = width * torch.randn(len(width), generator=noise, dtype=torch.float64)
    x[space.index("headRotationY")] = 0.3 * float(torch.randn((), generator=noise))
    x[space.index("mouthSmileLeft")] = x[space.index("mouthSmileRight")] = 0.5 * (head % 2)
    rows = []
    for distance in DISTANCES:
        x[away] = -distance
        focal = focal_for_distance(torch.tensor(500.0), distance)
        true = Camera(focal, torch.tensor([300.0, 300.0]), size=(600, 600))
        with torch.no_grad():
            picture = fitter.studio.renderer(true, fitter.studio.default)(
                Deformer(fitter.rig)(fitter.prior.project(x).float())
            )
        photo = Photo((picture.clamp(0, 1) * 255).round().to(torch.uint8), Path("render"), "")
        target = fitter.target(photo, max(find_faces(photo.pixels), key=lambda face: face.area))
        camera = fitter.camera(photo, target)
        objective = fitter.objective(target, camera)
        start = fitter.warm_start(objective, fitter.first_guess(target, camera))
        found = estimate_focal(objective, fitter.prior, start, away, camera, config.camera.distance_spread)
        rows.append(
            {
                "head": head,
                "distance": distance,
                "found": -float(found.x[away]),
                "log_error_before": math.log(float(camera.focal_px / focal)),
                "log_error": math.log(float(found.focal_px / focal)),
                "spread": found.spread,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--distances", action="store_true", help="made-up heads from known distances")
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        if arguments.distances:
            work = partial(tell_distance, settings=arguments.set)
            rows = [row for head in pool.imap(work, range(arguments.heads)) for row in head]
            document = {"heads": rows, "summary": _by_distance(rows)}
        else:
            paths = [assets.path("example.png")]
            if arguments.folder is not None:
                suffixes = (".jpg", ".jpeg", ".png")
                paths += sorted(p for p in arguments.folder.iterdir() if p.suffix.lower() in suffixes)
            rows = []
            for row in pool.imap(partial(follow, settings=arguments.set), paths):
                print(_line(row), flush=True)
                rows.append(row)
            document = {"settings": arguments.set, "summary": summary(rows), "photos": rows}
    print(json.dumps(document["summary"], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def _line(row: dict) -> str:
    return (
        f"{row['photo']:14} error {row['error_start']:.3f} → {row['error_final']:.3f} ({row['drop']:.0%})  "
        f"median {row['median_start']:.3f} → {row['median_final']:.3f}  "
        f"residual {row['residual_start']:.2f} → {row['residual_final']:.2f}  "
        f"focal length × {row['focal_factor']:.2f}  "
        f"{row['seconds_fit']:.1f} + {row['seconds_appearance']:.1f} s"
    )


def _by_distance(rows: list[dict]) -> list[dict]:
    """Root mean squares of log(found / true) before and after, and the spread that the estimate claims."""
    table = []
    for distance in DISTANCES:
        here = [row for row in rows if row["distance"] == distance]
        table.append(
            {
                "distance": distance,
                "found_mean": math.exp(mean(math.log(row["found"]) for row in here)),
                "rms_log_before": mean(row["log_error_before"] ** 2 for row in here) ** 0.5,
                "rms_log": mean(row["log_error"] ** 2 for row in here) ** 0.5,
                "spread": mean(row["spread"] for row in here),
            }
        )
    return table


if __name__ == "__main__":
    main()
