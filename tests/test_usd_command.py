"""`chainrig usd` as a user types it; files of other tools work, or are refused in one sentence."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
import typer
from glb_of_tests import POINTS, Glb, square
from gltf_player import Player
from typer.testing import CliRunner

from pipeline.commands.usd import usd
from pipeline.errors import ChainRigError

app = typer.Typer()
app.command()(usd)
needs_usd = pytest.mark.skipif(find_spec("pxr") is None, reason="pip install 'chainrig[usd]'")


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def vertices(file: Path, time: float = 0.0) -> np.ndarray:
    from usd_player import UsdPlayer

    opened = UsdPlayer(file)
    assert opened.complaints() == []
    return opened.vertices(time)


@needs_usd
def test_it_writes_beside_the_file_and_says_what(tmp_path: Path) -> None:
    source = square().write(tmp_path / "my face.glb")
    assert run(source) == f"{tmp_path / 'my face.usdc'}: 0.0 MB\n"
    assert run(source, "--out", tmp_path / "new folder" / "é.USDZ", "--quiet") == ""
    for file in (tmp_path / "my face.usdc", tmp_path / "new folder" / "é.USDZ"):
        assert np.abs(vertices(file) - POINTS).max() < 1e-6
    assert sorted(file.name for file in tmp_path.iterdir()) == ["my face.glb", "my face.usdc", "new folder"]


@needs_usd
def test_another_file_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    source, out = square().write(tmp_path / "face.glb"), tmp_path / "face.usda"
    out.write_text("of yesterday")
    run(source, "--out", out)
    first = out.read_bytes()
    run(source, "--out", out)
    assert first.startswith(b"#usda") and out.read_bytes() == first


@needs_usd
def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    source = square().write(tmp_path / "face.glb")
    (tmp_path / "file").write_text("")
    with pytest.raises(ChainRigError, match="cannot be written to .*file.*choose another --out"):
        run(source, "--out", tmp_path / "file" / "face.usdc")


@needs_usd
def test_without_room_for_its_draft_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = square().write(tmp_path / "face.glb")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ChainRigError, match="gone.*set TMPDIR"):
        run(source)


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(ChainRigError, match=r"run pip install 'chainrig\[usd\]'\.$"):
        run(square().write(tmp_path / "face.glb"))
    assert not (tmp_path / "face.usdc").exists()


@pytest.mark.parametrize("name", ["face.fbx", "face", "face.glb"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    source = square().write(tmp_path / "face.glb")
    with pytest.raises(ChainRigError, match=f"--out takes a .usdc, .usda, .usdz or .usd file, not .*{name}"):
        run(source, "--out", tmp_path / name)


def test_what_a_fit_leaves_beside_its_glb_is_told_from_it(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="is a folder: give a .glb file in it, such as .*face.glb"):
        run(tmp_path)
    with pytest.raises(
        ChainRigError, match="made of a .glb file, such as a fit's face.glb, not of .*fit.json"
    ):
        run(tmp_path / "fit.json")


@needs_usd
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.unlink(), "cannot be read .*No such file"),
        (lambda file: file.write_bytes(b"of no use"), "is no glTF file"),
        (lambda file: file.write_bytes(b""), "is no glTF file"),
        (lambda file: file.write_bytes(file.read_bytes()[:600]), "is truncated"),
    ],
)
def test_what_is_no_glb_is_one_sentence(spoil: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    file = square().write(tmp_path / "face.glb")
    spoil(file)
    with pytest.raises(ChainRigError, match=told):
        run(file)
    assert not file.with_suffix(".usdc").exists()


@needs_usd
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_rig_of_another_tool_that_moves(order: list[int], tmp_path: Path) -> None:
    glb = moving(square())
    primitive(glb)["attributes"]["_NUMBER"] = glb.accessor(np.arange(6))
    if order == [1, 0]:  # the child first
        inverse = np.tile(np.eye(4), (2, 1, 1))
        inverse[0, :3, 3], inverse[1, :3, 3] = [0, 0.05, -0.02], [0, 0.1, 0]
        matrices = glb.accessor(inverse.swapaxes(1, 2).reshape(2, 16))
        glb.document["skins"] = [{"joints": [2, 1], "inverseBindMatrices": matrices}]
    file = glb.write(tmp_path / "face.glb")
    run(file)
    player = Player(file.read_bytes())
    for key in range(3):
        shown = vertices(file.with_suffix(".usdc"), 12 + 24 * key)  # from half a second on, at 24 a second
        assert np.abs(shown - player.vertices(key, "_NUMBER")).max() < 1e-6


@needs_usd
def test_a_camera_below_a_skinned_mesh_is_where_it_is(tmp_path: Path) -> None:
    from usd_player import UsdPlayer

    glb = with_node({"name": "seen", "camera": 0, "translation": [0.0, 0.0, 1.0]}, parent=0)
    glb.document["nodes"][0]["translation"] = [0.0, 5.0, 0.0]  # which the mesh does not heed
    run(glb.write(tmp_path / "face.glb"))
    opened = UsdPlayer(tmp_path / "face.usdc")
    assert opened.world(np.zeros((1, 3)), opened.only("Camera"), 0).tolist() == [[0, 5, 1]]
    assert opened.vertices(0)[:, 1].max() < 0.2


@needs_usd
def test_a_look_without_a_picture_is_its_colour(tmp_path: Path) -> None:
    from usd_player import UsdPlayer

    glb = square()
    glb.document["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.25, 0.125, 1.0]}}]
    primitive(glb)["material"] = 0
    run(glb.write(tmp_path / "face.glb"))
    opened = UsdPlayer(tmp_path / "face.usdc")
    assert list(opened.shader("surface").GetInput("diffuseColor").Get()) == [0.5, 0.25, 0.125]


@needs_usd
def test_skin_weights_sum_to_one_again(tmp_path: Path) -> None:
    from usd_player import UsdPlayer

    attribute("WEIGHTS_0", [[0.5, 1.5, 0, 0]] * 6).write(tmp_path / "face.glb")
    run(tmp_path / "face.glb")
    opened = UsdPlayer(tmp_path / "face.usdc")
    assert list(opened.mesh.GetPrim().GetAttribute("primvars:skel:jointWeights").Get()) == [0.25, 0.75] * 6


@needs_usd
def test_numbers_of_vertices_are_not_believed_where_they_lie_apart(tmp_path: Path) -> None:
    attribute("_VERTEX", np.zeros(6)).write(tmp_path / "face.glb")
    run(tmp_path / "face.glb")
    assert len(vertices(tmp_path / "face.usdc")) == 6


@needs_usd
@pytest.mark.parametrize("morphs", [True, False])
@pytest.mark.parametrize("said", ["parts", "matrix"])
def test_a_mesh_without_a_skin_stands_where_its_node_does(morphs: bool, said: str, tmp_path: Path) -> None:
    glb = square(skinned=False)
    (node,), (mesh,) = glb.document["nodes"], glb.document["meshes"]
    turn = torch.tensor([0.1, 0.2, 0.3, 0.9273618]).double()
    turn /= turn.norm()
    scale = np.diag([2.0, 3.0, 0.5])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = roma.unitquat_to_rotmat(turn).numpy() @ scale, [1.0, 2.0, 3.0]
    if said == "matrix":
        node["matrix"] = matrix.T.flatten().tolist()
    else:
        node |= {"rotation": turn.tolist(), "scale": [2.0, 3.0, 0.5], "translation": [1.0, 2.0, 3.0]}
    points = POINTS.astype(float)
    if morphs:
        mesh["weights"] = [0.0, 0.5]
        points = points + [0, -0.005, 0]
    else:
        del mesh["primitives"][0]["targets"], mesh["extras"]
    run(glb.write(tmp_path / "face.glb"))
    wanted = points @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(vertices(tmp_path / "face.usdc") - wanted).max() < 1e-5


def moving(glb: Glb, interpolation: str = "LINEAR", times: Any = (0.5, 1.5, 2.5)) -> Glb:
    """With keys of the jaw's turn and of the morph targets."""
    turns = roma.rotvec_to_unitquat(torch.tensor([[0.1, 0, 0], [0.5, 0.2, 0], [-0.3, 0, 0]])).numpy()
    one, other = glb.accessor([0.5, 1.5, 2.5]), glb.accessor(times)
    samplers = [
        {"input": one, "output": glb.accessor(turns)},
        {"input": other, "output": glb.accessor([0, 1, 0.5, 0.2, 1, 0]), "interpolation": interpolation},
    ]
    channels = [
        {"sampler": 0, "target": {"node": 2, "path": "rotation"}},
        {"sampler": 1, "target": {"node": 0, "path": "weights"}},
    ]
    glb.document["animations"] = [{"samplers": samplers, "channels": channels}]
    return glb


