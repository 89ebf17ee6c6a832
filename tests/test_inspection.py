"""What an inspection says of a chain: columns, where the gradient goes, who asked, and single layers."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import fit_document

from pipeline.config import Config
from pipeline.derivatives.automatic import jvp
from pipeline.derivatives.jacobian import Jacobian
from pipeline.detect.embedding import SCORED
from pipeline.errors import ChainRigError
from pipeline.inspection.attribution import attribute
from pipeline.inspection.columns import arrays, push_columns, stations
from pipeline.inspection.face_regions import face_regions
from pipeline.inspection.files import npz
from pipeline.inspection.findings import Columns, View
from pipeline.inspection.gradient import dead_controls, follow_gradient
from pipeline.inspection.layers import layer_jacobian, pictures
from pipeline.inspection.scene import Scene, read_scene

NAMES = ["jawOpen", "mouthSmileLeft", "tongueOut", "headTranslationX"]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return read_scene(None, Config(), {"mouthSmileLeft": 0.3})


@pytest.fixture(scope="module")
def columns(scene: Scene) -> Columns:
    return push_columns(scene, NAMES)


@pytest.fixture(scope="module")
def view(scene: Scene) -> View:
    return scene.view()


def asking_for(scene: Scene, shift: torch.Tensor) -> Scene:
    """The scene of a photo whose landmarks lie where `(478, 3)` shifts bring the render's."""
    target = scene.objective.comparison.detected((scene.view().landmarks + shift).double())
    return dataclasses.replace(
        scene, objective=dataclasses.replace(scene.objective, target=target), has_target=True
    )


def test_columns_are_the_slopes_of_every_station(scene: Scene, columns: Columns) -> None:
    direction = scene.rig.controls.pack({"mouthSmileLeft": 1.0})
    x, tangent = scene.x.float(), direction
    for layer, made in zip(scene.chain, (columns.vertices, columns.pixels, columns.landmarks), strict=True):
        x, tangent = jvp(layer, x, tangent)
        assert float((made[1] - tangent).norm() / tangent.norm()) < 2e-3  # float32


def test_the_archive_reads_back_by_name(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "jacobian.npz").write_bytes(npz(arrays(stations(columns))))
    with np.load(tmp_path / "jacobian.npz") as file:
        back = {
            station: Jacobian.from_arrays(
                {key.split(".", 1)[1]: file[key] for key in file.files if key.startswith(station + ".")}
            )
            for station in ("vertices", "pixels", "landmarks")
        }
    torch.testing.assert_close(
        back["landmarks"].select({"landmark": 13}).column("jawOpen")[0], columns.landmarks[0, 13]
    )
    torch.testing.assert_close(back["vertices"].column("tongueOut"), columns.vertices[2])
    block = back["pixels"].select({"block_row": "128-144", "block_column": "112-128", "rgb": "g"})
    expected = columns.pixels[0, 128:144, 112:128, 1].mean()
    torch.testing.assert_close(block.column("jawOpen").squeeze(), expected)


def test_all_of_a_gradient_survives_where_a_control_explains_it(scene: Scene, columns: Columns) -> None:
    """The residual is what jawOpen does: at the landmarks the controls can act on all of it."""
    asking = asking_for(scene, 0.1 * columns.landmarks[0])
    found = follow_gradient(asking, columns, face_regions(scene.rig))
    assert [station.station for station in found] == ["landmarks", "pixels", "vertices", "controls"]
    assert [station.through for station in found] == ["", "detect", "render", "deform"]
    assert found[0].reach == pytest.approx(1, abs=1e-3)
    assert all(0 < station.reach <= 1 for station in found)
    assert found[1].reach < 0.5  # most of what a network asks of single pixels no face can do
    for station in found:
        assert sum(station.shares.values()) == pytest.approx(1, abs=1e-4)
    assert found[1].map is not None and found[1].map.shape == (256, 256)
    assert found[2].map is not None and found[2].map.shape == (len(scene.rig.rest),)


def test_a_gradient_no_control_can_follow_is_lost_at_the_landmarks(scene: Scene, columns: Columns) -> None:
    """Only landmark 10, on the forehead, is asked to move up: nothing here moves it alone."""
    shift = torch.zeros(478, 3)
    shift[9, 1] = -5.0
    found = follow_gradient(asking_for(scene, shift), columns, face_regions(scene.rig))
    assert found[0].reach < 0.1
    assert next(iter(found[0].shares)) == "forehead"


def test_attribution_sums_to_the_gradient(scene: Scene, columns: Columns) -> None:
    asking = asking_for(scene, 0.1 * columns.landmarks[0])
    regions = face_regions(scene.rig)
    found = attribute(asking, columns, regions)
    weight, scored = asking.objective.per_pixel.view(-1, 2).float(), list(SCORED)
    residual = -0.1 * columns.landmarks[0, scored, :2] * weight
    gradient = (columns.landmarks[:, scored, :2] * weight * residual).sum((1, 2))
    torch.testing.assert_close(-found.terms.sum(0), gradient, rtol=1e-3, atol=1e-3)
    assert float(found.terms.sum(0)[0]) > 0  # more of jawOpen
    pull = {name: 0.0 for name in regions}
    for name, term in zip(regions, found.terms[:, 0].tolist(), strict=True):
        pull[name] += term
    assert max(pull, key=lambda name: pull[name]) in ("mouth", "chin")


