"""Folders of OBJ files: controls, in-betweens, combinations, identity, frames and units; what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.rigs.import_rig import import_rig
from pipeline.rigs.obj_file import read_obj
from pipeline.rigs.obj_folder import read_obj_folder
from pipeline.rigs.triangulate import triangulated


def write_obj(file: Path, points: np.ndarray, faces: np.ndarray | None = None) -> None:
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in points]
    if faces is not None:
        lines += ["usemtl skin", *("f " + " ".join(f"{i + 1}" for i in face) for face in faces)]
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


def sculpted(head: Rig, values: dict[str, float]) -> np.ndarray:
    with torch.no_grad():
        return Deformer(head)(head.controls.pack(values)).double().numpy()


def write_head(
    folder: Path, head: Rig, scale: float, turn: np.ndarray, shapes: dict[str, np.ndarray]
) -> None:
    write_obj(folder / "neutral.obj", scale * head.rest.double().numpy() @ turn.T, head.triangles.numpy())
    for name, points in shapes.items():
        write_obj(folder / f"{name}.obj", scale * points @ turn.T)


def test_unit_and_axes_are_seen_from_what_the_shapes_do(head: Rig, tmp_path: Path) -> None:
    names = ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "browInnerUp"]
    ours = {name.replace("Left", "_L").replace("Right", "_R"): sculpted(head, {name: 1.0}) for name in names}
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up, face toward −y: Blender's
    write_head(tmp_path, head, 100.0, turn, ours)
    rig, notes = import_rig(tmp_path)
    assert set(rig.expression_names) == set(names)
    assert any("unit is taken for cm" in note for note in notes) and any("up is +z" in note for note in notes)
    shift = (rig.rest - head.rest).mean(0)
    assert shift.abs().max() < 0.02  # the origin is guessed from the lids
    torch.testing.assert_close(rig.rest - shift, head.rest, atol=1e-6, rtol=0)
    k, other = rig.expression_names.index("jawOpen"), head.controls.pack({"jawOpen": 1.0})
    torch.testing.assert_close(rig.expression_deltas[k], Deformer(head)(other) - head.rest, atol=2e-6, rtol=0)
    told, _ = import_rig(tmp_path, unit="mm", up="+y", front="+z")
    assert 100 * float(told.rest[:, 0].amax() - told.rest[:, 0].amin()) == pytest.approx(
        10 * float(head.rest[:, 0].amax() - head.rest[:, 0].amin()), rel=1e-4
    )


def simple(folder: Path) -> np.ndarray:
    """Neutral, two controls, one of them halfway, both together, and two modes of identity."""
    rest = np.random.default_rng(0).normal(size=(8, 3)) * [0.08, 0.1, 0.05]
    faces = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    write_obj(folder / "neutral.obj", rest, faces)
    write_obj(folder / "jawOpen.obj", rest + [0, -0.02, 0])
    write_obj(folder / "smile_L.obj", rest + [0.01, 0, 0])
    write_obj(folder / "jawOpen_50.obj", rest + [0, -0.01, 0.005])
    write_obj(folder / "jawOpen_smile_L.obj", rest + [0.01, -0.02, 0.003])
    write_obj(folder / "identity000.obj", rest * 1.1)
    write_obj(folder / "identity001.obj", rest * [1.1, 1, 1])
    return rest


def test_in_betweens_and_combinations_reach_the_sculpted_shapes(tmp_path: Path) -> None:
    rest = simple(tmp_path)
    raw = read_obj_folder(tmp_path)
    assert [shape.name for shape in raw.shapes] == ["jawOpen", "smile_L", "identity000", "identity001"]
    rig, notes = import_rig(tmp_path, unit="m", up="+y", front="+z")
    assert rig.expression_names == ("jawOpen", "smileLeft") and len(rig.identity_names) == 2
    assert any("1 in-betweens and 1 combinations" in note for note in notes)
    deform = Deformer(rig)

    def moved(**values: float) -> torch.Tensor:
        return (deform(rig.controls.pack(values)) - rig.rest).mean(0)

    for values, expected in [
        ({"jawOpen": 1.0}, [0, -0.02, 0]),
        ({"jawOpen": 0.5}, [0, -0.01, 0.005]),
        ({"jawOpen": 0.25}, [0, -0.005, 0.0025]),
        ({"jawOpen": 0.75}, [0, -0.015, 0.0025]),
        ({"jawOpen": 1.0, "smileLeft": 1.0}, [0.01, -0.02, 0.003]),
        ({"jawOpen": 1.0, "smileLeft": 0.5}, [0.005, -0.02, 0.0015]),
    ]:
        torch.testing.assert_close(moved(**values), torch.tensor(expected), atol=1e-6, rtol=0)
    shape = (deform(rig.controls.pack({"identity000": 1.0})) - rig.rest).numpy()
    np.testing.assert_allclose(shape, 0.1 * rest, atol=1e-6)
    assert rig.identity_low.tolist() == [-3.0, -3.0]


def test_ict_facekits_layout(tmp_path: Path) -> None:
    simple(tmp_path)
    (tmp_path / "neutral.obj").rename(tmp_path / "generic_neutral_mesh.obj")
    indices = {"expressions": ["jawOpen", "smile_L"], "idx_to_landmark_verts": [k % 8 for k in range(68)]}
    (tmp_path / "vertex_indices.json").write_text(json.dumps(indices))
    raw = read_obj_folder(tmp_path)
    assert [shape.name for shape in raw.shapes] == ["jawOpen", "smile_L", "identity000", "identity001"]
    assert raw.landmarks68 is not None and raw.landmarks68[9] == 1 and not raw.correctives
    assert any("jawOpen_50" in note for note in raw.notes)
    indices["idx_to_landmark_verts"][0] = 8
    (tmp_path / "vertex_indices.json").write_text(json.dumps(indices))
    with pytest.raises(ChainRigError, match="must be 68 vertices of the 8"):
        read_obj_folder(tmp_path)
    (tmp_path / "smile_L.obj").unlink()
    with pytest.raises(ChainRigError, match="lacks smile_L.obj"):
        read_obj_folder(tmp_path)


def test_polygons_become_triangles_of_the_same_area(tmp_path: Path) -> None:
    arrow = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [1, 0.5, 0], [0, 2, 0]], float)  # not convex
    dart = np.array([[0, 0, 1], [2, 0, 1], [0.5, 0.5, 1], [0, 2, 1]], float)
    points = np.concatenate([arrow, dart])
    polygons = [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
    for swap in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):  # in every plane
        owner, corner = triangulated(polygons, points[:, swap])
        assert owner.tolist() == [0, 0, 0, 1, 1]
        a, b, c = (
            np.array([points[polygons[o][k]] for o, k in zip(owner, corner[:, i], strict=True)])
            for i in range(3)
        )
        areas = np.cross(b - a, c - a)[:, 2] / 2
        assert (areas > 0).all()
        np.testing.assert_allclose([areas[:3].sum(), areas[3:].sum()], [2.5, 1.0])


def test_obj_with_everything_is_read(tmp_path: Path) -> None:
    (tmp_path / "all.obj").write_text(
        "# comment\nmtllib none.mtl\nv 0 0 0 1\nv 1 0 0 1\nv 1 1 0 1\nv 0 1 0 1\nvt 0 0\nvt 1 0\nvt 1 1\n"
        "vt 0 1\nvn 0 0 1\nusemtl a\nf 1/1/1 2/2/1 3/3/1\nusemtl b\nf -4/-4 \\\n -2/-2 -1/-1\n"
    )
    mesh = read_obj(tmp_path / "all.obj")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert [part.name for part in mesh.parts] == ["a", "b"]
    assert mesh.uv_triangles is not None and mesh.uv_triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    "file, text, complaint",
    [
        ("smile_L.obj", "v 0 0 0\n", "has 1 vertices where neutral.obj has 8"),
        ("smile_L.obj", "v nan 0 0\n" * 8, "not finite"),
        ("smile_L.obj", "v one two three\n" * 8, "not three numbers"),
        ("neutral.obj", "v 0 0 0\nf 1 2 3\n", "points at vertex 2 of 1"),
        ("neutral.obj", "v 0 0 0\n", "has no polygons"),
        ("neutral.obj", "v 0 0 0\nf a b c\n", "not as OBJ has it"),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(
    tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    simple(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(ChainRigError, match=complaint) as raised:
        import_rig(tmp_path)
    assert file in str(raised.value)


def test_a_folder_without_a_neutral_says_so(tmp_path: Path) -> None:
    with pytest.raises(ChainRigError, match="no .obj file"):
        import_rig(tmp_path)
    write_obj(tmp_path / "jawOpen.obj", np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(ChainRigError, match="call the mesh at rest neutral.obj"):
        import_rig(tmp_path)
    with pytest.raises(ChainRigError, match="of no format that is read"):
        (tmp_path / "head.fbx").write_bytes(b"")
        import_rig(tmp_path / "head.fbx")
    with pytest.raises(ChainRigError, match="There is no rig"):
        import_rig(tmp_path / "nothing.glb")


def test_a_material_may_not_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    simple(tmp_path / "inner")
    neutral = tmp_path / "inner" / "neutral.obj"
    neutral.write_text("mtllib m.mtl\n" + neutral.read_text())
    (tmp_path / "inner" / "m.mtl").write_text("newmtl skin\nmap_Kd ../../etc/passwd\n")
    with pytest.raises(ChainRigError, match="outside of its folder"):
        import_rig(tmp_path / "inner")
