"""What a landmark network is trained on: synthetic pictures with exact labels, and labelled photographs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import assets
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.detect.training import rendered, scenery
from pipeline.detect.training.augmentation import (
    AS_IT_IS,
    INPUT,
    PLACES,
    Augmentation,
    of_photo,
    of_render,
)
from pipeline.detect.training.data import Mixture, Renders, batch
from pipeline.detect.training.photographs import Labelled, Photographs, face_region, read_folder
from pipeline.detect.training.prepare import prepare
from pipeline.detect.training.synthesis import AROUND, SIZE, Group, Studio
from pipeline.errors import ChainRigError
from pipeline.target.faces import find_faces, settle
from pipeline.target.photo import read_photo


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio.of()


@pytest.fixture(scope="module")
def group(studio: Studio) -> Group:
    return studio.photograph(np.random.default_rng((1, 4)), 6)


def test_the_labels_lie_where_a_detector_sees_the_points(group: Group) -> None:
    side = SIZE / AROUND
    middle = torch.full((2,), SIZE / 2 + 0.5).expand(len(group.points), 2)
    region = Region(middle, torch.full((len(middle),), side), torch.zeros(len(middle)))
    crops = region.crop(group.pictures[..., :3] / 255)
    bright = (crops * (0.5 / crops.mean((1, 2, 3), keepdim=True))).clamp(0, 1)
    found = FaceMesh.load()(bright)[..., :2]
    wanted = region.map_to_crop(group.points)
    reach = (wanted[:, 33] - wanted[:, 263]).norm(dim=-1)[:, None]
    inner = [i for i in range(468) if i not in scenery.OUTLINE]
    error = 100 * ((found - wanted).norm(dim=-1)[:, inner] / reach).median(-1).values
    assert error.median() < 8  # of any face: painted in odd colours, lit from anywhere


def test_pictures_show_the_region_that_the_detector_asks_for(group: Group) -> None:
    region = Region.around(group.points)
    assert torch.allclose(region.centre, torch.tensor(SIZE / 2 + 0.5), atol=1e-2)
    assert torch.allclose(region.side, torch.tensor(SIZE / AROUND), atol=1e-2)
    assert torch.allclose(region.rotation, torch.tensor(0.0), atol=1e-4)


def test_persons_differ_and_their_number_is_all_that_makes_them(studio: Studio, group: Group) -> None:
    again = studio.photograph(np.random.default_rng((1, 4)), 6)
    assert torch.equal(again.pictures, group.pictures) and torch.equal(again.points, group.points)
    other = studio.photograph(np.random.default_rng((1, 5)), 2)
    assert (other.points[:2] - group.points[:2]).abs().mean() > 1
    assert group.points[:, 4].std(0).min() > 0.5  # the tip of the nose, in six poses
    alpha = group.pictures[..., 3].float().mean((1, 2)) / 255
    assert (alpha > 0.15).all() and (alpha < 0.9).all()


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_labels_follow_their_features_through_crop_and_mirror(mirror: float) -> None:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    points = np.full((68, 2), 90.0, np.float32)
    left, right = np.array([70.0, 80.0]), np.array([110.0, 100.0])
    points[36], points[45] = left, right
    line = np.arange(SIZE) + 0.5
    for (x, y), channel in ((left, 0), (right, 1)):
        blob = np.exp(-((line[None] - x) ** 2 + (line[:, None] - y) ** 2) / 8)
        picture[..., channel] = (255 * blob).round()
    how = Augmentation(cover=0, spoil=0, mirror=mirror)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sample = of_photo(rng, picture, points, np.ones(68, np.float32), SIZE / AROUND, how)
        places = np.arange(INPUT) + 0.5
        for channel, before in ((0, 36), (1, 45)):
            seen = sample.picture[..., channel].astype(float)
            centre = np.array([seen.sum(0) @ places, seen.sum(1) @ places]) / seen.sum()
            name = {36: 45, 45: 36}[before] if mirror else before
            assert np.abs(sample.points[name] - centre).max() < 0.1


def test_covering_changes_the_picture_and_not_the_labels(group: Group) -> None:
    picture, points = group.pictures[0].numpy(), group.points[0].numpy()
    plain = of_render(np.random.default_rng(3), picture, points, SIZE / AROUND, AS_IT_IS)
    samples = [
        of_render(np.random.default_rng(seed), picture, points, SIZE / AROUND, Augmentation(0, 0, 0, 1, 1, 0))
        for seed in range(6)
    ]
    for sample in samples:
        assert np.array_equal(sample.points, plain.points)
        assert np.abs(sample.picture.astype(int) - plain.picture).mean() > 5
    assert plain.picture.shape == (INPUT, INPUT, 3) and plain.picture.dtype == np.uint8


def test_half_rendered_files_are_rendered_again(tmp_path: Path) -> None:
    assert list(rendered.render_groups(tmp_path, 3, [0])) == [0]
    whole = rendered.group_path(tmp_path, 3, 0)
    before = whole.read_bytes()
    (tmp_path / "3-000001.77.part").write_bytes(before[:100])  # what a kill leaves
    assert list(rendered.render_groups(tmp_path, 3, [0])) == []
    source = Renders(tmp_path, 3, 0, 1)
    data = batch(source, 0, 0, 3)
    assert (
        len(source) == 8 and data.pictures.shape == (3, 3, INPUT, INPUT) and data.points.shape == (3, 68, 2)
    )
    whole.write_bytes(before[:1000])
    with pytest.raises(ChainRigError, match="delete the file"):
        batch(source, 0, 0, 1)


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    """The example photo with FaceMesh's points."""
    photo = read_photo(assets.path("example.png"))
    found = settle(photo.srgb, find_faces(photo.pixels)[0], FaceMesh.load())
    points = torch.stack([found.landmarks[list(place), :2].mean(0) for place in PLACES])
    return Labelled(photo.pixels, points, torch.ones(68))


