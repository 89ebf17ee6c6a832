"""One head from several photos of a person, and a fit of each photo with it."""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Run
from evaluated import fit_result

from pipeline import assets
from pipeline.calibrate import View, largest_face, solve_together
from pipeline.config import Config
from pipeline.fit import FaceFitter
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.result import Picture
from pipeline.subject import Subject, read_subject

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from known_controls import draw, photograph, truth_of  # noqa: E402  # pyright: ignore[reportMissingImports]
from share_identity import head_error_mm  # noqa: E402  # pyright: ignore[reportMissingImports]

EXAMPLE = assets.path("example.png")
FOCAL, AWAY = 1800.0, 1.1  # pixels, metres
FACES = (  # of one person
    {"headRotationY": 0.35, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6},
    {"headRotationY": -0.3, "headRotationX": 0.15, "jawOpen": 0.4, "browInnerUp": 0.5},
)


def test_a_shared_head_is_closer_to_the_truth_than_the_heads_of_single_photos() -> None:
    settings = {"appearance": {"fit": False}, "camera": {"focal_px": FOCAL}, "fit": {"iterations": 6}}
    fitter = FaceFitter(Config.model_validate(settings))
    space, identity = fitter.rig.controls, fitter.rig.controls.groups["identity"]
    rest = space.pack({"headTranslationY": 0.035, "headTranslationZ": -AWAY}, space.rest.clone())
    rest[identity] = draw(2)[0][identity]
    true, look = truth_of(rest).identity, Material(HeadTexture.load()())
    views = []
    for face in FACES:
        photo = photograph(space.pack(face, rest), Light.default(), look, FOCAL)
        views.append(View.of(fitter, photo, largest_face(photo)[1]))

    def head(view: View) -> float:
        values = space.unpack(view.x)
        return head_error_mm(fitter.rig, {name: values[name] for name in fitter.rig.identity_names}, true)

    alone = copy.copy(views)
    for place, view in enumerate(views):
        alone[place] = replace(view)
        solve_together(fitter, [alone[place]])
    steps: list[tuple[int, int]] = []
    solve_together(fitter, views, lambda step, most, percent: steps.append((step, most)))
    assert torch.equal(views[0].x[identity], views[1].x[identity])
    shared, single = head(views[0]), [head(view) for view in alone]
    assert shared < min(single) and shared < 0.97 * sum(single) / 2, (shared, single)
    assert len(steps) <= 6 and {most for _, most in steps} == {6}  # as many as the settings allow


def photos(folder: Path) -> list[Path]:
    """The example under two names."""
    files = [folder / "a.png", folder / "b.png"]
    for file in files:
        file.write_bytes(EXAMPLE.read_bytes())
    return files


def test_it_writes_the_person_and_a_fit_of_every_photo(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, seen = FaceFitter(Config()).rig, {}

    def found(faces: Any, config: Config, at_rest: bool, on_progress: Any) -> Subject:
        seen["photos"], seen["at_rest"] = [photo.path.name for photo, _ in faces], at_rest
        on_progress(1, 2, 0.5)
        names = tuple(str(photo.path) for photo, _ in faces)
        return Subject(dict.fromkeys(rig.identity_names, 0.1), torch.zeros(478, 3).double(), names, 0.5)

    class Fitter:
        rig, studio = None, SimpleNamespace(deform=None)

        def __init__(self, config: Config) -> None:
            self.config = config
            seen["subject"] = read_subject(str(config.fit.subject), rig)

        def fit(self, photo: Any, face: Any, *_: Any) -> Any:
            picture = Picture(torch.zeros(8, 8, 4, dtype=torch.uint8), torch.eye(3)[:2])
            jaw = {"jawOpen": 0.1 * (photo.path.stem == "b")}
            return fit_result(photo=photo, face=face, controls=jaw, picture=picture)

    monkeypatch.setattr("pipeline.calibrate.calibrate", found)
    monkeypatch.setattr("pipeline.fit.FaceFitter", Fitter)
    monkeypatch.setattr("pipeline.outputs.face_glb.face_glb", lambda *_: b"glTF")
    out = tmp_path / "out"
    code, stdout, stderr = run("fit", "--share-identity", *photos(tmp_path), "--out", out)
    assert code == 0, stderr
    assert seen["photos"] == ["a.png", "b.png"] and seen["at_rest"] is False
    assert set(seen["subject"].identity.values()) == {0.1} and str(out / "subject.json") in stdout
    jaws = [json.loads((out / name / "fit.json").read_text())["controls"]["jawOpen"] for name in "ab"]
    assert jaws == [0.0, 0.1] and (out / "a" / "overlay.png").is_file() and (out / "b" / "face.glb").is_file()


def test_what_does_not_go_together_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    a, b = photos(tmp_path)
    wrong = {
        "--share-identity if they are of one person": [a, b],
        "two photos or more": ["--share-identity", a],
        "of different names": ["--share-identity", a, a],
        "takes no --face": ["--share-identity", a, b, "--face", "all"],
        "leave --detector out": ["--share-identity", a, b, "--detector", "fan"],
    }
    for reason, arguments in wrong.items():
        code, stdout, stderr = run("fit", *arguments, "--out", tmp_path / "out")
        assert (code, stdout) == (2, "") and stderr.count("\n") == 1 and reason in stderr, stderr
        assert not (tmp_path / "out").exists()
