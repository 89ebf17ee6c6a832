"""sequence.glb, read back by a library that did not write it."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import roma
import torch
from gltf_player import Player
from opened_by_trimesh import blueness, has_a_posed_head

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.outputs.person_glb import HEAD
from pipeline.rigs.chainrig_extras import VERTEX
from pipeline.sequence.animation import export_motion, performance_of

FRAMES, FPS = 60, 24.0
BLUE = {"skin": [0.05, 0.3, 0.9]}  # as nobody's is


def documents(frames: int) -> list[tuple[int, dict[str, Any]]]:
    """fit.json documents of a face that opens its mouth, looks aside, and turns."""
    found = []
    for k in range(frames):
        share = k / frames
        controls = {"jawOpen": share, "mouthSmileLeft": 0.5 * share, "eyeLookOutLeft": 0.3}
        pose = {"rotation_vector_rad": [0.1, share - 0.5, 0.05], "translation_m": [0.01 * share, 0.0, -1.2]}
        camera = {"focal_px": 900.0, "principal_point_px": [320.0, 240.0]}
        found.append((k, {"controls": controls, "pose": pose, "camera": camera}))
    return found


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def identity(rig: Rig) -> dict[str, float]:
    return {rig.identity_names[0]: 0.6, rig.identity_names[5]: -0.4}


@pytest.fixture(scope="module")
def written(rig: Rig, identity: dict[str, float]) -> bytes:
    return export_motion(rig, performance_of(rig, documents(FRAMES), FPS), identity, BLUE)


@pytest.fixture(scope="module")
def player(written: bytes) -> Player:
    return Player(written)


def test_it_has_a_key_a_frame_and_the_values_by_the_controls_names(player: Player, rig: Rig) -> None:
    assert player.times == pytest.approx(np.arange(FRAMES) / FPS)
    names = player.document["meshes"][0]["extras"]["targetNames"]
    assert names == list(rig.expression_names)
    weights = player.tracks["head mesh", "weights"].reshape(FRAMES, len(names))
    for k, document in documents(FRAMES):
        said = [document["controls"].get(name, 0.0) for name in names]
        assert weights[k] == pytest.approx(said, abs=1e-6)


def test_the_head_goes_where_the_fit_says(player: Player) -> None:
    turns, places = player.tracks[HEAD, "rotation"], player.tracks[HEAD, "translation"]
    assert len(turns) == len(places) == FRAMES
    for k, document in documents(FRAMES):
        wanted = torch.tensor(document["pose"]["rotation_vector_rad"])
        torch.testing.assert_close(roma.unitquat_to_rotvec(torch.tensor(turns[k])), wanted, atol=1e-5, rtol=0)
        assert places[k] == pytest.approx(document["pose"]["translation_m"], abs=1e-6)
    assert ((turns[1:] * turns[:-1]).sum(1) > 0).all()
    eye, jaw = player.tracks["eye_left", "rotation"], player.tracks["jaw", "rotation"]
    assert np.allclose(eye, eye[0], atol=1e-6) and abs(eye[0, 3]) < 0.9999
    assert abs(jaw[0, 3]) > 0.99999 > abs(jaw[-1, 3])


def test_the_camera_sees_as_the_photos_did(player: Player) -> None:
    (camera,) = player.document["cameras"]
    assert camera["perspective"]["yfov"] == pytest.approx(2 * math.atan(240 / 900))
    assert camera["perspective"]["aspectRatio"] == pytest.approx(640 / 480)


def test_played_it_is_the_rigs_own_mesh(player: Player, rig: Rig, identity: dict[str, float]) -> None:
    performance = performance_of(rig, documents(FRAMES), FPS)
    for key in (0, 41):
        x = rig.controls.pack(identity, performance.controls[key]).float()
        played = torch.from_numpy(player.vertices(key, VERTEX)).float()
        torch.testing.assert_close(played, Deformer(rig)(x), atol=2e-5, rtol=0)


def test_before_it_plays_it_shows_the_first_frame(player: Player) -> None:
    first = player.vertices(0, VERTEX)
    player = copy.copy(player)
    player.tracks = {}
    assert np.allclose(player.vertices(0, VERTEX), first, atol=1e-6)


def test_it_has_the_persons_colours(written: bytes) -> None:
    assert blueness(written) > 60


def test_another_library_opens_it(written: bytes) -> None:
    assert has_a_posed_head(written)


def test_a_key_is_where_its_frame_is_though_some_are_missing(rig: Rig) -> None:
    gappy = [one for one in documents(10) if one[0] not in (3, 4)]
    found = performance_of(rig, gappy, 10.0)
    assert found.seconds.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9])
