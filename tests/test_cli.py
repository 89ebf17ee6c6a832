"""The command line as a person meets it. Slow tests, with real fits, come last and share one fit."""

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Fitted, Run
from gltf_player import Player
from PIL import Image

from pipeline import assets
from pipeline.cli import main
from pipeline.errors import ChainRigError
from pipeline.rigs.chainrig_extras import VERTEX

EXAMPLE = assets.path("example.png")


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """A fit that must stop with one sentence, exit code 2 and nothing written; gives the sentence."""

    def refused(photo: object, *options: object) -> str:
        out = tmp_path / "results"
        arguments = [photo, *options] if "--out" in options else [photo, *options, "--out", out]
        code, stdout, stderr = run("fit", *arguments)
        assert (code, stdout) == (2, "")
        assert stderr.startswith("chainrig: ") and stderr.count("\n") == 1 and "Traceback" not in stderr
        assert not out.exists()
        return stderr

    return refused


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    file = tmp_path / "wall.png"
    Image.linear_gradient("L").resize((300, 300)).save(file)
    return file


@pytest.fixture
def couple(tmp_path: Path) -> Path:
    """A picture of two faces, the right one larger."""
    with Image.open(EXAMPLE) as portrait:
        face = portrait.convert("RGB").crop((100, 20, 350, 270))
    picture = Image.new("RGB", (700, 400), "gray")
    picture.paste(face, (0, 60))
    picture.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((400, 400)), (300, 0))
    file = tmp_path / "two people.png"
    picture.save(file)
    return file


def test_missing_photo(refused) -> None:
    assert "no photograph" in refused("nowhere.jpg")


def test_folder_as_photo(refused, tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)


def test_empty_photo(refused, tmp_path: Path) -> None:
    file = tmp_path / "empty.jpg"
    file.touch()
    assert "empty" in refused(file)


def test_text_named_jpg(refused, tmp_path: Path) -> None:
    file = tmp_path / "letter.jpg"
    file.write_text("Dear Sir or Madam")
    assert "not an image" in refused(file)


def test_truncated_photo(refused, tmp_path: Path) -> None:
    file = tmp_path / "half.jpg"
    with Image.open(EXAMPLE) as image:
        image.convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:9000])
    assert "incomplete" in refused(file)


