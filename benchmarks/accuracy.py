"""Fits the example photo and every photo of a folder, and states how well.

    python benchmarks/accuracy.py [FOLDER] [--set a.b=c …] [--json FILE]

Photos named NAME_neutral and NAME_smiling are two of one person: the controls of the first should be near 0,
and `mouthSmile` (mean of left and right) should rise from the first to the second.
"""

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from pipeline import assets
from pipeline.config import load_config
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.statistics import of_fits, of_neutral, of_smiles
from pipeline.fit import FaceFitter
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo


@cache
def _fitter(settings: tuple[str, ...]) -> FaceFitter:
    return FaceFitter(load_config(None, list(settings)))


def fit(path: Path, settings: list[str]) -> Row:
    """What became of a photo."""
    torch.set_num_threads(1)
    fitter = _fitter(tuple(settings))
    photo = read_photo(path)
    result = fitter.fit(photo, max(find_faces(photo.pixels), key=lambda face: face.area))
    return row_of(path.stem, result)


def record(row: Row) -> dict[str, Any]:
    """One row of the table."""
    fit = row.found
    assert fit is not None
    return {
        "photo": row.path,
        "start": fit.residual_start_percent,
        "final": fit.residual_final_percent,
        "evaluations": fit.evaluations,
        "gradients": fit.gradients,
        "status": row.status,
        "mean_expression": fit.mean_expression,
        "largest_expression": fit.largest_expression,
        "smile": fit.smile,
        "yaw_pitch_focal": [fit.pose["headRotationX"], fit.pose["headRotationY"], fit.focal_px],
        "seconds": fit.seconds,
    }


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """What the table comes to."""
    fits, neutral, smile = of_fits(rows), of_neutral(rows), of_smiles(rows)
    out = {
        "photos": len(rows),
        "final_mean": fits["residual_percent_mean"],
        "final_worst": fits["residual_percent_worst"],
        "not_below_start": fits["not_below_start"],
        "evaluations_mean": fits["evaluations_mean"],
        "evaluations_most": fits["evaluations_most"],
        "seconds_mean": fits["seconds_mean"],
    }
    if neutral:
        out["neutral_mean_expression"] = neutral["mean_expression"]
        out["neutral_median_largest"] = neutral["largest_median"]
    if smile:
        out["smile_rise_mean"], out["smile_rise_least"] = smile["rise_mean"], smile["rise_least"]
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
        found = pool.map(partial(fit, settings=arguments.set), paths, chunksize=1)
    rows = [record(row) for row in found]
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
    for name, value in summary(found).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    if arguments.json:
        document = {"settings": arguments.set, "summary": summary(found), "photos": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
