"""The files of a fit: what other programs read from them, and that they are there whole or not at all."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from pipeline.config import Config, load_config
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.head_angles import yaw_pitch_roll
from pipeline.outputs.fit_json import fit_json
from pipeline.outputs.folder import require_writable, write_failure, write_fit
from pipeline.outputs.live_link import CONTROLS, live_link_csv
from pipeline.outputs.overlay import GAP, TITLE, overlay
from pipeline.result import BACKGROUND, FitFailure, FitResult, Picture
from pipeline.target.faces import Face
from pipeline.target.photo import Photo

SIZE = 400


@pytest.fixture
def result() -> FitResult:
    """A blue photo, and a render of a red square that covers 150 to 250 of the photo in x and y."""
    pixels = torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8)
    pixels[..., 2] = 255
    rgba = torch.zeros(50, 50, 4, dtype=torch.uint8)
    rgba[..., 0] = rgba[..., 3] = 255
    angle = torch.linspace(0, 2 * math.pi, 478)
    target = SIZE / 2 + 80 * torch.stack([angle.cos(), angle.sin()], -1)
    return FitResult(
        photo=Photo(pixels, Path("some where/photo.jpg"), "ab" * 32),
        face=Face(torch.tensor([100.0, 110.0, 300.0, 310.0]), 0.9, torch.zeros(6, 2)),
        rig="makehuman",
        detector="mediapipe",
        rasterizer="numba",
        solver="hybrid",
        controls={"jawOpen": 0.25, "mouthSmileLeft": 1 / 3, "tongueOut": 0.5, "eyeBlinkRight": 0.75},
        identity={"nose-width": -0.5},
        rotation_vector=(0.0, 0.3, 0.0),
        translation=(0.0, 0.0, -1.2),
        eye_left=(0.1, 0.2),
        eye_right=(0.3, 0.4),
        focal_px=1000.0,
        principal_point=(200.0, 200.0),
        region=Region(torch.tensor([200.0, 200.0]), torch.tensor(256.0), torch.tensor(0.0)),
        target=target,
        render=target + 5,
        projected68=torch.full((68, 2), 7.5),
        residual_start=1.5,
        residual_final=0.5,
        gradient_norm_start=2.0,
        gradient_norm_final=None,
        evaluations=12,
        gradients=3,
        seconds=4.5,
        status="converged",
        picture=Picture(rgba, torch.tensor([[2.0, 0.0, 150.0], [0.0, 2.0, 150.0]])),
    )


@pytest.mark.parametrize(
    ("axis", "looks_or_tilts", "angles"),
    [
        ((0, 0.2, 0), ("forward", 0, 1), (0.2, 0, 0)),  # forward gains +x: the subject's left
        ((-0.2, 0, 0), ("forward", 1, 1), (0, 0.2, 0)),  # forward gains +y: up
        ((0, 0, 0.2), ("crown", 0, -1), (0, 0, 0.2)),  # the crown gains −x: the subject's right
    ],
)
def test_head_angles_by_construction(axis, looks_or_tilts, angles) -> None:
    rotation = roma.rotvec_to_rotmat(torch.tensor(axis, dtype=torch.float64))
    which, coordinate, sign = looks_or_tilts
    vector = rotation @ torch.tensor({"forward": [0.0, 0, 1], "crown": [0.0, 1, 0]}[which]).double()
    assert float(vector[coordinate]) * sign > 0.1
    assert yaw_pitch_roll(axis) == pytest.approx(angles, abs=1e-12)


def test_head_angles_give_the_rotation_back() -> None:
    vector = torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64)
    yaw, pitch, roll = yaw_pitch_roll((0.3, -0.5, 0.2))
    about = [[0, yaw, 0], [-pitch, 0, 0], [0, 0, roll]]
    y, x, z = (roma.rotvec_to_rotmat(torch.tensor(turn, dtype=torch.float64)) for turn in about)
    torch.testing.assert_close(y @ x @ z, roma.rotvec_to_rotmat(vector))


def test_fit_json_holds_the_schema(result: FitResult) -> None:
    fit = json.loads(fit_json(result, 1))
    assert fit["schema"] == "chainrig.fit/1"
    assert fit["photo"] == {
        "path": "some where/photo.jpg",
        "sha256": "ab" * 32,
        "width": SIZE,
        "height": SIZE,
    }
    assert fit["face"] == {"index": 1, "box": [100, 110, 300, 310], "score": 0.9, "presence": 1.0}
    assert [fit[name] for name in ("rig", "detector", "rasterizer", "solver")] == [
        "makehuman",
        "mediapipe",
        "numba",
        "hybrid",
    ]
    assert fit["controls"]["mouthSmileLeft"] == pytest.approx(1 / 3, rel=1e-8)
    assert fit["identity"] == {"nose-width": -0.5}
    assert fit["pose"]["rotation_vector_rad"] == [0, 0.3, 0]
    assert fit["pose"]["head_yaw_pitch_roll_deg"] == pytest.approx([math.degrees(0.3), 0, 0])
    assert fit["pose"]["translation_m"] == [0, 0, -1.2]
    assert fit["camera"] == {"focal_px": 1000, "principal_point_px": [200, 200]}
    assert fit["landmarks"]["scheme"] == "mediapipe478"
    np.testing.assert_allclose(fit["landmarks"]["target"], result.target, rtol=1e-6)
    np.testing.assert_allclose(fit["landmarks"]["render"], result.render, rtol=1e-6)
    assert np.shape(fit["landmarks68"]["projected"]) == (68, 2)
    assert fit["residual"] == {"start_percent_iod": 1.5, "final_percent_iod": 0.5}
    assert fit["gradient_norm"] == {"start": 2, "final": None}
    assert [fit[name] for name in ("evaluations", "gradients", "seconds")] == [12, 3, 4.5]
    assert fit["status"] == "converged" and "error" not in fit


def test_live_link_columns(result: FitResult) -> None:
    (row,) = csv.DictReader(live_link_csv(result).splitlines())
    names = list(row)
    assert names[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert names[53:57] == ["TongueOut", "HeadYaw", "HeadPitch", "HeadRoll"] and len(names) == 63
    assert len(set(CONTROLS)) == 52
    assert (row["Timecode"], row["BlendShapeCount"]) == ("00:00:00:00.000", "61")
    for name, value in {
        "JawOpen": 0.25,
        "MouthSmileLeft": 1 / 3,
        "EyeBlinkRight": 0.75,
        "JawLeft": 0,
    }.items():
        assert float(row[name]) == pytest.approx(value, abs=1e-7)
    assert float(row["HeadYaw"]) == pytest.approx(0.3)
    rotations = [float(row[name]) for name in names[-6:]]
    assert rotations == pytest.approx([0.1, 0.2, 0, 0.3, 0.4, 0])


def test_live_link_has_every_expression_control_of_the_rig() -> None:
    from pipeline import assets
    from pipeline.deform.rig import Rig

    rig = Rig.load(assets.path("head_rig.npz"))
    assert {name[0].lower() + name[1:] for name in CONTROLS} == set(rig.expression_names)


def test_overlay_shows_the_render_where_the_photo_has_it(result: FitResult) -> None:
    image = np.asarray(overlay(result))
    panel = (image.shape[1] - 4 * GAP) // 3
    left, top, side = 40, 40, 320  # twice the landmarks' 160 pixels, centred at (200, 200)
    scale = panel / side

    def pixel(column: int, x: float, y: float) -> list[int]:
        across = GAP + column * (panel + GAP) + (x - left) * scale
        return image[int(TITLE + (y - top) * scale), int(across)].tolist()

    assert pixel(0, 200, 200) == [0, 0, 255]
    for x, y in [(153, 153), (247, 247), (200, 200)]:
        assert pixel(1, x, y) == [255, 0, 0]
    for x, y in [(147, 200), (253, 200), (200, 147), (200, 253)]:
        assert pixel(1, x, y) == list(BACKGROUND)


@pytest.mark.parametrize("side", [96, 7000])
def test_overlay_has_a_sensible_size_for_any_photo(result: FitResult, side: int) -> None:
    scale = side / SIZE
    big = dataclasses.replace(
        result,
        photo=dataclasses.replace(result.photo, pixels=torch.zeros(side, side, 3, dtype=torch.uint8)),
        target=result.target * scale,
        render=result.render * scale,
    )
    width, height = overlay(big).size
    assert 1500 < width < 2500 and 500 < height < 900


def test_face_that_reaches_over_the_edge(result: FitResult) -> None:
    assert overlay(dataclasses.replace(result, target=result.target - 250, render=result.render - 250))


def test_writes_four_files_and_nothing_else(result: FitResult, tmp_path: Path) -> None:
    folder = tmp_path / "new folder" / "deep"
    config = load_config(None, ["fit.iterations=3"])
    paths = write_fit(result, 0, config, folder)
    assert sorted(folder.iterdir()) == sorted(paths)
    assert {path.name for path in paths} == {"overlay.png", "controls.csv", "fit.json", "config.yaml"}
    assert load_config(folder / "config.yaml") == config
    Image.open(folder / "overlay.png").verify()


def test_failed_face_leaves_only_the_reason(result: FitResult, tmp_path: Path) -> None:
    write_fit(result, 0, Config(), tmp_path)
    write_failure(FitFailure(result.photo, result.face, "It is too dark."), 2, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.json"]
    fit = json.loads((tmp_path / "fit.json").read_text())
    assert (fit["status"], fit["error"], fit["face"]["index"]) == ("failed", "It is too dark.", 2)


def test_interrupted_write_keeps_the_old_file(result: FitResult, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "fit.json").write_text("old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(ChainRigError, match="No space left"):
        write_fit(result, 0, Config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.json"]
    assert (tmp_path / "fit.json").read_text() == "old"


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_unwritable_folder_is_known_before_any_work(tmp_path: Path, below: str) -> None:
    file = tmp_path / "a file"
    file.touch()
    with pytest.raises(ChainRigError, match="--out"):
        require_writable(file / below)
    with pytest.raises(ChainRigError, match="--out"):
        require_writable(Path("/proc/chainrig"))


def test_checking_a_folder_leaves_no_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "deep")
    assert not list(tmp_path.iterdir())
