"""`chainrig rig` and `chainrig retarget`, as a user types them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from glb_of_tests import square
from PIL import Image
from test_deform import tiny_rig
from typer.testing import CliRunner

from pipeline.commands.retarget import retarget
from pipeline.commands.rig import rig_app
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import mirrored_deltas, vertex_twins
from pipeline.errors import ChainRigError
from pipeline.rigs.inspect_rig import inspect_rig

app = typer.Typer()
app.add_typer(rig_app, name="rig")
app.command()(retarget)


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_import_inspect_and_export_of_a_small_rig(tmp_path: Path) -> None:
    source = square().write(tmp_path / "square.glb")
    said = run("rig", "import", source, "--out", tmp_path / "square.npz", "--unit", "m")
    assert "4 vertices, 2 expressions" in said and "chainrig rig embed" in said and "no albedo" in said
    said = run("rig", "inspect", tmp_path / "square.npz")
    assert "jawOpen" in said and "10.0 mm" in said and "in the file: JawOpen" in said
    assert "smileLeft have no twin" in said and "rig embed" in said
    with Image.open(tmp_path / "square.controls.png") as sheet:
        assert min(sheet.size) > 190
    said = run("rig", "export", tmp_path / "square.npz", "--out", tmp_path / "again.glb")
    assert "again.glb" in said
    run("rig", "import", tmp_path / "again.glb", "--out", tmp_path / "again.npz", "--quiet")
    one, other = Rig.load(tmp_path / "square.npz"), Rig.load(tmp_path / "again.npz")
    assert one.expression_sources == other.expression_sources == ("smile_L", "JawOpen")
    np.testing.assert_allclose(one.rest, other.rest, atol=1e-7)


def test_lips_are_closed_over_an_open_jaw() -> None:
    rig = replace(tiny_rig(), expression_names=("jawOpen", "mouthClose"))
    deform = Deformer(rig)
    opened = rig.controls.pack({"jawOpen": 1.0}).double()
    closed = rig.controls.pack({"jawOpen": 1.0, "mouthClose": 1.0}).double()
    moved = 1000 * (deform(closed) - deform(opened)).norm(dim=-1).max()
    assert inspect_rig(rig).controls[1].moves_mm == pytest.approx(float(moved))


def test_options_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    source = square().write(tmp_path / "square.glb")
    for words, complaint in [
        (("rig", "import", source, "--out", "rig.glb"), "--out takes a .npz file"),
        (("rig", "import", source, "--unit", "league", "--out", tmp_path / "a.npz"), "--unit takes m, dm"),
        (("rig", "import", source, "--up", "y", "--out", tmp_path / "a.npz"), r"--up takes one of \+x"),
        (("rig", "import", source, "--up", "+z", "--front", "-z", "--out", tmp_path / "a.npz"), "one axis"),
        (("rig", "import", tmp_path / "no.glb", "--out", tmp_path / "a.npz"), "There is no rig"),
        (("rig", "export", "--out", "rig.fbx"), "--out takes a .glb file"),
        (("rig", "inspect", tmp_path / "no.npz"), "no rig file"),
        (("retarget", source, "--rig", "x.npz", "--out", "x.txt"), "--out takes a .json file"),
    ]:
        with pytest.raises(ChainRigError, match=complaint):
            run(*words)
    assert not list(tmp_path.glob("*.npz"))


def test_a_rig_becomes_a_persons_own_with_narrower_ranges(tmp_path: Path) -> None:
    head, fit, out = Rig.load(), tmp_path / "fit.json", tmp_path / "own.npz"
    fit.write_text(json.dumps({"gender": 0.8, "age": 0.2, "jawOpen": 0.4}))
    run("rig", "edit", "--person", fit, "--limit", "jawOpen=0:0.7", "--symmetric", "--out", out)
    own = Rig.load(out)
    assert own.identity_names == ()
    assert float(own.controls.high[own.controls.index("jawOpen")]) == pytest.approx(0.7)
    grown = Deformer(head)(head.controls.pack({"gender": 0.8, "age": 0.2}))
    np.testing.assert_allclose(own.rest, grown, atol=1e-5)
    twins = vertex_twins(head.rest)
    left, right = (
        own.expression_deltas[own.controls.index(f"mouthSmile{side}")] for side in ("Left", "Right")
    )
    np.testing.assert_allclose(mirrored_deltas(left, twins), right, atol=1e-6)
    for words, complaint in [
        ((), "nothing to change"),
        (("--limit", "jawOpen=0.7"), "--limit takes NAME=LOW:HIGH"),
        (("--limit", "jawopen=0:1"), "Did you mean jawOpen"),
        (("--person", tmp_path / "none.json"), "no file"),
    ]:
        with pytest.raises(ChainRigError, match=complaint):
            run("rig", "edit", "--out", tmp_path / "b.npz", *words)
    fit.write_text(json.dumps({"jawOpen": 0.4}))
    with pytest.raises(ChainRigError, match="names none of the rig's identity"):
        run("rig", "edit", "--person", fit, "--out", tmp_path / "b.npz")


def test_retarget_writes_controls_that_render_takes(tmp_path: Path) -> None:
    from pipeline.controls_file import read_controls

    Rig.load().save(tmp_path / "other.npz")
    fit = tmp_path / "face.json"
    fit.write_text(json.dumps({"jawOpen": 0.4, "mouthSmileLeft": 0.3, "headRotationY": 0.1}))
    said = run("retarget", fit, "--rig", tmp_path / "other.npz", "--picture", tmp_path / "both.png")
    assert "52 controls by name" in said and "differ by 0.00 mm" in said
    values = read_controls(tmp_path / "face.other.json").values
    assert values["jawOpen"] == pytest.approx(0.4) and values["headRotationY"] == pytest.approx(0.1)
    with Image.open(tmp_path / "both.png") as both:
        assert both.size[0] > 2 * 384
