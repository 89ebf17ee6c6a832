"""Whole pictures against MediaPipe's own runtime (scripts/record_runtime_reference.py): one pass of each."""

import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runtime_scenes import RENDERS, scenes
from torch import Tensor

from pipeline.detect.blazeface import BlazeFace
from pipeline.detect.blendshape_head import SCORES, BlendshapeHead
from pipeline.detect.facemesh import FaceMesh
from pipeline.target.faces import find_faces, settle
from pipeline.target.single_pass import Reading, single_pass

REFERENCE = Path(__file__).parent / "data" / "runtime_reference.npz"
NAMES = ["example", "rotated_30", "small", "dark", "two_faces", "odd_size", "large", "close_up", *RENDERS]
HALF = 0.5  # MediaPipe counts pixels from their centres, this package from the corner


@cache
def recorded() -> dict[str, Any]:
    return dict(np.load(REFERENCE))


@cache
def pictures() -> dict[str, np.ndarray]:
    files = {name: io.BytesIO(recorded()[f"png/{name}"].tobytes()) for name in RENDERS}
    return scenes({name: np.asarray(Image.open(file)) for name, file in files.items()})


@cache
def readings(name: str) -> list[Reading]:
    return single_pass(photo(name), BlazeFace.load(), FaceMesh.load())


def photo(name: str) -> Tensor:
    return torch.from_numpy(np.array(pictures()[name]))


def theirs(name: str, what: str) -> Tensor:
    return torch.from_numpy(recorded()[f"{name}/{what}"])


def test_at_least_six_pictures_are_recorded_with_at_least_one_face_each() -> None:
    assert list(pictures()) == NAMES
    assert [len(readings(name)) for name in NAMES] == [2 if name == "two_faces" else 1 for name in NAMES]
    assert recorded()["names"].tolist() == list(SCORES)


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_the_recorded_one(name: str) -> None:
    made = hashlib.sha256(pictures()[name].tobytes()).hexdigest()
    assert made == str(recorded()[f"{name}/sha256"]), "record the reference again"


@pytest.mark.parametrize("name", NAMES)
def test_boxes_and_regions(name: str) -> None:
    face, box = readings(name), theirs(name, "box")  # (N, 5) centre, width, height, rotation
    region = [reading.region for reading in face]
    torch.testing.assert_close(
        torch.stack([one.centre for one in region]), box[:, :2] + HALF, atol=0.1, rtol=0
    )
    torch.testing.assert_close(
        torch.stack([one.side for one in region]), 1.5 * box[:, 2:4].amax(-1), atol=0.1, rtol=0
    )
    torch.testing.assert_close(torch.stack([one.rotation for one in region]), box[:, 4], atol=2e-3, rtol=0)
    keypoints = torch.stack([reading.face.keypoints for reading in face])
    torch.testing.assert_close(keypoints, theirs(name, "keypoints") + HALF, atol=0.1, rtol=0)
    scores = torch.tensor([reading.face.score for reading in face])
    torch.testing.assert_close(scores, theirs(name, "detection"), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_landmarks_presence_and_scores(name: str) -> None:
    head = BlendshapeHead.load()
    for k, reading in enumerate(readings(name)):
        points = theirs(name, "landmarks")[k]
        away = (reading.landmarks[:, :2] - points[:, :2] - HALF).norm(dim=-1)
        assert away.mean() < 0.1 and away.max() < 0.5
        depth = points[:, 2] / stretch(name, float(reading.region.rotation))
        assert (reading.landmarks[:, 2] - depth).abs().max() < 1
        assert abs(reading.presence - float(theirs(name, "presence")[k])) < 1e-3
        scores = theirs(name, "scores")[k]
        assert (head(reading.landmarks) - scores).abs().max() < 0.01
        assert (head(points) - scores).abs().max() < 1e-4  # of the same landmarks


def stretch(name: str, rotation: float) -> float:
    """What MediaPipe's z is too long by: it measures a turned region's width in shares of the sides."""
    height, width = pictures()[name].shape[:2]
    return float(np.hypot(np.cos(rotation), width / height * np.sin(rotation)))


@pytest.mark.parametrize("name", ["rotated_30", "two_faces", "profile_right"])
def test_the_usual_way_finds_the_same_faces_and_settles_nearby(name: str) -> None:
    mesh = FaceMesh.load()
    once = sorted(readings(name), key=lambda reading: float(reading.region.centre[0]))
    for face, reading in zip(find_faces(photo(name)), once, strict=True):
        settled = settle(photo(name), face, mesh)
        moved = (settled.landmarks - reading.landmarks)[:, :2].norm(dim=-1).mean()
        iod = (reading.landmarks[33] - reading.landmarks[263])[:2].norm()
        assert moved < 0.05 * iod
