"""Fits photos to labels that people placed, and states how close the rig's own points come to them.

    python benchmarks/labels.py FOLDER [--chain] [--sigma PERCENT] [--json FILE]

FOLDER holds photos, each beside its labels: me.jpg and me.json, me.pts, me.ljson or me.csv. Without --chain
only the rig's landmark embedding is fitted, without a pixel being drawn.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from pipeline.config import load_config
from pipeline.fit import FaceFitter
from pipeline.labelled_objective import SIGMA_PERCENT, LabelledObjective
from pipeline.target.faces import find_faces
from pipeline.target.labels.read import read_labels
from pipeline.target.photo import read_photo
from pipeline.target.reading import converted, read_through

SUFFIXES = (".json", ".pts", ".ljson", ".csv")


def fit(fitter: FaceFitter, photo_path: Path, labels_path: Path, chain: bool, sigma: float) -> dict:
    """One row of the table; distances in % of the labels' outer-eye distance."""
    photo, labels = read_photo(photo_path), read_labels(labels_path, image=photo_path.name)
    labels.require_image(photo.width, photo.height)
    faces = find_faces(photo.pixels)
    face = faces[labels.face_among(torch.stack([face.box for face in faces]))]
    settled = fitter.settle(photo, face)
    reading = read_through(labels, "mediapipe478" if chain else None)
    reading.require_face(settled.landmarks)

    camera, region = fitter.camera(photo, settled.region), settled.region
    detected = fitter.objective(settled, camera)
    iod = labels.outer_eye_distance
    assert iod is not None, f"{labels_path} does not label both outer eye corners"
    problem: Any = LabelledObjective.of_face(  # asked what a LandmarkObjective is asked
        detected.chain, detected.stand_in_chain, reading, region, settled.landmarks, sigma
    )
    x = fitter.warm_start(problem, fitter.first_guess(settled, camera))
    if chain:
        x = fitter.solve(problem, x, lambda residual: None)[0].x

    def distance(mesh: torch.Tensor) -> torch.Tensor:  # (N,), NaN where not labelled
        own = converted(mesh.double(), "mediapipe478", labels.scheme.name)[:, :2]
        return (own - labels.points).norm(dim=-1) / iod * 100

    projected = distance(region.map_to_photo(problem.stand_in_chain(x).float()))
    used = reading.index
    regions = {
        name: mean(float(projected[i]) for i in used.tolist() if labels.scheme.regions[i] == name)
        for name in dict.fromkeys(reading.regions)
    }
    expression = x[fitter.rig.controls.groups["expression"]]
    return {
        "photo": photo_path.stem,
        "points": len(used),
        "detector_alone": float(distance(settled.landmarks)[used].mean()),
        "projected": float(projected[used].mean()),
        "worst_point": float(projected[used].max()),
        "regions": regions,
        "mean_expression": float(expression.abs().mean()),
        "report": reading.report(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits photos to labels.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chain", action="store_true", help="render and detect, too")
    parser.add_argument(
        "--sigma", type=float, default=SIGMA_PERCENT, help="of a label, %% of the eye distance"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fitter = FaceFitter(load_config())
    rows = []
    for photo in sorted(arguments.folder.glob("*.jpg")):
        for labels in (file for suffix in SUFFIXES if (file := photo.with_suffix(suffix)).exists()):
            rows.append(fit(fitter, photo, labels, arguments.chain, arguments.sigma))
            row = rows[-1]
            print(f"{row['photo']:<16} {row['points']:3d} points  {row['projected']:5.2f} %", flush=True)
    if not rows:
        raise SystemExit(f"{arguments.folder} holds no photo beside its labels.")
    for name in ("detector_alone", "projected", "worst_point", "mean_expression"):
        values = [row[name] for row in rows]
        print(f"{name:<16} mean {mean(values):.3f}  most {max(values):.3f}")
    for name in rows[0]["regions"]:
        print(f"{name:<16} mean {mean(row['regions'][name] for row in rows if name in row['regions']):.3f}")
    print(rows[0]["report"])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
