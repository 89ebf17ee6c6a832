"""glTF: the shipped head there and back, small files from elsewhere, and files that are refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from glb_of_tests import POINTS, Glb, square
from pygltflib import GLTF2
from rigs_of_tests import with_correctives
from test_deform import tiny_rig

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import linearised
from pipeline.errors import ChainRigError
from pipeline.rigs.assemble import assembled
from pipeline.rigs.gltf import read_gltf
from pipeline.rigs.gltf_export import export_gltf
from pipeline.rigs.import_rig import import_rig
from pipeline.rigs.texture import albedo_of


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def exported(head: Rig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("glb") / "head.glb"
    file.write_bytes(export_gltf(head, albedo_of(head), {"jawOpen": 0.5}))
    return file


def random_controls(rig: Rig, count: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    space = rig.controls
    share = torch.rand(count, len(space), generator=g, dtype=torch.float64)
    x = space.low + share * (space.high - space.low)
    x[:, -6:] = 0.5 * torch.randn(count, 6, generator=g, dtype=torch.float64)
    return x.float()


def test_the_shipped_head_comes_back_the_same(head: Rig, exported: Path) -> None:
    back, _ = import_rig(exported)
    assert back.controls.controls == head.controls.controls
    x = random_controls(head, 100)
    one, other = Deformer(head), Deformer(back)
    with torch.no_grad():
        for item in x:
            assert torch.equal(one(item), other(item))  # to the last bit: fits amplify what is left
    assert torch.equal(back.triangles, head.triangles)
    assert torch.equal(back.uv[back.uv_triangles], head.uv[head.uv_triangles])
    assert back.part_names == head.part_names
    assert back.landmark_spread is not None and head.landmark_spread is not None
    torch.testing.assert_close(back.landmark_triangle, head.landmark_triangle)
    torch.testing.assert_close(back.landmark_spread, head.landmark_spread)
    assert torch.equal(albedo_of(back), albedo_of(head)) and back.paint is None and not back.source


def test_another_reader_sees_the_names_the_skin_and_the_animation(head: Rig, exported: Path) -> None:
    document = GLTF2().load(str(exported))
    assert document is not None
    mesh = document.meshes[0]
    names = [*head.expression_names, *head.identity_names]
    assert mesh.extras is not None and mesh.primitives is not None
    assert mesh.extras["targetNames"] == names
    assert all(len(primitive.targets or []) == len(names) for primitive in mesh.primitives)
    assert mesh.weights is not None and mesh.weights[names.index("jawOpen")] == 0.5
    joints = document.skins[0].joints
    assert joints is not None
    assert [document.nodes[joint].name for joint in joints] == list(head.joint_names)
    paths = {channel.target.path for channel in document.animations[0].channels}
    assert paths == {"weights", "rotation"}
    scene = trimesh.load_scene(io.BytesIO(exported.read_bytes()), file_type="glb")
    shown = scene.to_mesh()
    low, high = head.rest.amin(0).numpy(), head.rest.amax(0).numpy()
    np.testing.assert_allclose(shown.bounds, [low, high], atol=1e-6)
    assert len(shown.faces) == len(head.triangles)


def test_a_rig_with_correctives_comes_back_the_same(tmp_path: Path) -> None:
    rig = with_correctives(tiny_rig().to(dtype=torch.float32), "dual quaternion")
    file = tmp_path / "tiny.glb"
    file.write_bytes(export_gltf(rig, torch.zeros(4, 4, 3, dtype=torch.uint8)))
    back, _ = assembled(read_gltf(file), file)
    x = random_controls(rig, 20)
    torch.testing.assert_close(Deformer(back)(x), Deformer(rig)(x), atol=1e-6, rtol=0)
    assert back.corrective_names == rig.corrective_names and back.skinning == "dual quaternion"
    back.save(tmp_path / "tiny.npz")
    again = Rig.load(tmp_path / "tiny.npz")
    torch.testing.assert_close(Deformer(again)(x), Deformer(back)(x), atol=0, rtol=0)
    assert again.controls.controls == back.controls.controls


def test_linear_shapes_reach_the_same_end(head: Rig) -> None:
    flat, k = linearised(head), head.controls.index("jawOpen")
    x = head.controls.rest.float()
    x[k] = 1.0
    torch.testing.assert_close(Deformer(flat)(x), Deformer(head)(x), atol=1e-6, rtol=0)
    assert not flat.drivers.any()


def test_a_file_from_elsewhere_is_read_with_its_own_names(tmp_path: Path) -> None:
    raw = read_gltf(square().write(tmp_path / "square.glb"))
    assert [shape.name for shape in raw.shapes] == ["smile_L", "JawOpen"]
    assert len(raw.positions) == 4 and raw.joint_names == ["Head", "Jaw"] and raw.joint_parents == [-1, 0]
    np.testing.assert_allclose(raw.joint_rest, [[0, -0.1, 0], [0, -0.05, 0.02]])
    assert raw.weights is not None
    np.testing.assert_allclose(raw.weights, [[0.25, 0.75]] * 4)
    moved = raw.shapes[0].deltas.any(1)
    np.testing.assert_allclose(raw.positions[moved], [[0.1, 0, 0.1]], atol=1e-7)
    rig, notes = assembled(raw, tmp_path / "square.glb", unit="m")
    assert rig.expression_names == ("smileLeft", "jawOpen")
    assert rig.expression_sources == ("smile_L", "JawOpen")
    assert rig.joint_names == ("head", "jaw") and rig.paint is not None
    assert any("vertex again" in note for note in notes)


def test_what_materials_say_and_is_not_drawn_is_told(tmp_path: Path) -> None:
    glb = square(skinned=False)
    look = {"baseColorFactor": [0.5, 0.4, 0.3, 1.0], "roughnessFactor": 0.3}
    glb.document["materials"] = [{"name": "hair cards", "alphaMode": "BLEND", "pbrMetallicRoughness": look}]
    glb.document["meshes"][0]["primitives"][0]["material"] = 0
    notes = " ".join(import_rig(glb.write(tmp_path / "hair.glb"))[1])
    assert "not drawn, these are solid: face hair cards." in notes
    assert "only the base colour is read; left out: roughness and metal of face hair cards." in notes
    glb.document["materials"] = [{"name": "lashes", "alphaMode": "BLEND", "pbrMetallicRoughness": look}]
    for materials in ([{"name": "lashes", "alphaMode": "BLEND"}], [{"name": "plain"}]):  # lashes are left out
        glb.document["materials"] = materials
        notes = read_gltf(glb.write(tmp_path / "n.glb")).notes
        assert not any("drawn" in note or "read" in note for note in notes)


def test_a_node_places_a_mesh_and_its_shapes(tmp_path: Path) -> None:
    glb = square(skinned=False)
    glb.document["nodes"] = [
        {"name": "up", "rotation": [0.70710678, 0, 0, 0.70710678], "scale": [2, 2, 2], "children": [1]},
        {"mesh": 0, "translation": [0, 0, 1]},
    ]
    raw = read_gltf(glb.write(tmp_path / "placed.glb"))
    expected = np.stack([2 * POINTS[:, 0], -2 * (POINTS[:, 2] + 1), 2 * POINTS[:, 1]], 1)
    np.testing.assert_allclose(raw.positions[raw.triangles].reshape(-1, 3), expected, atol=1e-6)
    np.testing.assert_allclose(raw.shapes[1].deltas, [[0, 0, -0.02]] * 4, atol=1e-6)


def test_vrm_expressions_are_controls(tmp_path: Path) -> None:
    for version in (0, 1):
        glb = square(skinned=False)
        if version == 0:
            binds = [{"mesh": 0, "index": 1, "weight": 50}]
            group = {"name": "Blink", "presetName": "blink_l", "binds": binds}
            glb.document["extensions"] = {"VRM": {"blendShapeMaster": {"blendShapeGroups": [group]}}}
        else:
            binds = [{"node": 0, "index": 1, "weight": 0.5}]
            expressions = {"preset": {"blinkLeft": {"morphTargetBinds": binds}}}
            glb.document["extensions"] = {"VRMC_vrm": {"expressions": expressions}}
        file = glb.write(tmp_path / f"avatar{version}.vrm")
        raw = read_gltf(file)
        assert raw.front == ("-z" if version == 0 else "+z")
        rig, _ = assembled(raw, file, unit="m", up="+y", front="+z")
        assert rig.expression_names == ("eyeBlinkLeft", "smileLeft")
        torch.testing.assert_close(rig.expression_deltas[0], torch.tensor([[0, -0.005, 0.0]] * 4))


def with_uri(uri: str) -> Glb:
    glb = square()
    glb.document["images"], glb.document["textures"] = [{"uri": uri}], [{"source": 0}]
    glb.document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    glb.document["meshes"][0]["primitives"][0]["material"] = 0
    return glb


def changed(change: Any) -> Glb:
    glb = square()
    change(glb, glb.document, glb.document["meshes"][0]["primitives"][0])
    return glb


def of_three_names(glb: Glb, document: Any, primitive: Any) -> None:
    document["meshes"][0]["extras"]["targetNames"].append("one too many")


def index_too_large(glb: Glb, document: Any, primitive: Any) -> None:
    primitive["indices"] = glb.accessor([0, 1, 6], "u2")


def nan_delta(glb: Glb, document: Any, primitive: Any) -> None:
    primitive["targets"][1] = {"POSITION": glb.accessor(np.full((6, 3), np.nan))}


def light_weights(glb: Glb, document: Any, primitive: Any) -> None:
    primitive["attributes"]["WEIGHTS_0"] = glb.accessor([[0.25, 0.5, 0, 0]] * 6)


def draco(glb: Glb, document: Any, primitive: Any) -> None:
    document["extensionsRequired"] = ["KHR_draco_mesh_compression"]


def meshopt(glb: Glb, document: Any, primitive: Any) -> None:
    document["extensionsRequired"] = ["EXT_meshopt_compression"]


def unknown_joint(glb: Glb, document: Any, primitive: Any) -> None:
    primitive["attributes"]["JOINTS_0"] = glb.accessor([[0, 7, 0, 0]] * 6, "u1")


def view_too_long(glb: Glb, document: Any, primitive: Any) -> None:
    document["bufferViews"][0]["byteLength"] = 10**6
    document["accessors"][0]["count"] = 50_000


def sparse_too_far(glb: Glb, document: Any, primitive: Any) -> None:
    primitive["targets"][0] = {"POSITION": glb.sparse(6, [1, 9], [[0, 0, 1.0]] * 2)}


def nodes_in_a_ring(glb: Glb, document: Any, primitive: Any) -> None:
    document["nodes"][2]["children"] = [1]


@pytest.mark.parametrize(
    "change, complaint",
    [
        (of_three_names, "names 3 morph targets of the mesh 'face', which has 2"),
        (index_too_large, "points at vertex 6 of 6"),
        (nan_delta, "morph target JawOpen of 'face' are not 3 finite numbers"),
        (light_weights, "sum to 0.75, not to 1"),
        (draco, "compressed with Draco.*without compression"),
        (meshopt, "compressed with meshopt.*gltf-transform"),
        (unknown_joint, "skinned to joint 7 of 2"),
        (view_too_long, "is damaged: an accessor ends at byte"),
        (sparse_too_far, "sets element 9 of 6"),
        (nodes_in_a_ring, "its nodes are no tree"),
    ],
)
def test_a_file_that_lies_is_refused_in_a_sentence(tmp_path: Path, change: Any, complaint: str) -> None:
    with pytest.raises(ChainRigError, match=complaint) as raised:
        read_gltf(changed(change).write(tmp_path / "odd.glb"))
    assert "odd.glb" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("uri", ["../secret.png", "%2e%2e/secret.png", "/etc/passwd", "http://x.y/z.png"])
def test_a_uri_may_not_leave_the_folder(tmp_path: Path, uri: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"not yours")
    (tmp_path / "inner").mkdir()
    with pytest.raises(ChainRigError, match="outside of its folder"):
        read_gltf(with_uri(uri).write(tmp_path / "inner" / "odd.glb"))


def test_a_truncated_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = square().write(tmp_path / "whole.glb").read_bytes()
    for size in (0, 3, 11, 30, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.glb").write_bytes(whole[:size])
        with pytest.raises(ChainRigError, match="cut.glb is (truncated|no glTF)"):
            read_gltf(tmp_path / "cut.glb")


def test_random_damage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    whole = square().write(tmp_path / "whole.glb").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in random.integers(12, len(whole), 4):
            broken[place] = random.integers(256)
        (tmp_path / "odd.glb").write_bytes(bytes(broken))
        try:
            read_gltf(tmp_path / "odd.glb")
        except ChainRigError as refused:
            assert "odd.glb" in str(refused)
