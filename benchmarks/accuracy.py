"""Fits the example photo and every photo of a folder, and states how well.

    python benchmarks/accuracy.py [FOLDER] [--set a.b=c …] [--json FILE]

Photos named NAME_neutral and NAME_smiling are two of one person: the controls of the first should be near 0,
and `mouthSmile` (mean of left and right) should rise from the first to the second. The file is written anew
after every photo, so a run that is cut off leaves what it has.
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
from pipeline.errors import ChainRigError
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.statistics import of_fits, of_neutral, of_smiles
from pipeline.fit import FaceFitter
from pipeline.outputs.whole_file import whole_file
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo


@cache
def _fitter(settings: tuple[str, ...]) -> FaceFitter:
    return FaceFitter(load_config(None, list(settings)))


def fit(path: Path, settings: list[str]) -> Row:
    """What became of a photo."""
    torch.set_num_threads(1)
    fitter = _fitter(tuple(settings))
    try:
        photo = read_photo(path)
        faces = find_faces(photo.pixels)
        if not faces:
            return Row(path.stem, "failed", "no face found")
        return row_of(path.stem, fitter.fit(photo, max(faces, key=lambda face: face.area)))
    except ChainRigError as error:
        return Row(path.stem, "failed", str(error))


def record(row: Row) -> dict[str, Any]:
    """One row of the table."""
    fit = row.found
    if fit is None:
        return {"photo": row.path, "failed": row.reason}
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
    out: dict[str, Any] = {"photos": len(rows), "failed": sum(row.found is None for row in rows)}
    if not fits:
        return out
    out |= {
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


def line(row: dict[str, Any]) -> str:
    """Of the printed table."""
    if "failed" in row:
        return f"{row['photo']:16}{row['failed']}"
    return (
        f"{row['photo']:16}{row['start']:7.2f}{row['final']:7.2f}{row['evaluations']:6}{row['gradients']:6}"
        f"{row['mean_expression']:9.3f}{row['largest_expression']:9.2f}{row['smile']:7.2f}"
        f"  {row['status']}"
    )


def write(path: Path, settings: list[str], rows: Sequence[Row]) -> None:
    """What is known so far; a reader sees all of it, or all that was there before."""
    document = {"settings": settings, "summary": summary(rows), "photos": [record(row) for row in rows]}
    with whole_file(path) as draft:
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


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
    print(
        f"{'photo':16}{'start':>7}{'final':>7}{'evals':>6}{'grads':>6}"
        f"{'mean|e|':>9}{'largest':>9}{'smile':>7}  status"
    )
    rows: list[Row] = []
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for row in pool.imap(partial(fit, settings=arguments.set), paths):
            rows.append(row)
            print(line(record(row)), flush=True)
            if arguments.json:
                write(arguments.json, arguments.set, rows)
    for name, value in summary(rows).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
