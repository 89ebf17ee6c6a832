"""A person's own head: found on neutral photos, kept in a file, taken along to the next photo."""

import json
from pathlib import Path

import pytest
import torch
from conftest import Run
from torch import Tensor

from pipeline import assets
from pipeline.chain import build_stand_in
from pipeline.config import Config
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.inspection.scene import read_scene
from pipeline.layer import Pipeline
from pipeline.outputs.fit_json import fit_json
from pipeline.render.camera import Camera
from pipeline.subject import Subject, offsets, read_subject, subject_json
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

EXAMPLE = assets.path("example.png")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def stand_in(rig: Rig) -> Pipeline:
    view = torch.tensor([[0.5, 0.3, 20.0], [-0.3, 0.5, 60.0]])  # turned, half the size
    middle = torch.full((2,), 256.0)
    return build_stand_in(rig, Camera(torch.tensor(2400.0), middle, view)).double()


@pytest.fixture(scope="module")
def pose(rig: Rig) -> Tensor:
    values = {"headTranslationY": 0.035, "headTranslationZ": -1.2, "headRotationY": 0.3, "headRotationX": 0.1}
    return rig.controls.pack(values).double()


def person(rig: Rig, moved: Tensor, value: float = 0.25) -> Subject:
    return Subject(dict.fromkeys(rig.identity_names, value), moved, ("me.jpg",), 0.5)


def test_offsets_bring_the_landmarks_to_where_they_were_seen(
    rig: Rig, stand_in: Pipeline, pose: Tensor
) -> None:
    apart = 2 * torch.randn(478, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    me = person(rig, offsets(stand_in, pose, apart))
    torch.testing.assert_close(me.shift(stand_in, pose), apart, atol=1e-9, rtol=0)
    assert 1e-4 < me.offsets.norm(dim=-1).mean() < 1e-2  # a pixel is half a millimetre here


def test_offsets_turn_with_the_head(rig: Rig, stand_in: Pipeline, pose: Tensor) -> None:
    me = person(rig, torch.tensor([[0.002, 0.0, 0.0]]).double().expand(478, 3))  # to the subject's left
    space = rig.controls
    facing = space.pack({"headRotationX": 0.0, "headRotationY": 0.0}, pose)
    turned = space.pack({"headRotationY": torch.pi / 2}, facing)
    ahead, aside = me.shift(stand_in, facing).norm(dim=-1), me.shift(stand_in, turned).norm(dim=-1)
    assert ahead.min() > 1 and aside.max() < 0.2 * ahead.min()


def test_the_file_keeps_the_person(rig: Rig, tmp_path: Path) -> None:
    me = person(rig, 1e-3 * torch.randn(478, 3, dtype=torch.float64))
    file = tmp_path / "me.json"
    file.write_text(subject_json(me))
    read = read_subject(file, rig)
    assert read.identity == me.identity and read.photos == ("me.jpg",)
    torch.testing.assert_close(read.offsets, me.offsets, atol=1e-7, rtol=1e-3)

    good = json.loads(file.read_text())
    bad = {
        "is no chainrig.subject/1": good | {"schema": "chainrig.fit/1"},
        "not a whole": {key: value for key, value in good.items() if key != "identity"},
        "of another rig": good | {"identity": {"nose": 1.0}},
        "not finite": good | {"landmark_offsets_m": [[float("nan")] * 3] * 478},
    }
    for reason, document in bad.items():
        file.write_text(json.dumps(document))
        with pytest.raises(ChainRigError, match=reason):
            read_subject(file, rig)
    with pytest.raises(ChainRigError, match="cannot be read"):
        read_subject(tmp_path / "missing.json", rig)


def test_a_calibrated_face_needs_no_expression(run: Run, rig: Rig, tmp_path: Path) -> None:
    """The example smiles; taken for neutral, its smile is part of the person."""
    file, fast = tmp_path / "her.json", ["--set", "appearance.fit=false", "--set", "fit.iterations=4"]
    code, stdout, stderr = run("calibrate", EXAMPLE, "--out", file, *fast)
    assert code == 0, stderr
    assert "The head of one photo" in stdout and str(file) in stdout
    me = read_subject(file, rig)

    settings = {"fit": {"subject": str(file)}, "appearance": {"fit": False}}
    fitter = FaceFitter(Config.model_validate(settings))
    photo = read_photo(EXAMPLE)
    target = fitter.target(photo, find_faces(photo.pixels)[0])
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    x = fitter.warm_start(objective, fitter.first_guess(target, camera))
    fitter.become(me, objective, x)
    x = fitter.warm_start(objective, x)
    assert float(x[rig.controls.groups["expression"]].mean()) < 0.02
    assert not torch.as_tensor(objective.stand_in_offset).any()  # what a detector errs by is another matter
    held = rig.controls.unpack(x)
    assert all(held[name] == pytest.approx(value, abs=1e-5) for name, value in me.identity.items())


def test_an_inspection_sees_the_person_too(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "her.json"
    generator = torch.Generator().manual_seed(0)
    moved = 2e-3 * torch.randn(478, 3, dtype=torch.float64, generator=generator)
    file.write_text(subject_json(person(rig, moved, 0.1)))
    photo = read_photo(EXAMPLE)
    config = Config.model_validate({"fit": {"subject": str(file), "iterations": 2}})
    result = FaceFitter(config).fit(photo, find_faces(photo.pixels)[0])
    assert not set(result.unobservable) & set(rig.identity_names)  # they are known
    fit = tmp_path / "fit.json"
    fit.write_text(fit_json(result, 0))

    scene = read_scene(fit, Config())
    percent = scene.objective.percent(scene.objective.residual(scene.x))
    assert percent == pytest.approx(result.residual_final, abs=0.03)
    held = scene.prior.low == scene.prior.high
    assert held[rig.controls.groups["identity"]].all() and not held[rig.controls.groups["expression"]].any()
    # What the file shows of the render is what was compared.
    apart = (result.render - result.target)[list(SCORED)].norm(dim=-1).mean()
    iod = (result.target[33] - result.target[263]).norm()
    assert float(100 * apart / iod) == pytest.approx(result.residual_final, abs=0.03)


def test_bad_input_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    code, _, stderr = run("calibrate", EXAMPLE, "--out", tmp_path)
    assert code == 2 and "is a folder" in stderr and stderr.count("\n") == 1
    code, _, stderr = run("calibrate", tmp_path / "none.jpg", "--out", tmp_path / "s.json")
    assert code == 2 and stderr.count("\n") == 1
    code, _, stderr = run("fit", EXAMPLE, "--subject", tmp_path / "none.json", "--out", tmp_path / "o")
    assert code == 2 and "cannot be read" in stderr and not (tmp_path / "o").exists()