def changed(change: Callable[[Glb], object]) -> Glb:
    glb = moving(square())
    change(glb)
    return glb


def primitive(glb: Glb) -> dict[str, Any]:
    return glb.document["meshes"][0]["primitives"][0]


def attribute(name: str, values: Any, kind: str = "f4") -> Glb:
    return changed(lambda glb: primitive(glb)["attributes"].update({name: glb.accessor(values, kind)}))


def with_node(node: dict[str, Any], parent: int | None = None) -> Glb:
    """With a fourth node, at the top or below another."""

    def change(glb: Glb) -> None:
        nodes, (scene,) = glb.document["nodes"], glb.document["scenes"]
        glb.document["cameras"] = [
            {"type": "perspective", "perspective": {"yfov": 1, "znear": 1}},
            {"type": "orthographic", "orthographic": {"xmag": 1, "ymag": 1, "zfar": 9, "znear": 1}},
        ]
        nodes.append(node)
        if parent is None:
            scene["nodes"].append(3)
        else:
            nodes[parent]["children"] = [3]

    return changed(change)


def painted(picture: bytes) -> Glb:
    def change(glb: Glb) -> None:
        image = {"bufferView": glb.view(picture), "mimeType": "image/webp"}
        glb.document |= {"images": [image], "textures": [{"source": 0}]}
        glb.document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]

    return changed(change)


