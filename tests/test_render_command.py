"""`chainrig render` as a person meets it."""

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from pipeline.cli import main
from pipeline.deform.rig import Rig
from pipeline.outputs.overlay import PAPER
from pipeline.outputs.sheet import sheet
from pipeline.pictures import Studio, skin_colour

Render = Callable[..., tuple[int, str, str]]
SMALL = ("--size", "48", "--samples", "1")


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Render:
    """Runs `chainrig render ARGUMENTS` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def render(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chainrig", "render", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        stdout, stderr = capfd.readouterr()
        return int(stopped.value.code or 0), stdout, stderr

    return render


@pytest.fixture
def refused(render: Render, tmp_path: Path) -> Callable[..., str]:
    """A command that must stop with one sentence, exit code 2 and nothing written; gives the sentence."""

    def refused(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, stdout, stderr = render(*SMALL, *arguments)
        assert (code, stdout) == (2, "")
        assert stderr.startswith("chainrig: ") and stderr.count("\n") == 1 and "Traceback" not in stderr
        assert sorted(tmp_path.rglob("*")) == before
        return stderr

    return refused


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    """What a fit of a wide photo says of a head in its right half, one metre and a half away."""
    file = tmp_path / "fit.json"
    document = {
        "schema": "chainrig.fit/1",
        "photo": {"path": "photo.jpg", "width": 400, "height": 200},
        "controls": {"jawOpen": 0.8},
        "identity": {"head-fat-incr": 0.5},
        "pose": {"rotation_vector_rad": [0, 0.3, 0], "translation_m": [0.4, 0, -1.5]},
        "camera": {"focal_px": 350.0, "principal_point_px": [200.0, 100.0]},
        "status": "converged",
    }
    file.write_text(json.dumps(document))
    return file


def read(path: Path | str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def skin(picture: np.ndarray) -> np.ndarray:
    """Pixels that are neither the gray background nor a shade of it."""
    return abs(picture[..., 0] - picture[..., 2]) > 25


def test_the_rest_pose_shows_the_whole_head(render: Render) -> None:
    code, stdout, stderr = render("--size", 96)
    assert (code, stdout, stderr) == (0, "out/render/picture.png\n", "")
    picture = read("out/render/picture.png")
    assert picture.shape == (96, 96, 3)
    head = (abs(picture - picture[0, 0]).sum(-1) > 30)[: 96 * 3 // 4]  # above the shoulders
    rows, columns = head.any(1).nonzero()[0], head.any(0).nonzero()[0]
    assert 4 < rows[0] < 20 and 4 < columns[0] and columns[-1] < 92
    assert abs((columns[0] + columns[-1]) / 2 - 47.5) < 2


def test_set_changes_what_it_names(render: Render) -> None:
    render(*SMALL, "--out", "rest.png")
    render(*SMALL, "--out", "open.png", "--set", "jawOpen=1", "--set", "headTranslationZ=-1")
    changed = abs(read("rest.png") - read("open.png")).sum(-1) > 40
    assert changed.sum() > 20 and not changed[:20].any()  # the mouth, not the brow


def test_a_plain_file_and_set_agree_and_set_wins(render: Render, tmp_path: Path) -> None:
    (tmp_path / "controls.json").write_text('{"jawOpen": 0.2, "eyeBlinkLeft": 1}')
    render(*SMALL, "--controls", "controls.json", "--set", "jawOpen=1", "--out", "a.png")
    render(*SMALL, "--set", "eyeBlinkLeft=1", "--set", "jawOpen=1", "--out", "b.png")
    assert (read("a.png") == read("b.png")).all()


def test_a_fit_is_drawn_where_the_photo_shows_it(render: Render, fit: Path) -> None:
    assert (
        render("--controls", fit, "--frame", "photo", "--transparent", "--size", 400, "--out", "x.png")[0]
        == 0
    )
    picture = read("x.png")
    assert picture.shape == (200, 400, 4)
    covered = picture[..., 3] > 128
    eyes = 200 + 350 * 0.4 / 1.5, 100  # where the origin of the rig, between the eyes, is projected to
    rows, columns = covered[:105].any(1).nonzero()[0], covered[:105].any(0).nonzero()[0]
    assert columns[0] < eyes[0] < columns[-1] and eyes[1] - 30 < rows[0] < eyes[1] - 20
    assert 35 < len(columns) < 50  # 0.17 to 0.2 m
    assert picture[0, 0, 3] == 0


def test_a_fit_keeps_identity_pose_and_expression(render: Render, fit: Path) -> None:
    render(*SMALL, "--controls", fit, "--out", "fit.png")
    document = json.loads(fit.read_text())
    for part, change in (
        ("identity", {"head-fat-incr": -0.5}),
        ("controls", {"jawOpen": 0.0}),
        ("pose", document["pose"] | {"rotation_vector_rad": [0, -0.3, 0]}),
    ):
        fit.write_text(json.dumps(document | {part: change}))
        render(*SMALL, "--controls", fit, "--out", "other.png")
        assert abs(read("fit.png") - read("other.png")).max() > 20, part


def test_a_fit_keeps_light_and_colours(render: Render, fit: Path) -> None:
    look = {"directional": [0, 0, 0], "direction": [0, 0, 1], "harmonics": [[0, 0, 0]] * 9}
    look |= {"ambient": [0.5, 1, 1], "colours": {"skin": [0.2, 0.2, 0.9]}}
    document = json.loads(fit.read_text())
    fit.write_text(json.dumps(document | {"appearance": look}))
    assert render(*SMALL, "--controls", fit, "--out", "blue.png")[0] == 0
    forehead = read("blue.png")[16:18, 22:28].mean((0, 1))
    assert forehead[0] < forehead[1] < forehead[2]  # red light is dim, blue skin is bright
    fit.write_text(json.dumps(document | {"appearance": look | {"ambient": [1, 1]}}))
    code, _, stderr = render(*SMALL, "--controls", fit)
    assert code == 2 and "fit.json" in stderr and stderr.count("\n") == 1


def test_turntable_shows_all_sides(render: Render, tmp_path: Path) -> None:
    code, stdout, _ = render(*SMALL, "--turntable", 4, "--set", "headTranslationZ=-50")
    assert code == 0 and stdout.split() == ["out/render/turntable", "out/render/turntable.gif"]
    with Image.open("out/render/turntable.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 4 and animation.size == (48, 48)
    front, left, back, right = (read(f"out/render/turntable/{i:03}.png") for i in range(4))
    assert skin(front)[:36].sum() > 1.5 * skin(back)[:36].sum()  # a face before, hair behind
    assert abs(left - right[:, ::-1]).mean() < 3  # from far away, the profiles mirror each other
    assert skin(left)[10:30, 24:].sum() > skin(left)[10:30, :24].sum()  # its left is to our right
    render(*SMALL, "--turntable", 2)
    assert sorted(path.name for path in (tmp_path / "out/render/turntable").iterdir()) == [
        "000.png",
        "001.png",
    ]


@pytest.fixture(scope="module")
def cells() -> dict[str, Image.Image]:
    return dict(Studio({}, cell=64, samples=1).each_control("expression"))


def test_the_sheet_has_a_cell_for_every_control(cells: dict[str, Image.Image]) -> None:
    assert list(cells) == ["as it is", *Rig.load().expression_names]
    assert {cell.size for cell in cells.values()} == {(64, 64)}


def test_cells_show_their_controls(cells: dict[str, Image.Image]) -> None:
    rest, *others = cells.values()
    assert all(ImageChops.difference(rest, cell).getbbox() for cell in others)
    boxes = {name: changed(rest, cells[name]) for name in ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")}
    assert boxes["eyeBlinkRight"][2] <= 32 <= boxes["eyeBlinkLeft"][0]  # the subject's left is to our right
    assert boxes["jawOpen"][1] > boxes["eyeBlinkLeft"][3]


def test_a_sheet_of_identity_names_the_end_of_each_range() -> None:
    studio = Studio({"jawOpen": 0.5}, cell=32, samples=1)
    first = [title for title, _ in itertools.islice(studio.each_control("identity"), 4)]
    assert first == ["as it is", *(studio.rig.identity_names[i] for i in range(3))]


def changed(one: Image.Image, other: Image.Image) -> tuple[int, int, int, int]:
    """Where two pictures differ: left, top, right, bottom."""
    box = ImageChops.difference(one, other).convert("L").point([0] * 24 + [255] * 232).getbbox()
    assert box is not None
    return box


def test_a_sheet_has_a_place_for_every_picture() -> None:
    cells = [(f"number {index}", Image.new("RGB", (40, 30), (200, 10 * index, 0))) for index in range(7)]
    page = np.asarray(sheet(cells, columns=3)).astype(int)
    for index in range(7):
        assert (page == (200, 10 * index, 0)).all(-1).sum() == 40 * 30
    assert (page[-20, -20] == PAPER).all()  # two places are empty


def test_sheet_as_a_file(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Studio, "each_control", lambda studio, group: [(group, studio.picture())] * 53)
    options = ("--size", 16, "--samples", 1, "--sheet", "expression")
    code, stdout, _ = render(*options, "--out", "all controls.png")
    assert (code, stdout) == (0, "all controls.png\n")
    with Image.open("all controls.png") as page:
        assert page.width > 6 * 16 and page.height > 6 * 16


def test_passes_are_files_and_a_sheet(render: Render, tmp_path: Path) -> None:
    code, stdout, _ = render(*SMALL, "--passes", "--out", "my folder")
    assert code == 0 and stdout.split("\n")[:2] == ["my folder/passes", "my folder/passes.png"]
    names = {path.stem for path in (tmp_path / "my folder" / "passes").iterdir()}
    assert names == {
        "picture", "triangles", "barycentrics", "normals", "albedo", "diffuse", "specular", "depth",
        "outlines",
    }  # fmt: skip
    render(*SMALL, "--out", "same.png")
    assert (read("same.png") == read("my folder/passes/picture.png")).all()


def test_skin_has_the_colour_that_was_asked_for(render: Render) -> None:
    brightness = []
    for tone in ("dark", "medium", "light"):
        render(*SMALL, "--skin", tone, "--out", "x.png")
        brightness.append(read("x.png")[18:30, 18:30].mean())
    assert sorted(brightness) == brightness and brightness[-1] > 2 * brightness[0]
    assert skin_colour("255, 0,0") == (1.0, 0.0, 0.0)


def test_beyond_the_range_is_drawn_and_told(render: Render) -> None:
    code, _, stderr = render(*SMALL, "--set", "jawOpen=1.5")
    assert code == 0 and stderr == "chainrig: jawOpen = 1.5 is drawn, but its range is 0 to 1.\n"


def test_unknown_control_names_the_closest(refused) -> None:
    assert "jawOpen" in refused("--set", "jawOpne=1")


@pytest.mark.parametrize("text", ["jawOpen", "jawOpen=", "jawOpen=wide", "=1"])
def test_set_takes_a_name_and_a_number(refused, text: str) -> None:
    refused("--set", text)


@pytest.mark.parametrize("value", ["nan", "inf", "1e60"])
def test_impossible_numbers(refused, value: str) -> None:
    assert "jawOpen" in refused("--set", f"jawOpen={value}")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{", "JSON"), (b"", "JSON"), (b"\xff\xfe\x00", "JSON"), (b"[" * 100_000, "JSON"),
        (b"[1, 2]", "object"), (b'{"jawOpen": "wide"}', "jawOpen"), (b'{"jawOpen": NaN}', "jawOpen"),
        (b'{"jawOpen": true}', "jawOpen"), (b'{"jawOpne": 1}', "jawOpen"),
        (b'{"jawOpen": 1' + b"0" * 400 + b"}", "jawOpen"),
        (b'{"schema": "chainrig.fit/9"}', "chainrig.fit/1"), (b'{"schema": "chainrig.fit/1"}', "whole"),
        (b'{"schema": "chainrig.fit/1", "status": "failed", "error": "No face."}', "No face."),
    ],
)  # fmt: skip
def test_damaged_controls(refused, tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "controls.json").write_bytes(content)
    assert word in refused("--controls", "controls.json")


@pytest.mark.parametrize("change", [{"camera": {}}, {"photo": {"width": 0, "height": 9}}, {"pose": 7}])
def test_damaged_fit(refused, fit: Path, change: dict) -> None:
    fit.write_text(json.dumps(json.loads(fit.read_text()) | change))
    assert "fit.json" in refused("--controls", fit)


def test_missing_controls(refused, tmp_path: Path) -> None:
    assert "no file" in refused("--controls", "nowhere.json")
    assert "cannot be read" in refused("--controls", tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ("--size", 0), ("--size", 100_000), ("--size", "large"), ("--turntable", 0), ("--sheet", "pose"),
        ("--frame", "photo"), ("--frame", "sideways"), ("--skin", "green"), ("--skin", "1,2"),
        ("--skin", "0,0,256"), ("--samples", 0), ("--rasterizer", "abacus"), ("--out", "picture.jpg"),
        ("--passes", "--out", "picture.png"), ("--sheet", "expression", "--size", 2048),
        ("--turntable", 360, "--size", 2048), ("--set", "headTranslationZ=0"), ("--nonsense",),
    ],
)  # fmt: skip
def test_wrong_option(refused, options: tuple[object, ...]) -> None:
    refused(*options)


@pytest.mark.parametrize("name", ["a file/below", "/dev/null/x", "/proc/chainrig", "/proc/x.png"])
def test_unwritable_folder(refused, tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("mine")
    assert "written" in refused("--out", name)
