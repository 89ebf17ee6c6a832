"""`chainrig jacobian` as a person meets it."""

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import fit_document

from pipeline.cli import main
from pipeline.config import Config
from pipeline.inspection.scene import read_scene

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def jacobian(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs `chainrig jacobian ARGUMENTS` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def jacobian(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chainrig", "jacobian", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        stdout, stderr = capfd.readouterr()
        return int(stopped.value.code or 0), stdout, stderr

    return jacobian


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    """A fit that stopped before the mouth was open."""
    scene = read_scene(None, Config(), {"jawOpen": 0.3, "mouthSmileLeft": 0.4})
    wanted = scene.view().landmarks
    values = scene.rig.controls.unpack(scene.x) | {"jawOpen": 0.2, "mouthSmileLeft": 1.0}
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit_document(values, scene.camera, wanted)))
    return path


def test_a_fit_is_inspected(jacobian: Command, fit: Path, tmp_path: Path) -> None:
    code, stdout, stderr = jacobian(
        fit, "--json", "--control", "jawOpen", "--control", "tongueOut", "--control", "mouthSmileLeft"
    )
    assert (code, stderr) == (0, "")
    found = json.loads(stdout)
    assert found["title"] == "gone.jpg" and found["at"] == "the fitted controls"
    assert 0.5 < found["residual_percent_iod"] < 5
    assert list(found["controls"]) == ["jawOpen", "tongueOut", "mouthSmileLeft"]
    assert found["controls"]["jawOpen"]["vertex_mm_per_unit"] > 20
    assert 0 < found["controls"]["jawOpen"]["sd"] < found["controls"]["tongueOut"]["sd"]
    assert found["controls"]["tongueOut"]["full_range_px"] > 0.2 and found["unobservable"] == []
    reasons = {one["control"]: one["reason"] for one in found["least_determined"]}
    assert "hardly shows here" in reasons["tongueOut"]
    assert f"{reasons['tongueOut']}." in found["in_short"]
    assert [one["station"] for one in found["gradient"]] == ["landmarks", "pixels", "vertices", "controls"]
    dead = {one["control"]: one["where"] for one in found["dead"]}
    assert "jawOpen" not in dead and dead.get("mouthSmileLeft", "range") == "range"
    assert {one["layer"] for one in found["trust"]} == {"deform", "render", "detect", "chain"}
    assert all(one["passed"] for one in found["trust"])

    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") > 6 and "http://" not in page.replace("http://www.w3.org", "")
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == [
        "jawOpen.png",
        "mouthSmileLeft.png",
        "tongueOut.png",
    ]
    with Image.open(tmp_path / "weakest-1.gif") as animation:
        assert animation.n_frames > 5  # type: ignore[attr-defined]
    with np.load(tmp_path / "jacobian.npz") as file:
        assert file["landmarks.column_control"].tolist() == list(found["controls"])
        assert file["landmarks.values"].shape == (478, 3, 3)
        assert file["pixels.values"].shape == (16, 16, 3, 3)
        opening = file["landmarks.values"][152, 1, 0]  # the chin, y
        assert 5 < opening < 60  # pixels down for a whole jawOpen


def test_one_layer_alone_writes_its_own_jacobian(jacobian: Command, fit: Path, tmp_path: Path) -> None:
    code, stdout, _ = jacobian(fit, "--layer", "detect", "--rows", "13", "--out", "one")
    assert code == 0
    assert stdout.splitlines()[1:] == ["one/jacobian-detect.npz", "one/detect.png"]
    assert "landmark 13" in stdout
    with np.load("one/jacobian-detect.npz") as file:
        assert file["detect.values"].shape == (1, 3, 256, 256, 3)
        assert file["detect.rows"].tolist() == ["landmark", "xyz"]
    code, stdout, _ = jacobian(fit, "--layer", "deform", "--control", "jaw*", "--json", "--out", "one")
    strengths = json.loads(stdout)["columns"]["norms"]
    assert next(iter(strengths)) == "jawOpen" and set(strengths) == {
        "jawForward",
        "jawLeft",
        "jawOpen",
        "jawRight",
    }
    assert BytesIO(Path("one/detect.png").read_bytes()).getbuffer().nbytes > 1000  # of the earlier run: kept


def test_all_of_the_picture_by_all_vertices_is_sparse(jacobian: Command, fit: Path) -> None:
    code, stdout, _ = jacobian(fit, "--layer", "render", "--columns", "*", "--json", "--out", "sparse")
    assert code == 0
    told = json.loads(stdout)
    with np.load("sparse/jacobian-render.npz") as file:
        row, column, values = (file[f"render.{name}"] for name in ("row", "column", "values"))
    assert told["shape"] == [256 * 256 * 3, 5307 * 3] and told["nonzeros"] == len(values)
    assert len(values) < 0.005 * 256 * 256 * 3 * 5307 * 3
    # Everything 1 mm to the right: what leaves a pixel enters its neighbour.
    moved = np.bincount(row, values * (column % 3 == 0), minlength=256 * 256 * 3) / 1000
    assert abs(moved).max() > 0.05 and abs(moved.sum()) < 0.02 * abs(moved).sum()


def test_what_cannot_be_inspected_is_said_before_anything_is_done(
    jacobian: Command, fit: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.json").write_text("[1, 2]")
    for arguments, words in (
        (("--control", "jawOpn"), "Did you mean jawOpen"),
        (("--set", "jawOpen"), "NAME=VALUE"),
        (("--set", "jawOpn=1"), "Did you mean jawOpen"),
        (("--layer", "shade"), "--layer takes all"),
        (("--set", "jawOpen=5"), "outside of its range, 0 to 1"),
        (("--set", "headTranslationZ=1"), "behind the camera"),
        (("nowhere.jpg",), "There is no photograph"),
        (("nowhere.json",), "There is no file"),
        (("notes.json",), "must hold an object"),
        ((fit, "--rows", "navel"), "no landmark named navel"),
        ((fit, "--layer", "render", "--columns", "99999"), "numbered from 0 to 5306"),
        ((fit, "--config", "best"), "best"),
    ):
        before = sorted(tmp_path.rglob("*"))
        code, stdout, stderr = jacobian(*arguments)
        assert (code, stdout) == (2, ""), arguments
        assert stderr.startswith("chainrig: ") and stderr.count("\n") == 1 and words in stderr
        assert sorted(tmp_path.rglob("*")) == before
