"""Fits with a rig from a file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Run

from pipeline import assets
from pipeline.config import Config
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.inspection.scene import read_scene
from pipeline.rigs.gltf_export import export_gltf
from pipeline.rigs.import_rig import import_rig
from pipeline.rigs.texture import albedo_of
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

EXAMPLE = assets.path("example.png")


def test_a_rig_without_landmarks_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bare.npz"
    replace(Rig.load(), landmark_triangle=None, landmark_barycentric=None, landmark_spread=None).save(file)
    code, _, stderr = run("fit", EXAMPLE, "--rig", file, "--out", tmp_path / "o")
    assert code == 2 and f"chainrig rig embed {file}" in stderr and stderr.count("\n") == 1
    code, _, stderr = run("fit", EXAMPLE, "--rig", tmp_path / "none.npz", "--out", tmp_path / "o")
    assert code == 2 and "none.npz" in stderr and not (tmp_path / "o").exists()


def test_a_rig_with_few_shapes_and_a_picture_for_skin(tmp_path: Path) -> None:
    """No identity, two expressions, no joint for the eyes, albedo from a picture: all that a fit asks for."""
    rig = Rig.load()
    kept = torch.tensor([rig.expression_names.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")])
    root = torch.zeros(len(rig.rest), 1) + 1
    small = replace(
        rig,
        expression_names=("mouthSmileLeft", "mouthSmileRight"),
        expression_deltas=rig.expression_deltas[kept],
        identity_names=(),
        identity_deltas=rig.identity_deltas[:0],
        identity_low=rig.identity_low[:0],
        identity_high=rig.identity_high[:0],
        joint_names=("head",),
        joint_parents=torch.tensor([-1]),
        joint_rest=rig.joint_rest[:1],
        joint_identity_deltas=rig.joint_identity_deltas[:0, :1],
        skin_weights=root,
        drivers=torch.zeros(2, 1, 3),
        albedo=torch.full((16, 16, 3), 170, dtype=torch.uint8),
        source="small.glb",
    )
    file = tmp_path / "small.npz"
    small.validated().save(file)
    photo = read_photo(EXAMPLE)
    config = Config.model_validate({"fit": {"rig": str(file), "iterations": 3, "deformer": "blendshape"}})
    result = FaceFitter(config).fit(photo, find_faces(photo.pixels)[0])
    assert result.rig == str(file) and result.identity == {} and result.appearance is None
    assert list(result.controls) == ["mouthSmileLeft", "mouthSmileRight"]
    assert result.eye_left == (0.0, 0.0) and result.controls["mouthSmileLeft"] > 0.3
    assert result.residual_final < result.residual_start

    from pipeline.outputs.fit_json import fit_json

    (tmp_path / "fit.json").write_text(fit_json(result, 0))
    scene = read_scene(tmp_path / "fit.json", Config())
    assert scene.rig.expression_names == small.expression_names
    assert json.loads((tmp_path / "fit.json").read_text())["deformer"] == "blendshape"
    percent = scene.objective.percent(scene.objective.residual(scene.x))
    assert percent == pytest.approx(result.residual_final, abs=0.02)


def test_the_fit_is_the_same_with_a_rig_that_went_through_a_file(tmp_path: Path) -> None:
    head, photo = Rig.load(), read_photo(EXAMPLE)
    (tmp_path / "head.glb").write_bytes(export_gltf(head, albedo_of(head), {}))
    import_rig(tmp_path / "head.glb")[0].save(tmp_path / "head.npz")
    face, fits = find_faces(photo.pixels)[0], []
    for rig in (None, str(tmp_path / "head.npz")):
        settings = {"fit": {"rig": rig, "iterations": 1}, "render": {"samples": 1}}
        fitter = FaceFitter(Config.model_validate(settings))
        fits.append(fitter.fit(photo, face))
    own, back = fits
    assert back.appearance is not None and back.residual_final == own.residual_final
    assert back.controls == own.controls and back.identity == own.identity


def test_a_fit_is_inspected_through_the_deformer_that_it_had(tmp_path: Path) -> None:
    """Nothing is fitted: of two documents that differ in their deformer, the chains do, too."""
    document = {
        "schema": "chainrig.fit/1",
        "photo": {"path": str(EXAMPLE), "sha256": "", "width": 1000, "height": 1000},
        "rig": "head_rig",
        "deformer": "quasistatic",
        "controls": {"jawOpen": 0.1},
        "identity": {},
        "pose": {"rotation_vector_rad": [0, 0, 0], "translation_m": [0, 0, -1]},
        "camera": {"focal_px": 4000, "principal_point_px": [500, 500]},
        "landmarks": {"target": [[450.0 + i % 20 * 5, 450.0 + i // 20 * 5] for i in range(478)]},
        "status": "converged",
    }
    file = tmp_path / "fit.json"
    layers = {}
    for kind in ("quasistatic", "skinning"):
        file.write_text(json.dumps(document | {"deformer": kind}))
        layers[kind] = type(next(iter(read_scene(file, Config()).chain))).__name__
    assert layers == {"quasistatic": "QuasistaticDeformer", "skinning": "Deformer"}
    file.write_text(json.dumps(document | {"deformer": "clay"}))
    with pytest.raises(ChainRigError, match="the deformer clay"):
        read_scene(file, Config())
