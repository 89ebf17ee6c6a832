"""Fits photos to labels that people placed, and states how close the rig's own points come to them.

    python benchmarks/labels.py FOLDER [--set a.b=c …] [--json FILE]

FOLDER holds photos, each beside its labels: me.jpg and me.json, me.pts, me.ljson or me.csv. Judged is as
`chainrig evaluate FOLDER --fit-to-labels` does.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from pipeline.config import load_config
from pipeline.evaluation.row import row_of
from pipeline.fit import FaceFitter
from pipeline.target.faces import find_faces
from pipeline.target.labels.read import read_labels
from pipeline.target.photo import read_photo

SUFFIXES = (".json", ".pts", ".ljson", ".csv")


def fit(fitter: FaceFitter, photo_path: Path, labels_path: Path) -> dict[str, Any]:
    """One row of the table; distances in % of the labels' outer-eye distance."""
    photo, labels = read_photo(photo_path), read_labels(labels_path, image=photo_path.name)
    labels.require_image(photo.width, photo.height)
    faces = find_faces(photo.pixels)
    face = faces[labels.face_among(torch.stack([face.box for face in faces]))]
    found = fitter.fit(photo, face, labels=labels)
    row = row_of(photo_path.stem, found, labels)
    assert found.labels is not None and row.labels is not None and row.found is not None
    return {
        "photo": row.path,
        "points": len(row.labels.points),
        "detector_alone": row.labels.detector,
        "projected": row.labels.fitted,
        "residual": row.found.residual_final_percent,
        "worst_point": row.labels.worst,
        "regions": row.labels.regions,
        "mean_expression": row.found.mean_expression,
        "report": found.labels.report,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits photos to labels of iBUG's 68 points.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fitter = FaceFitter(load_config(None, arguments.set))
    rows = []
    for photo in sorted(arguments.folder.glob("*.jpg")):
        for labels in (file for suffix in SUFFIXES if (file := photo.with_suffix(suffix)).exists()):
            rows.append(fit(fitter, photo, labels))
            row = rows[-1]
            print(f"{row['photo']:<16} {row['points']:3d} points  {row['projected']:5.2f} %", flush=True)
    if not rows:
        raise SystemExit(f"{arguments.folder} holds no photo beside its labels.")
    for name in ("detector_alone", "projected", "residual", "worst_point", "mean_expression"):
        values = [row[name] for row in rows]
        print(f"{name:<16} mean {mean(values):.3f}  most {max(values):.3f}")
    for name in rows[0]["regions"]:
        print(f"{name:<16} mean {mean(row['regions'][name] for row in rows if name in row['regions']):.3f}")
    print(rows[0]["report"])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