def test_dead_controls_are_named_with_their_reason(scene: Scene, columns: Columns) -> None:
    dead = {one.name: one for one in dead_controls(scene, columns, None)}
    assert "jawOpen" not in dead and "headTranslationX" not in dead

    asleep = dataclasses.replace(columns, vertices=columns.vertices.clone())
    asleep.vertices[0] = 0
    assert {one.where for one in dead_controls(scene, asleep, None) if one.name == "jawOpen"} == {"deform"}

    deaf = dataclasses.replace(columns, landmarks=0.001 * columns.landmarks)
    found = {one.name: one for one in dead_controls(scene, deaf, None)}
    assert found["jawOpen"].where == "detect" and "0.2 px" not in found["jawOpen"].reason
    assert "moves no landmark" in found["jawOpen"].reason

    downhill = torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    found = {one.name: one for one in dead_controls(scene, columns, downhill)}
    assert found["jawOpen"].where == "range" and "lower end" in found["jawOpen"].reason
    assert "mouthSmileLeft" not in found and "headTranslationX" not in found


def test_what_is_hidden_or_outside_is_told_apart(scene: Scene) -> None:
    closed = push_columns(scene, ["jawOpen", "eyeLookUpLeft"])
    unseen = dataclasses.replace(closed, pixels=torch.zeros_like(closed.pixels))
    inside = torch.zeros_like(closed.vertices)
    back = scene.rig.rest[:, 2] < -0.1
    assert back.any()
    inside[:, back & (scene.rig.rest[:, 1] > 0)] = 1.0
    hidden = dataclasses.replace(unseen, vertices=inside)
    assert "hidden" in dead_controls(scene, hidden, None)[0].reason

    away = read_scene(None, Config())
    beside = dataclasses.replace(away, x=away.rig.controls.pack({"headTranslationX": 3.0}, away.x))
    assert "outside" in dead_controls(beside, unseen, None)[0].reason


def test_a_layer_shows_its_own_jacobian(scene: Scene, view: View) -> None:
    deform = layer_jacobian(scene, "deform", columns=["jaw*"], rows=["17"])
    assert deform.columns[0].labels == ("jawForward", "jawLeft", "jawOpen", "jawRight")
    detect = layer_jacobian(scene, "detect", rows=["13", "33"])
    assert detect.values.shape == (2, 3, 256, 256, 3)
    mouth, eye = pictures(detect, "detect", view.picture)
    assert (mouth[0], eye[0]) == ("landmark 13", "landmark 33")
    strength = detect.values[:, :2].square().sum((1, -1))  # [landmark, H, W]
    heights = (strength * torch.arange(256.0)[:, None]).sum((1, 2)) / strength.sum((1, 2))
    assert heights[0] > heights[1] + 20  # lips are looked for below eyes
    with pytest.raises(ChainRigError, match="takes deform, render, detect or all"):
        layer_jacobian(scene, "shade")
    with pytest.raises(ChainRigError, match="choose fewer"):
        layer_jacobian(scene, "render", columns=["*"])


def test_a_scene_is_the_fit_as_it_ended(scene: Scene, view: View, tmp_path: Path) -> None:
    document = fit_document(scene.rig.controls.unpack(scene.x), view.camera, view.landmarks)
    document["region"] = {"centre_px": [286.0, 286.0], "side_px": 512.0, "rotation_rad": 0.0}
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(document))
    read = read_scene(path, Config())
    assert read.has_target and read.crop is None  # the photo is gone: no reason to stop
    torch.testing.assert_close(read.x, scene.x)
    assert read.camera.focal_px == scene.camera.focal_px
    corner = read.camera.view @ torch.tensor([286.0, 286.0, 1.0])
    torch.testing.assert_close(corner, torch.tensor([128.5, 128.5]))
    assert read.target.shape == (478, 2) and read.objective.target.shape == (442, 2)
    assert (
        read_scene(path, Config(), {"jawOpen": 0.5}, at_rest=True).x[scene.rig.controls.index("jawOpen")]
        == 0.5
    )
    assert read_scene(path, Config(), at_rest=True).x[scene.rig.controls.index("mouthSmileLeft")] == 0


def test_regions_of_the_face_are_where_people_look_for_them(scene: Scene) -> None:
    regions = face_regions(scene.rig)
    expected = {1: "nose", 13: "mouth", 33: "right eye", 263: "left eye", 52: "right brow", 282: "left brow"}
    assert {i: regions[i] for i in expected} == expected
    assert regions[9] == "forehead" and regions[199] == "chin" and regions[50] == "right cheek"
    assert regions[468] == "right eye" and regions[473] == "left eye"
