"""Finding faces in photos and settling the detector's region, on the example photo."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline import assets
from pipeline.detect.facemesh import FaceMesh
from pipeline.target import faces
from pipeline.target.faces import find_faces, settle

RIGHT_EYE, LEFT_EYE = 33, 263


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.open(assets.path("example.png")).convert("RGB")


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return FaceMesh.load()


def photo_of(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture))


def test_the_example_shows_one_face(picture):
    (face,) = find_faces(photo_of(picture))
    left, top, right, bottom = face.box.tolist()
    right_eye, left_eye, nose, mouth = face.keypoints[:4].tolist()
    assert face.score > 0.9
    assert left < right_eye[0] < nose[0] < left_eye[0] < right
    assert top < right_eye[1] < nose[1] < mouth[1] < bottom


def test_floats_are_the_same_picture(picture):
    photo = photo_of(picture)
    (one,), (other,) = find_faces(photo), find_faces(photo / 255)
    torch.testing.assert_close(one.box, other.box)


def test_two_faces_side_by_side_come_left_to_right(picture):
    both = Image.new("RGB", (1024, 512))
    both.paste(picture, (0, 0))
    both.paste(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
    first, second = find_faces(photo_of(both))
    assert first.box[2] < 512 < second.box[0]


def test_a_small_face_in_a_large_photo(picture):
    large = Image.new("RGB", (3000, 3000), (90, 110, 130))
    large.paste(picture.resize((500, 500)), (2100, 1700))
    (face,) = find_faces(photo_of(large))
    (alone,) = find_faces(photo_of(picture.resize((500, 500))))
    shifted = alone.box + torch.tensor([2100.0, 1700, 2100, 1700])
    assert (face.box - shifted).abs().max() < 10


def test_a_face_that_fills_the_photo(picture):
    assert len(find_faces(photo_of(picture.crop((180, 90, 270, 180))))) == 1


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_on_its_side_or_upside_down(picture, mesh, quarters):
    photo = photo_of(picture)[:400]  # 512 × 400
    upright = settle(photo, find_faces(photo)[0], mesh)
    turned = photo.rot90(quarters)
    (face,) = find_faces(turned)
    found = settle(turned, face, mesh)
    middle = torch.tensor([512 / 2, 400 / 2])
    clockwise = torch.tensor([[0.0, 1], [-1, 0]])  # for rows (x, y), y down: undoes one quarter
    back = (found.landmarks[:, :2] - (middle.flip(0) if quarters % 2 else middle)) @ (
        torch.linalg.matrix_power(clockwise, quarters)
    ) + middle
    iod = (upright.landmarks[LEFT_EYE] - upright.landmarks[RIGHT_EYE])[:2].norm()
    assert (back - upright.landmarks[:, :2]).norm(dim=-1).mean() < 0.02 * iod
    assert (face.box[:2] < found.landmarks[:, :2].mean(0)).all()
    assert (found.landmarks[:, :2].mean(0) < face.box[2:]).all()
    right_eye, left_eye = settle(turned, face, mesh).landmarks[[RIGHT_EYE, LEFT_EYE], :2]
    assert (face.keypoints[0] - right_eye).norm() < (face.keypoints[0] - left_eye).norm()


def test_in_a_huge_photo_faces_are_looked_for_in_a_smaller_copy(picture, monkeypatch):
    photo = torch.full((1300, 1001, 3), 90, dtype=torch.uint8)
    photo[500:1012, 300:812] = photo_of(picture)
    (whole,) = find_faces(photo)
    monkeypatch.setattr(faces, "HUGE", 600_000)  # pixels: averaged over 2 × 2
    monkeypatch.setattr(faces, "STRIP", 100)
    (smaller,) = find_faces(photo)
    assert (whole.box - smaller.box).abs().max() < 5
    assert (whole.keypoints - smaller.keypoints).abs().max() < 5


@pytest.mark.parametrize("size", [(600, 800), (1, 1), (3, 900)])
def test_nothing_in_a_black_picture(size):
    assert find_faces(torch.zeros(*size, 3)) == []


def test_a_photo_has_three_channels():
    with pytest.raises(ValueError, match="H, W, 3"):
        find_faces(torch.zeros(64, 64, 4))


def test_the_settled_region_is_the_landmarks_own(picture, mesh):
    photo = photo_of(picture)
    (face,) = find_faces(photo)
    settled = settle(photo, face, mesh)
    assert settled.presence > 0.99
    iod = float((settled.landmarks[LEFT_EYE] - settled.landmarks[RIGHT_EYE])[:2].norm())
    # the eye keypoints of BlazeFace, an independent network, lie between FaceMesh's eye corners
    for keypoint, outer, inner in ((0, 33, 133), (1, 263, 362)):
        middle = settled.landmarks[[outer, inner], :2].mean(0)
        assert (middle - face.keypoints[keypoint]).norm() < 0.12 * iod
    again = settle(photo, face, mesh, rounds=20)
    assert (again.landmarks - settled.landmarks)[:, :2].norm(dim=-1).mean() < 0.01 * iod


def test_a_tilted_face_settles_to_the_same_landmarks(picture, mesh):
    photo = photo_of(picture)
    straight = settle(photo, find_faces(photo)[0], mesh)
    angle = 25
    tilted_photo = photo_of(
        picture.rotate(angle, Image.Resampling.BICUBIC)
    )  # counter-clockwise on the screen
    tilted = settle(tilted_photo, find_faces(tilted_photo)[0], mesh)
    turn = float(straight.region.rotation - tilted.region.rotation)
    assert turn == pytest.approx(math.radians(angle), abs=0.02)
    c, s = math.cos(turn), math.sin(turn)
    back = (tilted.landmarks[:, :2] - 256) @ torch.tensor([[c, s], [-s, c]]) + 256
    iod = (straight.landmarks[LEFT_EYE] - straight.landmarks[RIGHT_EYE])[:2].norm()
    assert (back - straight.landmarks[:, :2]).norm(dim=-1).mean() < 0.02 * iod