@needs_usd
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: with_node({"mesh": 0}), "shows 2 meshes.*'chainrig rig import' and 'chainrig rig export'"),
        (lambda: changed(lambda glb: glb.document["nodes"][0].pop("mesh")), "shows no meshes.*rig import"),
        (lambda: changed(lambda glb: primitive(glb).update(mode=1)), "has lines.*rig import"),
        (lambda: changed(split), "has joints in several places.*rig import"),
        (lambda: changed(lambda glb: glb.document["animations"].extend(glb.document["animations"])),
         "has 2 animations.*baked"),
        (lambda: moving(square(), "STEP"), "has keys that are not joined by straight lines.*baked"),
        (lambda: moving(square(), times=(0.5, 1.4, 2.5)), "has keys of its nodes at different times.*baked"),
        (lambda: with_node({"camera": 0}, parent=2), "has a camera on a joint.*without that camera"),
        (lambda: with_node({"camera": 1}), "has a camera without perspective.*without that camera"),
        (lambda: painted(b"RIFF1234WEBP"), "has a texture of another kind.*as JPEG or PNG"),
    ],
)  # fmt: skip
def test_what_chainrig_does_not_write_is_refused_with_a_way_out(
    make: Callable[[], Glb], told: str, tmp_path: Path
) -> None:
    file = make().write(tmp_path / "face.glb")
    with pytest.raises(ChainRigError, match=told):
        run(file)
    assert not file.with_suffix(".usdc").exists()


def split(glb: Glb) -> None:
    """The jaw below a node that is no joint, beside the head."""
    glb.document["nodes"][1].pop("children")
    glb.document["nodes"].append({"children": [2]})
    glb.document["scenes"][0]["nodes"].append(3)


@needs_usd
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: changed(lambda glb: primitive(glb).update(indices=glb.accessor([0, 1, 9], "u2"))),
         "a triangle points at vertex 9 of 6"),
        (lambda: attribute("POSITION", POINTS + np.float32(np.inf)), "POSITION is not 3 finite numbers"),
        (lambda: attribute("NORMAL", POINTS[:4]), "NORMAL is not 3 finite numbers for each"),
        (lambda: attribute("JOINTS_0", [[0, 7, 0, 0]] * 6, "u1"), "index 7 is out of bounds"),
        (lambda: attribute("WEIGHTS_0", [[0.0, 0, 0, 0]] * 6), "a vertex has no skin weights"),
        (lambda: changed(lambda glb: glb.document["meshes"][0]["extras"].update(targetNames=["a", "a"])),
         "2 morph targets have 1 names"),
        (lambda: changed(lambda glb: glb.document["nodes"][1].pop("children")),
         "joints twice, or that its scene does not show"),
        (lambda: changed(backwards), "times of its animation do not rise"),
        (lambda: changed(lambda glb: glb.document["animations"][0]["channels"][1].update(sampler=0)),
         "values of an animation"),
    ],
)  # fmt: skip
def test_damaged_files_are_one_sentence(make: Callable[[], Glb], told: str, tmp_path: Path) -> None:
    file = make().write(tmp_path / "face.glb")
    with pytest.raises(ChainRigError, match=f"is damaged.*{told}.*export it again"):
        run(file)


def backwards(glb: Glb) -> None:
    times = glb.accessor([2.5, 1.5, 0.5])
    for sampler in glb.document["animations"][0]["samplers"]:
        sampler["input"] = times
