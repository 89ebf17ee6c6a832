"""What other tools call ARKit's shapes; which part of a mesh is what."""

import numpy as np
import pytest

from pipeline.rigs.names import ARKIT, arkit_of, from_arkit, joint_names, normalised, to_arkit
from pipeline.rigs.parts import kind_of, named_parts
from pipeline.rigs.raw import Part


@pytest.mark.parametrize(
    "written, meant",
    [
        ("browDown_L", "browDownLeft"),
        ("BrowDownLeft", "browDownLeft"),
        ("brow_down.l", "browDownLeft"),
        ("head.browDown_left", "browDownLeft"),
        ("L_eyeBlink", "eyeBlinkLeft"),
        ("eyeBlinkL", "eyeBlinkLeft"),
        ("blink_r", "eyeBlinkRight"),
        ("JawOpen", "jawOpen"),
        ("jaw_R", "jawRight"),
        ("mouthLeft", "mouthLeft"),
        ("mouthSmile", "mouthSmile"),
        ("browInnerUp_L", "browInnerUpLeft"),
        ("cheekRaiser_L", "cheekRaiserLeft"),
        ("Fcl_ALL_Joy", "Fcl_ALL_Joy"),
        ("expression00", "expression00"),
    ],
)
def test_names_mean_what_arkit_means(written: str, meant: str) -> None:
    assert normalised([written]) == [meant]


def test_every_spelling_of_all_52_is_known() -> None:
    for spell in (str.lower, str.upper, lambda n: n.replace("Left", "_L").replace("Right", "_R")):
        assert normalised([spell(name) for name in ARKIT]) == list(ARKIT)
    assert normalised(list(ARKIT)) == list(ARKIT)


def test_no_two_controls_come_out_with_one_name() -> None:
    written = ["jawOpen", "JawOpen", "eyeBlink_L", "blink_l", "smile"]
    found = normalised(written)
    assert len(set(found)) == len(found) and "jawOpen" in found and "smile" in found


def test_halves_and_wholes_translate_both_ways() -> None:
    assert arkit_of("browInnerUpLeft") == ("browInnerUp",)
    assert arkit_of("mouthSmile") == ("mouthSmileLeft", "mouthSmileRight")
    values = {"browInnerUpLeft": 0.2, "browInnerUpRight": 0.6, "mouthSmile": 0.5, "Joy": 1.0}
    arkit = to_arkit(values)
    assert arkit == {"browInnerUp": 0.4, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5}
    assert from_arkit(arkit, values) == {"browInnerUpLeft": 0.4, "browInnerUpRight": 0.4, "mouthSmile": 0.5}


def test_joints_of_a_head_are_known_by_many_names() -> None:
    found = joint_names(
        ["J_Bip_C_Head", "Neck", "jaw_bone", "J_Adj_L_FaceEye", "RightEye", "eyelid_L", "Spine", "head_end"]
    )
    assert found == ["head", "neck", "jaw", "eye_left", "eye_right", "eyelid_L", "Spine", "head_end"]


@pytest.mark.parametrize(
    "name, kind",
    [
        ("M_Face", "skin"),
        ("M_ScleraLeft", "eye"),
        ("Wolf3D_Teeth", "teeth"),
        ("EyeLeft", "eye"),
        ("M_EyeLashes", "helper"),
        ("M_EyeOcclusion", "helper"),
        ("M_GumsTongue", "tongue"),
        ("N00_000_Hair_00_HAIR", "hair"),
        ("face_eyebrow", "hair"),
        ("Tearline", "helper"),
    ],
)
def test_parts_are_known_by_their_materials(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_balls_where_eyes_are_are_eyes() -> None:
    """Without any name: a cube for a skull, two balls, and a ball elsewhere."""

    def ball(centre: tuple[float, float, float]) -> np.ndarray:
        g = np.random.default_rng(0).normal(size=(60, 3))
        return 0.012 * g / np.linalg.norm(g, axis=1, keepdims=True) + centre

    pieces = [ball((0.031, 0, 0)), ball((-0.031, 0, 0)), ball((0, -0.1, 0)), np.eye(3) * 0.1]
    triangles, start = [], 0
    for piece in pieces:
        triangles += [[start + k, start + k + 1, start + k + 2] for k in range(len(piece) - 2)]
        start += len(piece)
    index = np.array(triangles)
    names, part = named_parts([Part("mesh")], np.zeros(len(index), int), np.concatenate(pieces), index)
    assert names == ["skin", "eye_left", "eye_right"]
    assert [names[k] for k in part[[0, 58, 116, 174]]] == ["eye_left", "eye_right", "skin", "skin"]
