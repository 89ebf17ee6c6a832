"""Fits to points that a person placed, and with another detector: from the command line to `jacobian`."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run
from PIL import Image, ImageFilter

from pipeline import assets
from pipeline.config import Config
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.inspection.attribution import attribute
from pipeline.inspection.columns import push_columns, stations
from pipeline.inspection.face_regions import face_regions
from pipeline.inspection.observability import observe
from pipeline.inspection.scene import read_scene
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo
from pipeline.target.reading import converted

EXAMPLE = assets.path("example.png")
TRAINED = assets.path("landmarks68_synthetic.safetensors")
PLACED = [30, 33, 36, 39, 42, 45, 48, 51, 54, 57]


@pytest.fixture(scope="module")
def marks() -> torch.Tensor:
    """(68, 2) of the example photo's face."""
    photo = read_photo(EXAMPLE)
    target = FaceFitter(Config()).target(photo, find_faces(photo.pixels)[0])
    return converted(target.landmarks.double(), "mediapipe478", "ibug68")[:, :2]


@pytest.fixture
def labels(tmp_path: Path, marks: torch.Tensor) -> Path:
    """Ten points, all of them 6 pixels to the right of where the detector has them."""
    placed = {str(i): [float(marks[i, 0]) + 6, float(marks[i, 1])] for i in PLACED}
    with Image.open(EXAMPLE) as image:
        size = list(image.size)
    file = tmp_path / "me.json"
    document = {
        "schema": "chainrig.labels/1",
        "scheme": "ibug68",
        "origin": "corner",
        "image_size": size,
        "points": placed,
    }
    file.write_text(json.dumps(document))
    return file


def document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "fit.json").read_text())


def test_labels_are_the_target(run: Run, labels: Path, marks: torch.Tensor, tmp_path: Path) -> None:
    code, stdout, stderr = run(
        "fit", EXAMPLE, "--labels", labels, "--set", "fit.iterations=2", "--out", tmp_path / "o"
    )
    assert code == 0, stderr
    assert "10 of ibug68's 68 points" in " ".join(stdout.split())
    fit = document(tmp_path / "o")
    assert fit["labels"]["index"] == PLACED and fit["landmarks"]["scheme"] == "mediapipe478"
    placed = torch.tensor(fit["labels"]["target"]).double()
    torch.testing.assert_close(placed, marks[PLACED] + torch.tensor([6.0, 0.0]).double(), atol=1e-3, rtol=0)
    # The rig follows the labels, not the detector.
    projected = torch.tensor(fit["landmarks68"]["projected"]).double()[PLACED]
    assert (projected - placed).mean(0).norm() < 2 < (projected - marks[PLACED]).mean(0).norm()

    scene = read_scene(tmp_path / "o" / "fit.json", Config())
    residual = scene.objective.residual(scene.x)
    assert scene.objective.percent(residual) == pytest.approx(fit["residual"]["final_percent_iod"], abs=0.02)
    assert scene.spread is None and len(residual) == 2 * len(PLACED)


def test_labels_in_a_scheme_of_their_own_can_be_inspected(run: Run, labels: Path, tmp_path: Path) -> None:
    given = json.loads(labels.read_text())
    points = [{"name": f"mine_{i}", "like": f"ibug68:{i}"} for i in PLACED]
    own = {"schema": "chainrig.scheme/1", "name": "mine", "points": points}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    named = {f"mine_{name}": place for name, place in given["points"].items()}
    labels.write_text(json.dumps(given | {"scheme": "mine.json", "points": named, "image": "other.png"}))
    code, stdout, stderr = run(
        "fit", EXAMPLE, "--labels", labels, "--no-appearance", "--set", "fit.iterations=1", "--out", tmp_path
    )
    assert code == 0, stderr
    assert "said to be of another photo, other.png" in " ".join(stdout.split())
    (tmp_path / "mine.json").unlink()
    scene = read_scene(tmp_path / "fit.json", Config())
    percent = scene.objective.percent(scene.objective.residual(scene.x))
    assert percent == pytest.approx(document(tmp_path)["residual"]["final_percent_iod"], abs=0.02)


def test_another_detector_is_used_for_photo_and_render(run: Run, tmp_path: Path) -> None:
    code, _, stderr = run(
        "fit", EXAMPLE, "--detector", TRAINED, "--set", "fit.iterations=2", "--out", tmp_path, "--quiet"
    )
    assert (code, stderr) == (0, "")
    fit = document(tmp_path)
    assert fit["detector"] == str(TRAINED) and fit["landmarks"]["scheme"] == "ibug68"
    assert len(fit["landmarks"]["target"]) == len(fit["landmarks"]["render"]) == 68
    assert fit["residual"]["final_percent_iod"] < fit["residual"]["start_percent_iod"]

    scene = read_scene(tmp_path / "fit.json", Config())
    assert scene.objective.percent(scene.objective.residual(scene.x)) == pytest.approx(
        fit["residual"]["final_percent_iod"], abs=0.02
    )
    regions = face_regions(scene.rig, "ibug68")
    assert (len(regions), regions[8], regions[30], regions[36]) == (68, "jaw", "nose", "right eye")
    columns = push_columns(scene, ["jawOpen", "mouthSmileLeft"])
    assert stations(columns)["landmarks"].rows[1].labels == ("x", "y")
    asked = attribute(scene, columns, regions)
    assert asked.terms.shape == (68, 2) and not asked.terms[:8].any()  # the outline is not compared
    assert observe(scene, columns).sd.shape == (2,)


