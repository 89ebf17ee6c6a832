"""face.glb: what other tools show of a fitted face, from the file's bytes alone."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import roma
import torch
from gltf_player import Player
from opened_by_trimesh import blueness, has_a_posed_head
from rigs_of_tests import with_correctives
from test_deform import tiny_rig

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import of_subject
from pipeline.detect.region import Region
from pipeline.layer import Layer
from pipeline.outputs.face_glb import AS_FITTED, face_glb
from pipeline.outputs.person_glb import HEAD
from pipeline.render.surface import Surface
from pipeline.result import FitResult, FoundAppearance, Picture
from pipeline.rigs.chainrig_extras import VERTEX
from pipeline.rigs.import_rig import import_rig
from pipeline.target.faces import Face
from pipeline.target.photo import Photo

CONTROLS = {"jawOpen": 0.6, "mouthSmileLeft": 0.8, "eyeLookOutLeft": 0.7, "browInnerUp": 0.3}
POSE = {"headRotationX": 0.2, "headRotationY": -0.4, "headTranslationX": 0.03, "headTranslationZ": -1.1}
SKIN = {"skin": [0.05, 0.3, 0.9]}  # as nobody's is


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def result(rig: Rig) -> FitResult:
    return of_fit(rig)


def of_fit(rig: Rig, controls: dict[str, float] = CONTROLS) -> FitResult:
    """A fit with these controls, a head of its own, and colours."""
    identity = {name: 0.6 - 0.2 * k for k, name in enumerate(rig.identity_names[:5])}
    x = rig.controls.pack(controls | identity | POSE, rig.controls.rest.double())
    look = FoundAppearance([0.0] * 3, [0.0] * 3, [0.0] * 3, [], SKIN, 0.0, 0.0, 1.1, None)
    points = torch.zeros(478, 2)
    return FitResult(
        photo=Photo(torch.zeros(8, 8, 3, dtype=torch.uint8), Path("photo.jpg"), ""),
        face=Face(torch.zeros(4), 0.9, torch.zeros(6, 2)),
        rig="head_rig", detector="facemesh", rasterizer="cpu", solver="chain",
        controls={name: float(x[rig.controls.index(name)]) for name in rig.expression_names},
        identity={name: float(x[rig.controls.index(name)]) for name in rig.identity_names},
        rotation_vector=(0.2, -0.4, 0.0), translation=(0.03, 0.0, -1.1),
        eye_left=(0.0, 0.0), eye_right=(0.0, 0.0),
        focal_px=900.0, principal_point=(320.0, 240.0),
        region=Region(torch.zeros(2), torch.tensor(1.0), torch.tensor(0.0)),
        target=points, render=points, projected68=torch.zeros(68, 2),
        residual_start=1.0, residual_final=0.5, gradient_norm_start=None, gradient_norm_final=None,
        evaluations=1, gradients=0, seconds=1.0, status="converged",
        picture=Picture(torch.zeros(1, 1, 4, dtype=torch.uint8), torch.zeros(2, 3)),
        appearance=look, x=x,
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(rig: Rig, result: FitResult) -> bytes:
    return face_glb(result, rig)


@pytest.fixture(scope="module")
def opened(written: bytes) -> Player:
    return Player(written)


def exact(rig: Rig, result: FitResult) -> torch.Tensor:
    assert result.x is not None
    return Deformer(rig)(result.x.float())


def test_it_opens_as_the_fit_left_it(opened: Player, rig: Rig, result: FitResult) -> None:
    shown = torch.from_numpy(opened.vertices(0, VERTEX)).float()
    torch.testing.assert_close(shown, exact(rig, result), atol=2e-5, rtol=0)
    mesh = opened.document["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(rig.expression_names)
    assert mesh["weights"] == pytest.approx(list(result.controls.values()), abs=1e-6)
    assert "animations" not in opened.document


def test_jaw_eyes_and_head_are_joints_that_are_turned(opened: Player) -> None:
    nodes = {node["name"]: node for node in opened.document["nodes"]}
    head = torch.tensor(nodes[HEAD]["rotation"])
    torch.testing.assert_close(
        roma.unitquat_to_rotvec(head), torch.tensor([0.2, -0.4, 0.0]), atol=1e-5, rtol=0
    )
    assert nodes[HEAD]["translation"] == pytest.approx([0.03, 0.0, -1.1])
    assert abs(nodes["jaw"]["rotation"][3]) < 0.999 and abs(nodes["eye_left"]["rotation"][3]) < 0.999
    assert abs(nodes["eye_right"]["rotation"][3]) == pytest.approx(1)


def test_the_camera_sees_as_the_photos_did(opened: Player) -> None:
    (camera,) = opened.document["cameras"]
    assert camera["perspective"]["yfov"] == pytest.approx(2 * math.atan(240 / 900))
    assert camera["perspective"]["aspectRatio"] == pytest.approx(640 / 480)


def test_it_is_smooth_and_shows_the_colours_that_were_found(
    written: bytes, rig: Rig, result: FitResult
) -> None:
    opened = Player(written)
    vertices = exact(rig, result)
    wanted = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle).normals(vertices)
    still = (rig.skin_weights @ rig.drivers.any(-1).any(0).float()) == 0  # turned by the head alone
    head = roma.rotvec_to_rotmat(torch.tensor(result.rotation_vector))
    seen = 0
    for piece in opened.document["meshes"][0]["primitives"]:
        own = piece["attributes"]
        vertex = torch.tensor(opened.array(own[VERTEX])).flatten().long()
        normal = torch.tensor(opened.array(own["NORMAL"])).float()
        torch.testing.assert_close(normal.norm(dim=-1), torch.ones(len(normal)), atol=1e-5, rtol=0)
        plain = still[vertex]
        torch.testing.assert_close(normal[plain] @ head.T, wanted[vertex[plain]], atol=1e-4, rtol=0)
        seen += int(plain.sum())
    assert seen > 3000
    assert blueness(written) > 60


def test_another_library_opens_it(written: bytes) -> None:
    assert has_a_posed_head(written)
    assert len(written) < 2e6


def test_chainrig_imports_it_as_the_persons_own_rig_at_rest(
    written: bytes, rig: Rig, result: FitResult, tmp_path: Path
) -> None:
    file = tmp_path / "face.glb"
    file.write_bytes(written)
    back, _ = import_rig(file)
    person = of_subject(rig, result.identity)
    x = person.controls.pack({**CONTROLS, **POSE})
    torch.testing.assert_close(back.rest, person.rest, atol=1e-6, rtol=0)
    torch.testing.assert_close(Deformer(back)(back.controls.pack({**CONTROLS, **POSE})), Deformer(person)(x))


def jointless(rig: Rig) -> Rig:
    """Shapes alone, as many a .glb of other tools."""
    bare = {"joint_names": (), "joint_parents": torch.zeros(0, dtype=torch.int64)}
    bare |= {"joint_rest": torch.zeros(0, 3), "joint_identity_deltas": torch.zeros(2, 0, 3)}
    bare |= {"skin_weights": torch.zeros(6, 0), "drivers": torch.zeros(2, 0, 3)}
    return dataclasses.replace(rig, **bare).validated()


@pytest.mark.parametrize("make", [with_correctives, jointless])
def test_rigs_of_users_with_correctives_or_without_joints(make: Callable[[Rig], Rig]) -> None:
    rig = dataclasses.replace(make(tiny_rig().to(dtype=torch.float32)), source="somebody's")
    result = of_fit(rig, {"jawOpen": 0.7, "smile": 0.4})
    opened = Player(face_glb(result, rig))
    shown = torch.from_numpy(opened.vertices(0, VERTEX)).float()
    torch.testing.assert_close(shown, exact(rig, result), atol=2e-5, rtol=0)
    assert AS_FITTED not in opened.document["meshes"][0]["extras"]["targetNames"]


class Swollen(Layer):
    """As skinning does it, and then something that no tool knows."""

    name, input_axes, output_axes = "deform", ("control",), ("vertex", "xyz")

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.skinned = Deformer(rig)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.skinned(x)
        return found + 0.002 * torch.sin(50 * found)


@pytest.mark.parametrize("kind", ["flesh", "dual quaternion"])
def test_what_tools_cannot_do_is_a_morph_target_of_its_own(rig: Rig, result: FitResult, kind: str) -> None:
    if kind == "flesh":
        deform: Layer = Swollen(rig)
    else:
        rig = dataclasses.replace(rig, skinning="dual quaternion")
        deform = Deformer(rig)
    opened = Player(face_glb(result, rig, deform))
    mesh = opened.document["meshes"][0]
    assert mesh["extras"]["targetNames"][-1] == AS_FITTED and mesh["weights"][-1] == 1
    assert result.x is not None
    shown = torch.from_numpy(opened.vertices(0, VERTEX)).float()
    torch.testing.assert_close(shown, deform(result.x.float()), atol=2e-5, rtol=0)
