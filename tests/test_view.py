"""`chainrig view` without a browser: what it opens, what it answers, whom it refuses, how it ends."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from reported_run import run_of
from viewed_fit import quick_fit, served

from pipeline import assets
from pipeline.batch.disk import FACE
from pipeline.commands.view import view
from pipeline.deform.deform import Deformer
from pipeline.errors import ChainRigError
from pipeline.target.labels.read import read_labels
from pipeline.view.hand_labels import saved
from pipeline.view.server import SECRET_HEADER, ViewServer
from pipeline.view.session import Session
from pipeline.view.viewed import Item, find_items

app = typer.Typer()
app.command()(view)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_fit(tmp_path_factory.mktemp("view") / "a fit")


@pytest.fixture(scope="module")
def session(fit: Path) -> Iterator[Session]:
    session = Session(find_items(fit))
    yield session
    session.close()


@pytest.fixture(scope="module")
def opened(session: Session) -> dict[str, Any]:
    return session.answer("open", {"face": 0})


def array(text: str, kind: str = "<f4") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def values(opened: dict[str, Any], **changes: float) -> list[float]:
    """Of all controls, some of them changed."""
    found = {each["name"]: float(each["value"]) for each in opened["rig"]["controls"]}
    return list((found | changes).values())


# What is opened.


def test_a_folder_lists_its_fits_and_why_others_have_none(tmp_path: Path) -> None:
    run = tmp_path / "run"
    entries = run_of(run, ["b/2.jpg", "b/10.jpg", "a.jpg"], {"x.jpg": "Empty."}, {"d.jpg": "No face."})
    failed = run / "c" / "face-0"
    failed.mkdir(parents=True)
    (failed / "fit.json").write_text('{"status": "failed", "error": "Too dark."}')
    items = find_items(run)
    fits = [item for item in items if not item.why]
    assert [item.name for item in fits] == ["a/face-0", "b/10/face-0", "b/2/face-0"]
    assert fits[0].residual == entries[2].faces[0].residual_percent_iod
    others = {item.name: item.why for item in items if item.why}
    assert (others["c/face-0"], others["x.jpg-failed"]) == ("Too dark.", "Empty.")
    between = "No face. Its controls are those between its neighbours, b/2.jpg and b/10.jpg."
    assert others["d/face-0"] == between and len(others) == 3
    session = Session(items)
    told = session.answer("list", {})["items"]
    assert [one["why"] for one in told] == [item.why for item in items]
    with pytest.raises(ChainRigError, match="There is no fit of c/face-0: Too dark."):
        session.answer("open", {"face": [item.name for item in items].index("c/face-0")})
    session.close()
    assert find_items(run / "a" / "face-0")[0].name == "a/face-0"
    with pytest.raises(ChainRigError, match="No face in .* was fitted; c/face-0: Too dark."):
        find_items(failed)
    with pytest.raises(ChainRigError, match="has no fit to show: No face. Its controls"):
        find_items(run / "d" / "face-0" / "fit.json")


@pytest.mark.parametrize("name", ["nothing", "empty", "photo.png", "broken.json", "plain.json", "broken.npz"])
def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "nothing":
        path.write_text('{"jawOpen": 0.5}' if name == "plain.json" else "{")
    with pytest.raises(ChainRigError) as refused:
        app([str(path), "--no-browser"], standalone_mode=False)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ChainRigError, match=f"Port {port} is taken"):
            app(
                [str(assets.path("head_rig.npz")), "--no-browser", "--port", str(port)], standalone_mode=False
            )


def test_ctrl_c_ends_it_without_a_word() -> None:
    program = (
        "import typer; from pipeline.commands.view import view; a = typer.Typer(); a.command()(view); a()"
    )
    command = [sys.executable, "-c", program, str(assets.path("head_rig.npz")), "--no-browser"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def as_in_a_terminal() -> None:  # whoever runs tests in the background has SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(command, env=environment, preexec_fn=as_in_a_terminal, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        try:
            stderr = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert (process.returncode, stderr) == (0, "")


# What is answered.


def test_the_page_gets_the_fit_as_it_is(opened: dict[str, Any], fit: Path) -> None:
    document = json.loads(fit.read_text())
    told = opened["fit"]
    assert told["points"]["residual"] == pytest.approx(document["residual"]["final_percent_iod"], rel=1e-3)
    assert told["points"]["exact"] and told["photo"] and told["labels"] == [None] * 68
    known = document["controls"] | document["identity"]
    by_name = {each["name"]: each["value"] for each in opened["rig"]["controls"]}
    assert {name: by_name[name] for name in known} == pytest.approx(known, abs=1e-8)
    assert told["uncertainty"].keys() == by_name.keys()
    chin = torch.tensor(document["landmarks"]["target"])[152]
    assert torch.tensor(told["suggested"])[8] == pytest.approx(chin, abs=1e-3)


def test_mesh_and_camera_put_the_rigs_points_on_the_photos(session: Session, opened: dict[str, Any]) -> None:
    rig = opened["rig"]
    vertices, focal = array(rig["vertices"]).reshape(-1, 3), rig["camera"]
    pixels = focal[1:] + focal[0] * vertices[:, :2] * [1, -1] / -vertices[:, 2:]
    x, y, side = opened["fit"]["region"]
    inside = (abs(pixels - [x, y]) < side / 2).all(-1)
    assert 0.3 < inside.mean()  # the face fills the detector's region; neck and shoulders are below
    triangles, vertex_of = array(rig["triangles"], "<i4"), array(rig["vertex"], "<i4")
    assert triangles.max() == len(vertex_of) - 1 and vertex_of.max() == len(vertices) - 1
    assert len(array(rig["uv"])) == 2 * len(vertex_of)


def test_a_pose_moves_mesh_and_points_and_the_quick_answer_is_near_the_exact(
    session: Session, opened: dict[str, Any]
) -> None:
    moved = values(opened, jawOpen=0.8)
    quick = session.answer("pose", {"face": 0, "values": moved})
    exact = session.answer("pose", {"face": 0, "values": moved, "exact": True})
    assert quick["vertices"] == exact["vertices"] != opened["rig"]["vertices"]
    assert not quick["points"]["exact"] and exact["points"]["exact"]
    before = np.array(opened["fit"]["points"]["rig"])
    way = [np.array(each["points"]["rig"]) - before for each in (quick, exact)]
    apart = np.linalg.norm(way[0] - way[1], axis=1).mean()
    assert apart < 0.35 * np.linalg.norm(way[1], axis=1).mean()
    assert exact["points"]["residual"] > 1.5 * opened["fit"]["points"]["residual"]


def test_a_column_is_millimetres_a_unit(session: Session, opened: dict[str, Any]) -> None:
    mm = array(session.answer("column", {"face": 0, "values": values(opened), "control": "jawOpen"})["mm"])
    face = session._open[0]
    deform = Deformer(face.scene.rig).double()  # type: ignore[union-attr]
    x, step = face.scene.x, torch.zeros_like(face.scene.x)  # type: ignore[union-attr]
    step[face.scene.rig.controls.index("jawOpen")] = 1e-4  # type: ignore[union-attr]
    difference = (deform(x + step) - deform(x - step)).norm(dim=-1) / 2e-4 * 1000
    assert 20 < mm.max() < 60 and mm == pytest.approx(difference.numpy(), abs=0.02)


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("open", {"face": 7}),
        ("open", {}),
        ("pose", {"face": 0, "values": [1.0]}),
        ("pose", {"face": 0, "values": [float("nan")] * 209}),
        ("column", {"face": 0, "control": "jawOpem"}),
        ("save-labels", {"face": 0, "labels": [None] * 68}),
        ("save-labels", {"face": 0, "labels": [[1, 2]]}),
        ("save-labels", {"face": 0, "labels": [["../x", 2]] + [None] * 67}),
        ("save-labels", {"face": 0, "labels": [[1e9, 2]] + [None] * 67}),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    session: Session, opened: dict[str, Any], question: str, asked: dict[str, Any]
) -> None:
    if question == "column":
        asked = asked | {"values": values(opened)}
    with pytest.raises(ChainRigError):
        session.answer(question, asked)


def test_labels_are_saved_whole_or_in_part_and_read_back(
    session: Session, opened: dict[str, Any], fit: Path
) -> None:
    points, by_hand = opened["fit"]["suggested"], fit.with_name("by-hand")
    told = session.answer("save-labels", {"face": 0, "labels": points})
    assert told["files"] == ["labels.json", "labels.pts"]
    for name in told["files"]:
        read = read_labels(by_hand / name)
        assert read.scheme.name == "ibug68" and read.points.numpy() == pytest.approx(
            np.array(points), abs=1e-6
        )
    some = [None, *points[1:]]
    assert session.answer("save-labels", {"face": 0, "labels": some})["files"] == ["labels.json"]
    assert not (by_hand / "labels.pts").exists() and saved(by_hand)[0] is None


def test_what_is_done_by_hand_outlives_a_batch_that_replaces_the_face(fit: Path, tmp_path: Path) -> None:
    face = tmp_path / "run" / "me" / "face-0"
    shutil.copytree(fit.parent, face)
    session = Session(find_items(face.parents[1]))
    points = session.answer("open", {"face": 0})["fit"]["suggested"]
    session.answer("save-labels", {"face": 0, "labels": points})
    assert FACE.fullmatch("face-0") and not FACE.fullmatch("face-0-by-hand")  # what a batch replaces
    shutil.rmtree(face)
    shutil.copytree(fit.parent, face)
    session.close()
    session = Session(find_items(face.parents[1]))
    assert session.answer("open", {"face": 0})["fit"]["labels"][0] == pytest.approx(points[0])
    session.close()


def test_a_rig_is_shown_without_a_photo_and_cannot_be_solved() -> None:
    session = Session([Item("head", assets.path("head_rig.npz"))])
    told = session.answer("open", {"face": 0})
    assert told["fit"] is None and len(told["rig"]["controls"]) == 209
    moved = session.answer("pose", {"face": 0, "values": values(told, jawOpen=1.0)})
    assert moved["vertices"] != told["rig"]["vertices"] and "points" not in moved
    with pytest.raises(ChainRigError, match="A rig has no photo"):
        session.answer("solve", {"face": 0, "values": values(told)})
    session.close()


def test_a_photo_that_is_gone_is_told_and_the_rig_is_shown(fit: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(fit.parent, folder)
    document = json.loads(fit.read_text())
    document["photo"]["path"] = "elsewhere.png"
    (folder / "fit.json").write_text(json.dumps(document))
    session = Session(find_items(folder))
    told = session.answer("open", {"face": 0})["fit"]
    assert not told["photo"] and "elsewhere.png is not where" in told["without_photo"]
    with pytest.raises(ChainRigError, match=r"elsewhere\.png"):
        session.picture(0)
    session.close()


# Who is answered.


@pytest.fixture(scope="module")
def server() -> Iterator[ViewServer]:
    with served([Item("head", assets.path("head_rig.npz"))]) as server:
        yield server


def status(request: urllib.request.Request | str) -> int:
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_only_who_has_the_address_is_answered(server: ViewServer) -> None:
    bare = f"http://127.0.0.1:{server.server_port}"
    known = {SECRET_HEADER: server.secret}
    assert server.server_address[0] == "127.0.0.1"
    assert status(server.address) == 200
    assert status(f"{bare}/") == status(f"{bare}/?secret=guess") == 403
    question = {"url": f"{bare}/ask/list", "data": b"{}", "method": "POST"}
    assert status(urllib.request.Request(**question, headers=known)) == 200
    assert status(urllib.request.Request(**question)) == 403
    assert status(urllib.request.Request(**question, headers={SECRET_HEADER: "guess"})) == 403
    assert status(f"{bare}/photo/0") == 403


def test_other_sites_are_refused_even_with_the_secret(server: ViewServer) -> None:
    bare = f"http://127.0.0.1:{server.server_port}"
    question = {"url": f"{bare}/ask/list", "data": b"{}", "method": "POST"}
    for name, value in {"Host": "evil.example", "Origin": "http://evil.example"}.items():
        headers = {SECRET_HEADER: server.secret, name: value}
        assert status(urllib.request.Request(**question, headers=headers)) == 403
        assert status(urllib.request.Request(server.address, headers={name: value})) == 403


def test_odd_requests_are_answered_with_an_error(server: ViewServer) -> None:
    bare, known = f"http://127.0.0.1:{server.server_port}", {SECRET_HEADER: server.secret}

    def asked(path: str, data: bytes | None) -> int:
        return status(urllib.request.Request(bare + path, data=data, headers=known))

    assert asked("/ask/close", b"{}") == asked("/../etc/passwd", None) == 404
    assert asked("/ask/list", b"[") == asked("/ask/list", b"[]") == asked("/photo/x", None) == 400
    assert asked("/ask/open", b'{"face": 3}') == asked("/photo/0", None) == 422
    long = HTTPConnection("127.0.0.1", server.server_port)
    long.putrequest("POST", "/ask/list")
    long.putheader("Content-Length", "2000000")
    long.endheaders()
    assert long.getresponse().status == 413
    long.close()
