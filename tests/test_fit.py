"""A fit from start to end: what it finds is there, what it writes can be rendered anew."""

import csv
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Fitted
from PIL import Image

from pipeline import assets
from pipeline.config import Config, load_config
from pipeline.deform.deform import Deformer
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter, fit_photo
from pipeline.inspection.scene import read_scene
from pipeline.render.camera import Camera
from pipeline.render.head_texture import REGIONS
from pipeline.result import FitResult
from pipeline.target.faces import Face, find_faces
from pipeline.target.photo import Photo, read_photo

EXAMPLE = assets.path("example.png")
LONDON = Path(__file__).parents[2] / "shared" / "data" / "london"


def only_face(path: Path) -> tuple[Photo, Face]:
    photo = read_photo(path)
    (face,) = find_faces(photo.pixels)
    return photo, face


def fit_with(*overrides: str) -> FitResult:
    return fit_photo(str(EXAMPLE), load_config(None, list(overrides)))


# The example photo.


def test_the_example_is_fitted_closely(example_fit: Fitted) -> None:
    fit = example_fit.document
    assert fit["residual"]["final_percent_iod"] <= 1.0 < fit["residual"]["start_percent_iod"]
    assert fit["gradient_norm"]["final"] < fit["gradient_norm"]["start"]
    assert fit["gradients"] <= fit["evaluations"] <= 40
    assert fit["status"] in ("converged", "stalled", "max_iterations")