def test_bad_labels_are_told_in_a_sentence(run: Run, labels: Path, tmp_path: Path) -> None:
    def told(*options: object) -> str:
        out = tmp_path / "none"
        code, stdout, stderr = run("fit", EXAMPLE, *options, "--out", out)
        assert (code, stdout) == (2, "") and stderr.count("\n") == 1 and not out.exists()
        return stderr

    good = json.loads(labels.read_text())

    def changed(**changes: Any) -> Path:
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(good | changes))
        return file

    assert "labels a photo of 80 × 90 pixels" in told("--labels", changed(image_size=[80, 90]))
    assert "(nose_tip)" in told("--labels", changed(points={"30": [float("nan"), 3.0]}))
    assert "no landmark scheme 'ibug86'" in told("--labels", changed(scheme="ibug86"))
    many = tmp_path / "many.pts"
    many.write_text("version: 1\nn_points: 3\n{\n1 2\n3 4\n5 6\n}\n")
    assert "3 points" in told("--labels", many)
    assert "no face was found" in told("--labels", changed(points={str(i): [5.0, 5.0 + i] for i in PLACED}))
    assert "--labels FILE" in told("--labels-scheme", "ibug68")
    assert "--face all" in told("--labels", labels, "--face", "all")
    assert "no file" in told("--labels", tmp_path / "missing.json").lower()


def test_what_the_finder_takes_for_a_face_is_fitted_only_by_force(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "blur.png"
    with Image.open(EXAMPLE) as sharp:
        sharp.convert("RGB").filter(ImageFilter.GaussianBlur(4)).save(photo)  # the finder is not sure
    monkeypatch.setattr("pipeline.target.faces.MIN_PRESENCE", 1.1)  # and the detector sees nothing
    options = ["--no-appearance", "--set", "fit.iterations=1", "--out", tmp_path / "o"]
    code, _, stderr = run("fit", photo, *options)
    assert code == 2 and "with presence 1.00" in stderr and "--force" in stderr and stderr.count("\n") == 1
    code, _, stderr = run("fit", photo, "--force", *options)
    assert code == 0, stderr
    assert document(tmp_path / "o")["face"]["presence"] > 0.9


def test_doubtful_faces_are_refused_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = read_photo(EXAMPLE)
    face = find_faces(photo.pixels)[0]
    monkeypatch.setattr("pipeline.fit.MIN_PRESENCE", 1.1)  # now every face is doubtful
    with pytest.raises(ChainRigError, match=r"presence 1\.00.*--force"):
        FaceFitter(Config()).target(photo, face)
    forced = Config.model_validate({"landmarks": {"force": True}})
    assert FaceFitter(forced).target(photo, face).mesh.presence > 0.9


def test_the_known_bias_moves_the_stand_in_or_the_labels(labels: Path) -> None:
    from pipeline.target.labels.read import read_labels

    photo = read_photo(EXAMPLE)
    face = find_faces(photo.pixels)[0]
    fitter = FaceFitter(Config.model_validate({"landmarks": {"correct": True}}))
    assert fitter.errors is not None
    target = fitter.target(photo, face)
    bias = fitter.objective(target, fitter.camera(photo, target)).stand_in_offset
    assert isinstance(bias, torch.Tensor)
    nose = int(target.comparison.from_detector[:, 1].argmax())
    pixels = fitter.errors.bias[1] * target.iod_in_view / 100  # the view is upright along the eyes
    torch.testing.assert_close(bias[nose], pixels, atol=1e-6, rtol=1e-4)

    by_hand = fitter.target(photo, face, read_labels(labels))
    objective = fitter.objective(by_hand, fitter.camera(photo, by_hand))
    assert objective.stand_in_offset == 0.0 and isinstance(objective.chain_offset, torch.Tensor)
    trained = Config.model_validate({"landmarks": {"correct": True, "detector": str(TRAINED)}})
    fitter = FaceFitter(trained)
    target = fitter.target(photo, face)
    with pytest.raises(ChainRigError, match="chainrig detector bias"):
        fitter.objective(target, fitter.camera(photo, target))


def test_the_solver_s_steps_are_written(run: Run, tmp_path: Path) -> None:
    code, stdout, _ = run(
        "fit", EXAMPLE, "--trace", "--no-appearance", "--set", "fit.iterations=3", "--out", tmp_path
    )
    assert code == 0 and "trace.svg" in stdout
    rows = list(csv.DictReader((tmp_path / "trace.csv").read_text().splitlines()))
    fit = document(tmp_path)
    assert float(rows[0]["residual"]) == pytest.approx(fit["residual"]["start_percent_iod"], abs=1e-3)
    assert len(rows) <= 5 and [int(row["evaluations"]) for row in rows] == sorted(
        int(row["evaluations"]) for row in rows
    )
    assert "residual, % IOD" in (tmp_path / "trace.svg").read_text()


@pytest.mark.parametrize("loss", ["huber", "geman_mcclure"])
def test_a_wrong_landmark_hardly_moves_a_robust_fit(loss: str) -> None:
    photo = read_photo(EXAMPLE)
    face = find_faces(photo.pixels)[0]
    found = {}
    for name in ("squares", loss):
        fitter = FaceFitter(Config.model_validate({"fit": {"loss": name}}))
        target = fitter.target(photo, face)
        objective = fitter.objective(target, fitter.camera(photo, target))
        x = fitter.warm_start(objective, fitter.first_guess(target, fitter.camera(photo, target)))
        objective.target[::10] += 0.2 * objective.iod  # every tenth point is 20 % of the eye distance off
        wrong = fitter.warm_start(objective, fitter.first_guess(target, fitter.camera(photo, target)))
        found[name] = (wrong - x)[fitter.rig.controls.groups["expression"]].abs().mean()
    assert found[loss] < 0.3 * found["squares"]