def test_the_region_of_hand_labels_is_nearly_the_detectors(labelled: Labelled) -> None:
    photo = labelled.photo / 255
    wanted = settle(photo, find_faces(photo)[0], FaceMesh.load()).region
    few = torch.zeros(68)
    few[[8, 36, 39, 42, 45, 48, 54]] = 1
    for weights in (labelled.weights, few):
        region = face_region(labelled.points, weights)
        assert (region.centre - wanted.centre).norm() < 0.03 * wanted.side
        assert abs(float(region.side / wanted.side) - 1) < 0.03
        assert abs(float(region.rotation - wanted.rotation)) < 0.02
    with pytest.raises(ChainRigError, match="label 3 or more"):
        face_region(labelled.points, few * 0)


def test_a_folder_of_labelled_photos_becomes_samples(labelled: Labelled, tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(labelled.photo.numpy()).save(tmp_path / f"{name}.png")
    rows = [f"{x:.2f} {y:.2f}" for x, y in (labelled.points + 0.5).tolist()]  # .pts counts from 1
    (tmp_path / "a.pts").write_text("version: 1\nn_points: 68\n{\n" + "\n".join(rows) + "\n}\n")
    some = {str(i): (labelled.points[i] - 0.5).tolist() for i in (8, 36, 45, 48, 54)}
    (tmp_path / "b.json").write_text(json.dumps({"image": "b.png", "points68_partial": some}))
    faces = Photographs.of(read_folder(tmp_path), AS_IT_IS)
    assert len(faces) == 2 and faces.weights.sum(1).tolist() == [68, 5]
    full, partial = (faces.sample(i, np.random.default_rng(0)) for i in range(2))
    shift = np.abs(full.points - partial.points)[[8, 36, 45, 48, 54]]
    assert shift.max() < 6 and np.abs(full.points[36:48] - INPUT / 2).max() < INPUT / 4
    source, held_out = prepare([str(tmp_path)], tmp_path, 0, 0)
    assert len(source) == len(held_out) == 1
    assert len(Mixture([source, held_out], [3, 1])) == 2


def test_what_cannot_be_trained_on_is_one_sentence(labelled: Labelled, tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="no folder"):
        prepare([str(tmp_path / "nowhere")], tmp_path, 1, 0)
    with pytest.raises(ChainRigError, match="no label files"):
        prepare([str(tmp_path)], tmp_path, 1, 0)
    with pytest.raises(ChainRigError, match="nothing to train on"):
        prepare([], tmp_path, 1, 0)
    (tmp_path / "c.json").write_text(json.dumps({"image": "c.png", "points68_partial": {"36": [1, 2]}}))
    with pytest.raises(ChainRigError, match="not beside it"):
        list(read_folder(tmp_path))
