"""What the tests of `chainrig evaluate` share: fits without a chain, small images, files beside them."""

import json
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipeline.deform.rig import Rig
from pipeline.evaluation import run
from pipeline.result import FitResult, LabelledPoints, Picture
from pipeline.target import faces
from pipeline.target.faces import Face
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo

FACE = Face(torch.tensor([10.0, 10.0, 50.0, 50.0]), 1.0, torch.rand(6, 2))
SIZE = 64  # pixels of an image


def fit_result(**changes: Any) -> FitResult:
    """A fit of nothing: points on a grid, outer eye corners 100 pixels apart."""
    points = torch.stack([torch.arange(68.0) * 3, torch.arange(68.0) % 7 * 5], -1)
    points[36], points[45] = torch.tensor([20.0, 30.0]), torch.tensor([120.0, 30.0])
    made = FitResult(
        photo=Photo(torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8), Path("x.png"), ""),
        face=FACE, rig="head_rig", detector="facemesh", rasterizer="cpu", solver="hybrid",
        controls={"jawOpen": 0.5, "mouthSmileLeft": 0.25, "mouthSmileRight": 0.35}, identity={},
        rotation_vector=(0.0, 0.0, 0.0), translation=(0.0, 0.0, -1.0), eye_left=(0.0, 0.0),
        eye_right=(0.0, 0.0), focal_px=100.0, principal_point=(32.0, 32.0), region=FACE.region(),
        target=torch.rand(478, 2), render=torch.rand(478, 2), projected68=points, residual_start=1.0,
        residual_final=0.5, gradient_norm_start=None, gradient_norm_final=None, evaluations=9, gradients=4,
        seconds=0.1, status="converged", picture=Picture(torch.zeros(8, 8, 4), torch.eye(3)[:2]),
    )  # fmt: skip
    return replace(made, **changes)


Fit = Callable[[Path, Labels | None], FitResult]


def stub_fitter(monkeypatch: pytest.MonkeyPatch, fit: Fit) -> None:
    """Fits are what `fit` makes of (path, labels); black images show no face."""

    class Fitter:
        def __init__(self, config: object) -> None:
            self.rig = Rig.load()

        def fit(
            self, photo: Photo, face: Face, on_progress: object, labels: Labels | None = None
        ) -> FitResult:
            return fit(photo.path, labels)

    module = types.ModuleType("pipeline.fit")
    module.__dict__["FaceFitter"] = Fitter
    monkeypatch.setitem(sys.modules, "pipeline.fit", module)
    monkeypatch.setattr(faces, "find_faces", lambda pixels: [FACE] if bool(pixels.any()) else [])
    run.fitter_of.cache_clear()


def labelled(labels: Labels) -> LabelledPoints:
    """What a fit to these labels says of them."""
    index = tuple(range(len(labels.scheme)))
    return LabelledPoints("x.json", labels.scheme.name, index, (1.0,), (), labels.points, labels.points, "")


def image(path: Path, colour: str = "white") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE, SIZE), colour).save(path)
    return path


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def labels_document(points: torch.Tensor) -> dict[str, Any]:
    """ChainRig's own JSON of `(68, 2)` points."""
    return {"scheme": "ibug68", "origin": "corner", "points": points.tolist()}