def test_the_document_is_complete(example_fit: Fitted) -> None:
    fit = example_fit.document
    space = FaceFitter(Config()).rig.controls
    names = {group: space.names[where] for group, where in space.groups.items()}
    shape: dict[str, Any] = {
        "schema": str,
        "photo": {"path": str, "sha256": str, "width": int, "height": int},
        "face": {"index": int, "box": [float] * 4, "score": float, "presence": float},
        **dict.fromkeys(("rig", "deformer", "detector", "rasterizer", "solver"), str),
        "controls": dict.fromkeys(names["expression"], float),
        "identity": dict.fromkeys(names["identity"], float),
        "pose": {
            "rotation_vector_rad": [float] * 3,
            "head_yaw_pitch_roll_deg": [float] * 3,
            "translation_m": [float] * 3,
        },
        "camera": {"focal_px": float, "principal_point_px": [float] * 2},
        "appearance": {
            **dict.fromkeys(("ambient", "directional", "direction"), [float] * 3),
            "harmonics": [[float] * 3] * 9,
            "colours": dict.fromkeys(REGIONS, [float] * 3),
            **dict.fromkeys(("error_start", "error_final", "distance_m"), float),
            "distance_spread": type(None),
        },
        "region": {"centre_px": [float] * 2, "side_px": float, "rotation_rad": float},
        "uncertainty": dict.fromkeys(space.names, float),
        "unobservable": [str] * len(fit["unobservable"]),
        "landmarks": {
            "scheme": str,
            "target": [[float] * 2] * 478,
            "render": [[float] * 2] * 478,
        },
        "landmarks68": {"projected": [[float] * 2] * 68},
        "residual": {"start_percent_iod": float, "final_percent_iod": float},
        "gradient_norm": {"start": float, "final": float},
        **dict.fromkeys(("evaluations", "gradients"), int),
        "seconds": float,
        "status": str,
    }
    assert types(fit) == shape
    assert len(fit["controls"]) == 52
    assert fit["schema"] == "chainrig.fit/1" and fit["landmarks"]["scheme"] == "mediapipe478"
    assert fit["photo"]["sha256"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    with Image.open(EXAMPLE) as photo:
        assert photo.size == (fit["photo"]["width"], fit["photo"]["height"])
    for control in space.controls:
        value = (fit["controls"] | fit["identity"]).get(control.name, 0.0)
        assert control.low <= value <= control.high


def types(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: types(value) for key, value in document.items()}
    return [types(value) for value in document] if isinstance(document, list) else type(document)


def test_the_landmarks_lie_on_the_face(example_fit: Fitted) -> None:
    fit = example_fit.document
    left, top, right, bottom = fit["face"]["box"]
    middle, half = torch.tensor([left + right, top + bottom]) / 2, (right - left) / 2
    for points in (fit["landmarks"]["target"], fit["landmarks"]["render"], fit["landmarks68"]["projected"]):
        assert (torch.tensor(points) - middle).abs().max() < 1.5 * half
    inner_lip, nose_tip = fit["landmarks"]["render"][13], fit["landmarks"]["render"][4]
    assert nose_tip[1] < inner_lip[1]  # y is down
    projected, render = torch.tensor(fit["landmarks68"]["projected"]), fit["landmarks"]["render"]
    assert (projected[36] - torch.tensor(render[33])).norm() < 0.1 * half  # her right eye's outer corner


def test_the_csv_is_one_live_link_frame(example_fit: Fitted) -> None:
    header, row, *more = csv.reader((example_fit.folder / "controls.csv").read_text().splitlines())
    assert not more and header[:2] == ["Timecode", "BlendShapeCount"] and len(header) == len(row) == 63
    assert re.fullmatch(r"\d\d:\d\d:\d\d:\d\d\.\d+", row[0]) and row[1] == "61"
    fit, frame = example_fit.document, dict(zip(header[2:], map(float, row[2:]), strict=True))
    for name, value in fit["controls"].items():
        assert frame[name[0].upper() + name[1:]] == pytest.approx(value, abs=1e-6)
    angles = torch.tensor([frame["HeadYaw"], frame["HeadPitch"], frame["HeadRoll"]]).rad2deg()
    assert angles.tolist() == pytest.approx(fit["pose"]["head_yaw_pitch_roll_deg"], abs=1e-4)


def test_the_overlay_shows_three_panels(example_fit: Fitted) -> None:
    with Image.open(example_fit.folder / "overlay.png") as overlay:
        overlay.load()
        assert overlay.mode == "RGB" and overlay.width > 2 * overlay.height > 600


def test_the_configuration_is_kept(example_fit: Fitted) -> None:
    assert load_config(example_fit.folder / "config.yaml") == Config()


def test_the_stored_controls_rendered_anew_give_the_stored_landmarks(example_fit: Fitted) -> None:
    fit, fitter = example_fit.document, FaceFitter(Config())
    photo, face = only_face(EXAMPLE)
    target = fitter.target(photo, face)
    camera = fitter.camera(photo, target)
    assert float(camera.focal_px) == pytest.approx(fit["camera"]["focal_px"], rel=1e-6)
    assert camera.principal_point_px.tolist() == fit["camera"]["principal_point_px"]
    assert (target.landmarks[:, :2] - torch.tensor(fit["landmarks"]["target"])).norm(dim=-1).max() < 0.05

    scene = read_scene(example_fit.folder / "fit.json", Config())  # in the fit's light and colours
    objective, x = scene.objective, scene.x
    percent = objective.percent(objective.residual(x))
    assert percent == pytest.approx(fit["residual"]["final_percent_iod"], abs=0.01)
    rendered = target.region.map_to_photo(objective.landmarks(x))[:, :2]
    assert (rendered - torch.tensor(fit["landmarks"]["render"])).norm(dim=-1).max() < 0.1

    off = x.clone()
    off[scene.rig.controls.groups["expression"]] = 0
    assert objective.percent(objective.residual(off)) > 2 * percent  # the controls do matter


# A face whose controls are known.


def test_a_rendered_face_gives_back_its_controls(tmp_path: Path) -> None:
    fitter = FaceFitter(load_config(None, ["fit.iterations=14"]))
    truth = {"jawOpen": 0.5, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}
    pose = {"headRotationY": 0.2, "headTranslationY": 0.03, "headTranslationZ": -1.2}
    camera = Camera(torch.tensor(1970.0), torch.full((2,), 320.0), size=(640, 640))
    with torch.no_grad():
        vertices = Deformer(fitter.rig)(fitter.rig.controls.pack(truth | pose))
        pixels = fitter.studio.renderer(camera, fitter.studio.default)(vertices)
    file = tmp_path / "known.png"
    Image.fromarray((pixels * 255).round().byte().numpy()).save(file)

    found = fitter.fit(*only_face(file))
    # Measured with 22 steps: 0.04 % IOD, controls within 0.02, yaw within 0.002 rad.
    assert found.residual_final < 0.2
    assert found.rotation_vector == pytest.approx((0.0, 0.2, 0.0), abs=0.02)
    for name, value in found.controls.items():
        assert value == pytest.approx(truth.get(name, 0.0), abs=0.08), name


# Settings.


@pytest.mark.parametrize("derivatives", ["embedding", "chain", "hybrid"])
def test_every_choice_of_derivatives_lowers_the_residual(derivatives: str) -> None:
    found = fit_with(f"fit.derivatives={derivatives}", "fit.iterations=5")
    assert found.solver == derivatives
    assert found.residual_final < 0.9 * found.residual_start
    stages = 2 if derivatives == "chain" else 3
    assert found.evaluations <= 5 + stages + 3  # each stage looks at its start; start, end, and the picture
    steps = found.gradients - 2  # the first and the last gradient are reported
    assert steps == 0 if derivatives == "embedding" else steps >= 2


def test_progress_counts_up_to_the_steps_that_were_asked_for() -> None:
    heard: list[tuple[int, int, float]] = []
    fitter = FaceFitter(load_config(None, ["fit.iterations=2", "render.samples=1"]))
    found = fitter.fit(*only_face(EXAMPLE), lambda *progress: heard.append(progress))
    assert [step for step, _, _ in heard] == list(range(1, len(heard) + 1))
    assert 1 <= len(heard) <= 2 and {steps for _, steps, _ in heard} == {2}
    assert heard[-1][2] == pytest.approx(found.residual_final, abs=0.05)


def test_without_steps_the_warm_start_is_the_result() -> None:
    found = fit_with("fit.iterations=0", "render.samples=1")
    assert found.residual_final == found.residual_start < 5
    assert found.controls["mouthSmileLeft"] > 0.1


def test_held_controls_stay_and_the_others_make_up_for_it() -> None:
    found = fit_with(
        "fit.iterations=3", "render.samples=1", "controls.jawOpen=0.3", "controls.headRotationX=0.1"
    )
    assert found.controls["jawOpen"] == pytest.approx(0.3, abs=1e-9)
    assert found.rotation_vector[0] == pytest.approx(0.1, abs=1e-9)
    assert found.residual_final < found.residual_start


def test_a_known_focal_length_is_used() -> None:
    found = fit_with("fit.iterations=0", "render.samples=1", "camera.focal_px=900")
    nearer = fit_with("fit.iterations=0", "render.samples=1", "camera.focal_px=450")
    assert (found.focal_px, nearer.focal_px) == (900, 450)
    assert found.translation[2] / nearer.translation[2] == pytest.approx(2, rel=0.15)


def test_a_place_without_a_face_is_refused() -> None:
    photo, _ = only_face(EXAMPLE)
    corner = Face(torch.tensor([0.0, 0.0, 60.0, 60.0]), 1.0, torch.full((6, 2), 30.0))
    with pytest.raises(ChainRigError, match="sees no whole face"):
        FaceFitter(Config()).fit(photo, corner)


def test_a_photo_without_a_face_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wall.png"
    Image.linear_gradient("L").resize((300, 300)).save(file)
    with pytest.raises(ChainRigError, match=r"no face in .*wall\.png"):
        fit_photo(str(file))


# People (photographs that are not part of this repository).


@pytest.mark.skipif(not LONDON.is_dir(), reason=f"the London photos are not in {LONDON}")
def test_a_person_smiles_only_where_she_does() -> None:
    fitter = FaceFitter(Config())
    neutral, smiling = (
        fitter.fit(*only_face(LONDON / f"001_{expression}.jpg")) for expression in ("neutral", "smiling")
    )

    def smile(found: FitResult) -> float:
        return (found.controls["mouthSmileLeft"] + found.controls["mouthSmileRight"]) / 2

    for found in (neutral, smiling):
        assert found.residual_final <= 1.0 and found.residual_final < found.residual_start
        assert found.evaluations <= 40
    assert smile(smiling) - smile(neutral) >= 0.1
    assert sum(map(abs, neutral.controls.values())) / 52 <= 0.06
