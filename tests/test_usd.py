"""chainrig usd: what USD's own library shows of a .glb that was turned into USD."""

import dataclasses
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import roma
import torch
from gltf_player import Player
from test_deform import tiny_rig
from test_face_glb import AS_FITTED, POSE, Swollen, jointless, of_fit
from test_sequence_glb import FPS, FRAMES, documents

from pipeline.deform.rig import Rig
from pipeline.outputs.face_glb import face_glb
from pipeline.outputs.usd.files import write_usd
from pipeline.rigs.chainrig_extras import VERTEX
from pipeline.rigs.gltf_export import export_gltf
from pipeline.rigs.texture import albedo_of
from pipeline.sequence.animation import export_motion, performance_of

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.skipif(find_spec("pxr") is None, reason="pip install 'chainrig[usd]'")
SAME = 1e-5  # metres


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


class Both:
    """A file as glTF and as USD."""

    def __init__(self, data: bytes, folder: Path, suffix: str = ".usdc") -> None:
        from usd_player import UsdPlayer

        source = folder / "from.glb"
        source.write_bytes(data)
        self.glb = Player(data)
        self.files = write_usd(source, folder / f"face{suffix}")
        self.usd: UsdPlayer = UsdPlayer(self.files[-1])


@pytest.fixture(scope="module")
def face(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(face_glb(of_fit(rig), rig), tmp_path_factory.mktemp("face"))


@pytest.fixture(scope="module")
def sequence(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Both:
    identity = {rig.identity_names[0]: 0.6, rig.identity_names[5]: -0.4}
    data = export_motion(rig, performance_of(rig, documents(FRAMES), FPS), identity)
    return Both(data, tmp_path_factory.mktemp("sequence"))


def test_a_sequence_has_a_key_a_frame_and_the_values_by_the_controls_names(sequence: Both, rig: Rig) -> None:
    usd = sequence.usd
    assert usd.stage.GetTimeCodesPerSecond() == usd.stage.GetFramesPerSecond() == FPS
    assert (usd.stage.GetStartTimeCode(), usd.stage.GetEndTimeCode()) == (0, FRAMES - 1)
    assert usd.animation is not None
    for attribute in (usd.animation.GetBlendShapeWeightsAttr(), usd.animation.GetRotationsAttr()):
        assert attribute.GetTimeSamples() == list(range(FRAMES))
    for k, document in documents(FRAMES):
        said = {name: document["controls"].get(name, 0.0) for name in rig.expression_names}
        assert usd.weights(k) == pytest.approx(said, abs=1e-6)
    names = usd.mesh.GetPrim().GetAttribute("skel:blendShapes").Get()
    assert list(names) == list(rig.expression_names)


def test_the_head_goes_where_the_fit_says(sequence: Both) -> None:
    from pxr import UsdGeom  # pyright: ignore[reportMissingImports]

    head = UsdGeom.Xformable(sequence.usd.stage.GetPrimAtPath("/face/head_pose"))  # pyright: ignore
    for k, document in documents(FRAMES):
        matrix = torch.tensor(np.array(head.GetLocalTransformation(k)))
        turn = roma.rotmat_to_rotvec(matrix[:3, :3].T).tolist()
        assert turn == pytest.approx(document["pose"]["rotation_vector_rad"], abs=1e-5)
        assert matrix[3, :3].tolist() == pytest.approx(document["pose"]["translation_m"], abs=1e-6)


def test_played_it_is_the_same_mesh_as_the_glb(sequence: Both) -> None:
    for k in (0, 7, 41, FRAMES - 1):
        assert np.abs(sequence.usd.vertices(k) - sequence.glb.vertices(k, VERTEX)).max() < SAME
    assert np.abs(sequence.usd.vertices(0) - sequence.usd.vertices(59)).max() > 0.01


def test_between_keys_it_goes_the_way_that_glb_goes(sequence: Both) -> None:
    usd, tracks = sequence.usd, sequence.glb.tracks
    assert usd.animation is not None
    jaw = [str(joint).rpartition("/")[2] for joint in usd.animation.GetJointsAttr().Get()].index("jaw")
    turn = usd.animation.GetRotationsAttr().Get(40.25)[jaw]
    rows = torch.tensor(tracks["jaw", "rotation"][40:42])
    wanted = roma.unitquat_slerp(rows[0], rows[1], torch.tensor([0.25]))[0]
    assert [*turn.GetImaginary(), turn.GetReal()] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert usd.weights(40.25)["jawOpen"] == pytest.approx(40.25 / FRAMES, abs=1e-6)


def test_before_it_plays_it_shows_the_first_frame(sequence: Both) -> None:
    assert np.abs(sequence.usd.vertices() - sequence.glb.vertices(0, VERTEX)).max() < SAME


def test_a_face_looks_as_in_the_glb_whether_tools_ask_for_a_time_or_not(face: Both, rig: Rig) -> None:
    shown = face.glb.vertices(0, VERTEX)
    assert np.abs(face.usd.vertices() - shown).max() < SAME
    assert np.abs(face.usd.vertices(0) - shown).max() < SAME
    assert face.usd.weights() == pytest.approx(of_fit(rig).controls, abs=1e-6)
    assert not face.usd.stage.HasAuthoredTimeCodeRange()


def shifts(glb: Player) -> np.ndarray:
    """(J, 3) of joints from their parents, as nodes of the file that no control has moved."""
    (skin,) = glb.document["skins"]
    nodes = [glb.document["nodes"][joint] for joint in skin["joints"]]
    order = sorted(range(len(nodes)), key=lambda k: (nodes[k]["name"] == "eye_right", k))
    return np.array([nodes[k]["translation"] for k in order])


def test_without_its_animation_the_skeleton_is_a_neutral_face(face: Both) -> None:
    skeleton = face.usd.skeleton
    assert skeleton is not None
    rest = np.array(skeleton.GetRestTransformsAttr().Get())
    assert np.abs(rest[:, :3, :3] - np.eye(3)).max() < 1e-6
    assert rest[:, 3, :3] == pytest.approx(shifts(face.glb), abs=1e-6)
    names = [str(joint) for joint in skeleton.GetJointsAttr().Get()]
    assert names[:4] == ["root", "root/neck", "root/neck/head", "root/neck/head/jaw"]
    assert list(skeleton.GetJointNamesAttr().Get()) == [name.rpartition("/")[2] for name in names]


def test_tools_that_know_no_skeletons_get_the_same_mesh_baked(face: Both, sequence: Both) -> None:
    (baked,) = face.usd.baked()
    assert np.abs(baked - face.glb.vertices(0, VERTEX)).max() < SAME
    baked = sequence.usd.baked()
    assert len(baked) == FRAMES
    assert np.abs(baked[33] - sequence.glb.vertices(33, VERTEX)).max() < SAME


def test_the_stage_is_in_metres_y_up_and_has_one_root(face: Both) -> None:
    from pxr import UsdGeom  # pyright: ignore[reportMissingImports]

    stage = face.usd.stage
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1 and UsdGeom.GetStageUpAxis(stage) == "Y"  # pyright: ignore
    assert [prim.GetPath() for prim in stage.GetPseudoRoot().GetChildren()] == ["/face"]
    assert stage.GetDefaultPrim().GetPath() == "/face"


def test_the_camera_sees_as_the_photos_did(face: Both) -> None:
    camera = face.usd.only("Camera")
    width, height, focal = (
        camera.GetAttribute(name).Get() for name in ("horizontalAperture", "verticalAperture", "focalLength")
    )
    assert 2 * math.atan(height / 2 / focal) == pytest.approx(2 * math.atan(240 / 900))
    assert width / height == pytest.approx(640 / 480)
    assert width / 10 == pytest.approx(0.036)  # a tenth of the stage's metres: 36 mm
    assert camera.GetAttribute("clippingRange").Get()[0] == pytest.approx(0.01)


def test_vertices_are_whole_and_seams_are_in_the_texture_coordinates(face: Both, rig: Rig) -> None:
    from pxr import UsdGeom  # pyright: ignore[reportMissingImports]

    mesh = face.usd.mesh
    assert len(mesh.GetPointsAttr().Get()) == len(rig.rest)
    assert len(mesh.GetFaceVertexCountsAttr().Get()) == len(rig.triangles)
    normals = np.array(mesh.GetNormalsAttr().Get())
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(len(rig.rest)), abs=1e-5)
    order = rig.part_of_triangle.argsort(stable=True)
    corners = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    assert (corners == rig.triangles[order].numpy()).all()
    uv = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st")  # pyright: ignore
    assert uv.GetInterpolation() == "faceVarying"
    wanted = rig.uv[rig.uv_triangles[order].flatten()].numpy()
    assert np.abs(np.array(uv.ComputeFlattened()) - wanted).max() < 1e-6


def test_parts_have_their_names(face: Both, rig: Rig) -> None:
    parts = face.usd.all("GeomSubset")
    assert [part.GetName() for part in parts] == list(rig.part_names)
    counts = [len(part.GetAttribute("indices").Get()) for part in parts]
    assert counts == rig.part_of_triangle.bincount().tolist()


def test_it_is_skin_as_in_the_glb(face: Both) -> None:
    (wanted,) = face.glb.document["materials"]
    surface, texture = face.usd.shader("surface"), face.usd.shader("albedo")
    said = wanted["pbrMetallicRoughness"]
    assert surface.GetInput("roughness").Get() == pytest.approx(said["roughnessFactor"])
    assert surface.GetInput("metallic").Get() == said["metallicFactor"] == 0
    assert list(texture.GetInput("scale").Get()) == [1, 1, 1, 1]
    assert texture.GetInput("sourceColorSpace").Get() == "sRGB"
    assert face.usd.mesh.GetSubdivisionSchemeAttr().Get() == "none"  # or tools would smooth it once more
    (low, high), vertices = face.usd.only("SkelRoot").GetAttribute("extent").Get(), face.usd.vertices()
    room = np.array(high) - np.array(low)
    assert (room > 0.9 * np.ptp(vertices, 0)).all() and (room < 5).all()


@pytest.mark.parametrize("suffix", [".usdc", ".usda", ".usd", ".usdz"])
def test_the_texture_goes_with_it_and_nobody_complains(suffix: str, rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "Größe 1"
    folder.mkdir()
    both = Both(face_glb(of_fit(rig), rig), folder, suffix)
    assert both.usd.complaints() == []
    texture = both.usd.shader("albedo").GetInput("file").Get()
    assert texture.path == "./face_skin.jpg" and texture.resolvedPath
    packed = suffix == ".usdz"
    assert [file.name for file in both.files] == ([] if packed else ["face_skin.jpg"]) + [f"face{suffix}"]
    image = both.glb.document["bufferViews"][both.glb.document["images"][0]["bufferView"]]
    start, length = image["byteOffset"], image["byteLength"]
    picture = both.files[-1].read_bytes() if packed else both.files[0].read_bytes()
    assert both.glb.blob[start : start + length] in picture
    assert (".usdz[" in texture.resolvedPath) == packed


def test_a_rigs_own_export_goes_through_its_controls(rig: Rig, tmp_path: Path) -> None:
    both = Both(export_gltf(rig, albedo_of(rig)), tmp_path)
    usd, keys = both.usd, len(both.glb.times)
    assert usd.stage.GetTimeCodesPerSecond() == 24  # two poses a second are no frame rate
    assert usd.stage.GetEndTimeCode() == 12 * (keys - 1)
    jaw = 2 * rig.expression_names.index("jawOpen") + 1
    assert np.abs(usd.vertices(12 * jaw) - both.glb.vertices(jaw, VERTEX)).max() < SAME
    assert usd.weights(12 * jaw)["jawOpen"] == pytest.approx(1)
    assert usd.complaints() == []


def tiny() -> Rig:
    return dataclasses.replace(tiny_rig().to(dtype=torch.float32), source="somebody's")


@pytest.mark.parametrize("make", [tiny, lambda: jointless(tiny())])
def test_rigs_of_users_of_any_names_with_joints_or_without(make: Callable[[], Rig], tmp_path: Path) -> None:
    names = ["1. jaw/open", "1. jaw open"]
    rig = dataclasses.replace(make(), expression_names=tuple(names), part_names=("peau (été)",)).validated()
    weights = dict(zip(names, (0.7, 0.4), strict=True))
    both = Both(face_glb(of_fit(rig, weights), rig), tmp_path)
    assert both.usd.weights() == pytest.approx(weights, abs=1e-6)
    shapes = [shape.GetName() for shape in both.usd.all("BlendShape")]
    assert shapes == ["_1__jaw_open", "_1__jaw_open_2"]
    assert np.abs(both.usd.vertices() - both.glb.vertices(0, VERTEX)).max() < SAME
    assert both.usd.complaints() == []


def test_what_tools_cannot_do_comes_as_the_blend_shape_it_is_in_the_glb(rig: Rig, tmp_path: Path) -> None:
    both = Both(face_glb(of_fit(rig), rig, Swollen(rig)), tmp_path)
    assert both.usd.weights()[AS_FITTED] == 1
    assert np.abs(both.usd.vertices() - both.glb.vertices(0, VERTEX)).max() < SAME
    assert POSE["headTranslationZ"] == pytest.approx(both.usd.vertices().mean(0)[2], abs=0.2)