def test_one_pixel(refused, tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(file)
    assert "too small" in refused(file)


def test_over_100_megapixels(refused, tmp_path: Path) -> None:
    file = tmp_path / "wall.png"
    Image.new("1", (20_000, 6_000)).save(file)
    assert "more than 100 megapixels" in refused(file)


def test_no_face(refused, faceless: Path) -> None:
    assert "no face" in refused(faceless)


@pytest.mark.parametrize("override", ["fit.iteratons=3", "fit.iterations=many", "fit"])
def test_wrong_setting(refused, override: str) -> None:
    assert override.partition("=")[0] in refused(EXAMPLE, "--set", override)


def test_unknown_control_names_the_closest(refused) -> None:
    assert "jawOpen" in refused(EXAMPLE, "--set", "controls.jawOpne=1")


@pytest.mark.parametrize("option", ["--derivatives", "--iterations", "--config", "--face", "--nonsense"])
def test_wrong_option(refused, option: str) -> None:
    refused(EXAMPLE, option, "nonsense")


def test_face_that_is_not_there(refused) -> None:
    assert "shows 1" in refused(EXAMPLE, "--face", "1")


@pytest.mark.parametrize("name", ["a file", "a file/below", "/dev/null/x", "/proc/chainrig"])
def test_unwritable_folder(refused, tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("mine")
    assert "written" in refused(EXAMPLE, "--out", tmp_path / name)
    assert (tmp_path / "a file").read_text() == "mine"


def test_no_photo_named(run: Run) -> None:
    code, _, stderr = run("fit")
    assert code == 2 and "photo" in stderr.lower() and stderr.count("\n") == 1


def test_help_comes_at_once() -> None:
    answer = subprocess.run([sys.executable, "-m", "pipeline", "--help"], capture_output=True, text=True)
    assert answer.returncode == 0 and "doctor" in answer.stdout
    imports = "import sys, pipeline.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imports]).returncode == 0, "torch takes seconds to import"


def test_missing_system_library_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("pipeline.config.load_config", broken)
    code, _, stderr = run("fit", EXAMPLE)
    assert code == 2 and "libgl1" in stderr and stderr.count("\n") == 1


def test_an_interruption_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.config.load_config", interrupted)
    assert run("fit", EXAMPLE) == (130, "", "chainrig: Interrupted.\n")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise KeyError("our own mistake")

    monkeypatch.setattr("pipeline.config.load_config", bug)
    monkeypatch.setattr(sys, "argv", ["chainrig", "fit", str(EXAMPLE)])
    with pytest.raises(KeyError):
        main()


def test_doctor_says_what_works_and_why_not(run: Run) -> None:
    _, stdout, _ = run("doctor")
    for word in ("torch", "CPU", "numba", "nvdiffrast", "licence", "pytorch3d", "FaceMesh", "FAN"):
        assert word in stdout


def test_doctor_tries_a_detector(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, stdout, _ = run("doctor", "--detector", assets.path("landmarks68_synthetic.safetensors"))
    told = " ".join(stdout.split())
    assert code == 0 and "68 points" in told and "% of the eye distance" in told
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    code, _, stderr = run("doctor", "--detector", "fan")
    assert code == 2 and "2DFAN4-11f355bf06" in stderr and str(tmp_path) in stderr
    code, _, stderr = run("doctor", "--detector", "fun")
    assert code == 2 and "facemesh, fan, fan-3d" in stderr


def stub_fitter(monkeypatch: pytest.MonkeyPatch, fails: Callable[[float], bool]) -> None:
    """A fitter that refuses the faces whose left edge `fails`, and fits the others with what lies at hand."""
    from pipeline.result import FitResult, Picture

    class Fitter:
        rig, studio = None, types.SimpleNamespace(deform=None)

        def __init__(self, config: object) -> None:
            self.config = config

        def fit(self, photo, face, on_progress, labels=None) -> FitResult:
            if fails(float(face.box[0])):
                raise ChainRigError("The face is hidden.")
            on_progress(1, 2, 0.5)
            points = face.box[:2] + torch.rand(478, 2) * (face.box[2:] - face.box[:2])
            picture = Picture(torch.zeros(8, 8, 4, dtype=torch.uint8), torch.eye(3)[:2])
            return FitResult(
                photo, face, "rig", "detector", "rasterizer", "solver", {"jawOpen": 0.5}, {}, (0, 0, 0),
                (0, 0, 1), (0, 0), (0, 0), 1.0, (0, 0), face.region(), points, points, points[:68], 1.0, 0.5,
                1.0, 1.0, 1, 1, 0.1, "converged", picture,
            )  # fmt: skip

    module = types.ModuleType("pipeline.fit")
    module.__dict__["FaceFitter"] = Fitter
    monkeypatch.setitem(sys.modules, "pipeline.fit", module)
    monkeypatch.setattr("pipeline.outputs.face_glb.face_glb", lambda *_: b"a face")


def fitted(folder: Path) -> dict:
    return json.loads((folder / "fit.json").read_text())


def test_largest_face_is_the_default(run: Run, couple: Path, tmp_path: Path, monkeypatch) -> None:
    stub_fitter(monkeypatch, fails=lambda left: False)
    code, stdout, _ = run("fit", couple, "--out", tmp_path / "out")
    fit = fitted(tmp_path / "out")
    assert code == 0 and fit["face"]["index"] == 1 and fit["face"]["box"][0] > 300
    assert (
        "jawOpen" in stdout and "1.00 → 0.50 %" in stdout and str(tmp_path / "out" / "overlay.png") in stdout
    )


def test_face_by_number(run: Run, couple: Path, tmp_path: Path, monkeypatch) -> None:
    stub_fitter(monkeypatch, fails=lambda left: False)
    code, stdout, stderr = run("fit", couple, "--out", tmp_path / "out", "--face", "0", "--quiet")
    assert (code, stdout, stderr) == (0, "", "")
    assert fitted(tmp_path / "out")["face"]["box"][0] < 250


def test_a_face_that_fails_among_others(run: Run, couple: Path, tmp_path: Path, monkeypatch) -> None:
    stub_fitter(monkeypatch, fails=lambda left: left < 300)
    code, _, stderr = run("fit", couple, "--out", tmp_path / "out", "--face", "all")
    assert code == 0 and "face 0: The face is hidden." in stderr
    failed, good = fitted(tmp_path / "out" / "face-0"), fitted(tmp_path / "out" / "face-1")
    assert (failed["status"], failed["error"]) == ("failed", "The face is hidden.")
    assert good["status"] == "converged" and (good["face"]["index"], failed["face"]["index"]) == (1, 0)


def test_all_faces_fail(run: Run, couple: Path, tmp_path: Path, monkeypatch) -> None:
    stub_fitter(monkeypatch, fails=lambda left: True)
    code, _, stderr = run("fit", couple, "--out", tmp_path / "out", "--face", "all")
    assert code == 2 and "None of the 2 faces" in stderr


def test_single_fit_that_fails_writes_nothing(refused, monkeypatch) -> None:
    stub_fitter(monkeypatch, fails=lambda left: True)
    assert "hidden" in refused(EXAMPLE)


def test_a_fit_prints_what_it_found_and_where_it_is(example_fit: Fitted) -> None:
    fit, stdout = example_fit.document, example_fit.stdout
    start, final = fit["residual"]["start_percent_iod"], fit["residual"]["final_percent_iod"]
    assert f"{start:.2f} → {final:.2f} %" in stdout
    strongest = max(fit["controls"], key=lambda name: fit["controls"][name])
    assert strongest in stdout and f"{fit['controls'][strongest]:.2f}" in stdout
    for name in ("overlay.png", "controls.csv", "fit.json", "config.yaml", "face.glb"):
        assert str(example_fit.folder / name) in stdout
    assert len(list(example_fit.folder.iterdir())) == 5
    assert fit["controls"]["mouthSmileLeft"] > 0.1 and fit["controls"]["mouthSmileRight"] > 0.1  # she smiles


def test_two_faces_give_two_fits(run: Run, couple: Path, tmp_path: Path) -> None:
    options = [
        "--face",
        "all",
        "--config",
        "speed",
        "--no-appearance",
        "--set",
        "controls.tongueOut=0",
        "--quiet",
    ]
    code, stdout, stderr = run("fit", couple, "--out", tmp_path / "out", *options)
    assert (code, stdout, stderr) == (0, "", "")
    boxes = [fitted(tmp_path / "out" / f"face-{index}")["face"]["box"] for index in (0, 1)]
    assert boxes[0][0] < 250 < 300 < boxes[1][0]
    opened = [Player((tmp_path / "out" / f"face-{index}" / "face.glb").read_bytes()) for index in (0, 1)]
    heads = [one.vertices(0, VERTEX).mean(0)[0] for one in opened]
    assert heads[0] < heads[1]  # each stands where its own is in the photo


def test_held_control_stays(run: Run, tmp_path: Path) -> None:
    options = ["--config", "speed", "--set", "controls.jawOpen=0.31", "--quiet"]
    code, _, _ = run("fit", EXAMPLE, "--out", tmp_path / "out", *options)
    assert code == 0
    assert fitted(tmp_path / "out")["controls"]["jawOpen"] == pytest.approx(0.31, abs=1e-6)
