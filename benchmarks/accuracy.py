"""Fits the example photo and every photo of a folder, and states how well.

    python benchmarks/accuracy.py [FOLDER] [--set a.b=c …] [--json FILE]

Photos named NAME_neutral and NAME_smiling are two of one person: the controls of the first should be near 0,
and `mouthSmile` (mean of left and right) should rise from the first to the second.
"""

import argparse
import json
import multiprocessing
from functools import cache, partial
from pathlib import Path
from statistics import mean, median

import torch

from pipeline import assets
from pipeline.config import load_config
from pipeline.fit import FaceFitter
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo


@cache
def _fitter(settings: tuple[str, ...]) -> FaceFitter:
    return FaceFitter(load_config(None, list(settings)))


def fit(path: Path, settings: list[str]) -> dict:
    """One row of the table."""
    torch.set_num_threads(1)
    fitter = _fitter(tuple(settings))
    photo = read_photo(path)
    result = fitter.fit(photo, max(find_faces(photo.pixels), key=lambda face: face.area))
    controls = result.controls
    return {
        "photo": path.stem,
        "start": result.residual_start,
        "final": result.residual_final,
        "evaluations": result.evaluations,
        "gradients": result.gradients,
        "status": result.status,
        "mean_expression": mean(abs(value) for value in controls.values()),
        "largest_expression": max(controls.values()),
        "smile": (controls["mouthSmileLeft"] + controls["mouthSmileRight"]) / 2,
        "yaw_pitch_focal": [*result.rotation_vector[:2], result.focal_px],
        "seconds": result.seconds,
    }


def summary(rows: list[dict]) -> dict:
    """What the table comes to."""
    by_name = {row["photo"]: row for row in rows}
    neutral = [row for row in rows if row["photo"].endswith("_neutral")]
    pairs = [(row, by_name.get(row["photo"].replace("_neutral", "_smiling"))) for row in neutral]
    rises = [smiling["smile"] - row["smile"] for row, smiling in pairs if smiling is not None]
    out = {
        "photos": len(rows),
        "final_mean": mean(row["final"] for row in rows),
        "final_worst": max(row["final"] for row in rows),
        "not_below_start": sum(row["final"] >= row["start"] for row in rows),
        "evaluations_mean": mean(row["evaluations"] for row in rows),
        "evaluations_most": max(row["evaluations"] for row in rows),
        "seconds_mean": mean(row["seconds"] for row in rows),
    }
    if neutral:
        out["neutral_mean_expression"] = mean(row["mean_expression"] for row in neutral)
        out["neutral_median_largest"] = median(row["largest_expression"] for row in neutral)
    if rises:
        out["smile_rise_mean"], out["smile_rise_least"] = mean(rises), min(rises)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    paths = [assets.path("example.png")]
    if arguments.folder is not None:
        paths += sorted(
            p for p in arguments.folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")
        )
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        rows = pool.map(partial(fit, settings=arguments.set), paths, chunksize=1)
    print(
        f"{'photo':16}{'start':>7}{'final':>7}{'evals':>6}{'grads':>6}"
        f"{'mean|e|':>9}{'largest':>9}{'smile':>7}  status"
    )
    for row in rows:
        print(
            f"{row['photo']:16}{row['start']:7.2f}{row['final']:7.2f}{row['evaluations']:6}{row['gradients']:6}"
            f"{row['mean_expression']:9.3f}{row['largest_expression']:9.2f}{row['smile']:7.2f}"
            f"  {row['status']}"
        )
    for name, value in summary(rows).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    if arguments.json:
        document = {"settings": arguments.set, "summary": summary(rows), "photos": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
