"""Rigs in use: files, limits, subjects, symmetric shapes, retargeting, the landmark embedding of a foreign
rig."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rigs_of_tests import renamed
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import (
    linearised,
    mirrored_deltas,
    of_subject,
    vertex_twins,
    with_limits,
    with_shape,
)
from pipeline.detect.facemesh import FaceMesh
from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.rigs.embed import embedded, find_embedding
from pipeline.rigs.gaze import gaze_turns
from pipeline.rigs.outlines import outlines_478
from pipeline.rigs.paint import landmark_places, painted
from pipeline.rigs.retarget import retarget
from pipeline.rigs.texture import albedo_of, texture_of

FACE = {"jawOpen": 0.6, "mouthSmileLeft": 0.7, "browInnerUp": 0.5, "eyeBlinkRight": 0.9, "headRotationY": 0.3}


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load()


def shape_of(rig: Rig, **values: float) -> Tensor:
    return Deformer(rig)(rig.controls.pack(values))


def test_a_saved_rig_is_the_same_rig(head: Rig, tmp_path: Path) -> None:
    head.save(tmp_path / "one.npz")
    head.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    back = Rig.load(tmp_path / "one.npz")
    assert back.controls.controls == head.controls.controls
    torch.testing.assert_close(shape_of(back, **FACE), shape_of(head, **FACE), atol=0, rtol=0)
    assert (tmp_path / "one.npz").stat().st_size < 3e6
    with pytest.raises(ChainRigError, match="choose another --out"):
        head.save(tmp_path / "one.npz" / "inside.npz")


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"expression_low": torch.ones(52)}, "does not hold its rest value"),
        ({"skinning": "cubic"}, "neither 'linear' nor"),
        ({"corrective_names": ("odd",)}, "corrective_deltas has shape"),
        ({"joint_parents": torch.tensor([-1, 0, 1, 2, 2, -7])}, "before its parent"),
        ({"landmark_triangle": torch.full((478,), 10**6)}, "points beyond"),
    ],
)
def test_a_rig_that_does_not_fit_together_is_refused(
    head: Rig, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    replace(head, **change).save(tmp_path / "odd.npz")  # type: ignore[arg-type]
    if "corrective_names" in change:
        arrays = dict(np.load(tmp_path / "odd.npz"))
        arrays["corrective_deltas"] = np.zeros((1, 3, 3), np.float32)
        np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ChainRigError, match=complaint):
        Rig.load(tmp_path / "odd.npz")


def test_limits_narrow_a_control(head: Rig) -> None:
    rig = with_limits(head, {"jawOpen": (0.0, 0.5), "gender": (-0.2, 0.2)})
    x = rig.controls.clamped(rig.controls.pack({"jawOpen": 0.9, "gender": -1.0, "tongueOut": -1.0}))
    values = rig.controls.unpack(x)
    assert values["jawOpen"] == 0.5 and values["gender"] == pytest.approx(-0.2) and values["tongueOut"] == 0
    for limits in ({"jawOpen": (0.2, 0.5)}, {"jawOpen": (0.0, 0.0)}, {"headRotationX": (0.0, 1.0)}):
        with pytest.raises(ChainRigError, match="cannot be limited"):
            with_limits(head, limits)


def test_a_subjects_rig_has_the_identity_in_its_neutral_head(head: Rig) -> None:
    identity = {"gender": 0.8, "l-eye-trans-out": 1.0, "age": 0.3}
    own = of_subject(head, {**identity, "jawOpen": 1.0})
    assert not own.identity_names and own.controls.groups["identity"] == slice(52, 52)
    torch.testing.assert_close(shape_of(own, **FACE), shape_of(head, **identity, **FACE), atol=1e-6, rtol=0)
    torch.testing.assert_close(own.rest, shape_of(head, **identity), atol=1e-6, rtol=0)


def test_one_side_is_sculpted_and_the_other_follows(head: Rig) -> None:
    twins = vertex_twins(head.rest)
    assert (twins[twins] == torch.arange(len(twins))).all()
    new = torch.zeros_like(head.rest)
    new[int(head.rest[:, 0].argmax())] = torch.tensor([0.01, 0.0, 0.002])
    rig = with_shape(head, "mouthSmileRight", new, twins)
    left = rig.expression_deltas[rig.controls.index("mouthSmileLeft")]
    assert left[int(head.rest[:, 0].argmin())].tolist() == pytest.approx([-0.01, 0.0, 0.002])
    middle = with_shape(head, "jawOpen", new, twins).expression_deltas[head.controls.index("jawOpen")]
    torch.testing.assert_close(middle, mirrored_deltas(middle, twins))
    x = head.controls.pack({"mouthSmileLeft": 1.0, "jawLeft": 0.5, "headRotationY": 0.2})
    values = head.controls.unpack(head.controls.symmetric(x, "Left"))
    assert values["mouthSmileRight"] == 1.0 and values["jawRight"] == 0.5
    both = head.controls.symmetric(x)
    torch.testing.assert_close(head.controls.mirror(both), both)
    with pytest.raises(ChainRigError, match="has no twin.*not symmetric"):
        vertex_twins(head.rest + torch.tensor([0.01, 0, 0]))


def test_an_expression_is_carried_by_names(head: Rig) -> None:
    found = retarget(FACE, head, renamed(head, split=True))
    values = found.values
    assert values["jawOpen"] == pytest.approx(0.6) and values["headRotationY"] == pytest.approx(0.3)
    assert values["browInnerUpLeft"] == values["browInnerUpRight"] == pytest.approx(0.5)
    assert not found.lost and not found.by_motion
    assert found.residual_mm is not None and found.residual_mm < 0.01


def test_what_has_no_name_is_carried_by_the_landmarks_motion(head: Rig) -> None:
    other = renamed(head, anonymous=("mouthSmileLeft", "jawOpen"))
    found = retarget(FACE, head, other)
    assert found.values["shape of mouthSmileLeft"] == pytest.approx(0.7, abs=0.05)
    assert found.values["shape of jawOpen"] == pytest.approx(0.6, abs=0.05)
    assert set(found.by_motion) == {"shape of mouthSmileLeft", "shape of jawOpen"}
    blind = replace(other, landmark_triangle=None, landmark_barycentric=None, landmark_spread=None)
    assert set(retarget(FACE, head, blind).lost) == {"mouthSmileLeft", "jawOpen"}
    larger = replace(other, rest=2 * other.rest, expression_deltas=2 * other.expression_deltas,
                     joint_rest=2 * other.joint_rest)  # fmt: skip
    again = retarget(FACE, head, larger).values["shape of mouthSmileLeft"]
    assert again == pytest.approx(found.values["shape of mouthSmileLeft"], abs=0.02)


def test_paint_puts_brows_lips_and_eyes_where_the_landmarks_are(head: Rig) -> None:
    """The shipped head, as if nobody had painted it: the colours under its landmarks."""
    rig = painted(replace(head, source="bald.glb"))
    texture = albedo_of(rig).float()
    places = landmark_places(rig)
    lip, brow, cheek = (
        _under(rig, texture, places[index]) for index in ([0, 17, 405], [105, 334], [50, 280, 205])
    )
    assert brow.mean() < 0.5 * cheek.mean()
    assert (lip[:, 2] / lip[:, 0]).min() < 0.95 * (cheek[:, 2] / cheek[:, 0]).mean()  # redder
    assert Material(texture_of(rig)()).texture.shape == (1024, 1024, 4)
    assert len(outlines_478(places).lips) == 20


def _under(rig: Rig, texture: Tensor, points: np.ndarray) -> Tensor:
    """Colours (N, 3) of the texels at the vertices nearest to points."""
    vertex = torch.cdist(torch.from_numpy(points).float(), rig.rest).argmin(1)
    flat = rig.triangles.flatten()
    uv = rig.uv[rig.uv_triangles.flatten()[[int((flat == v).nonzero()[0]) for v in vertex]]]
    row, column = ((1 - uv[:, 1]) * 1024).long(), (uv[:, 0] * 1024).long()
    return texture[row.clamp(0, 1023), column.clamp(0, 1023)]


def test_a_foreign_rig_is_embedded_where_the_detector_looks(head: Rig) -> None:
    """The head under other names, without its embedding, painted by what the detector sees of it."""
    bare = replace(renamed(head, split=True), source="bald.glb", landmark_triangle=None,
                   landmark_barycentric=None, landmark_spread=None)  # fmt: skip
    told: list[tuple[int, int]] = []
    rig, found = embedded(painted(bare), FaceMesh.load(), 6, lambda done, of: told.append((done, of)))
    assert told[-1] == (6, 6) and found.seen >= 4 and found.symmetric
    apart = np.linalg.norm(landmark_places(rig) - landmark_places(head), axis=1)
    assert np.median(apart) < 0.003
    assert set(found.doubtful()) <= set(range(478))
    nothing = replace(bare, rest=0.01 * bare.rest, joint_rest=0.01 * bare.joint_rest)
    with pytest.raises(ChainRigError, match="sees a face in only 0 of 4"):
        find_embedding(nothing, texture_of(painted(nothing)), FaceMesh.load(), 4)


def test_eyes_that_shapes_move_look_where_joints_would_turn_them(head: Rig) -> None:
    linear = linearised(head)
    for eye in ("eye_left", "eye_right"):
        torch.testing.assert_close(gaze_turns(linear, eye), gaze_turns(head, eye), atol=0.02, rtol=0)
    no_eyes = replace(linear, part_names=("skin", *(f"p{k}" for k in range(len(head.part_names) - 1))))
    assert not gaze_turns(no_eyes, "eye_left").any()


def test_a_picture_is_tinted_by_the_skins_colour() -> None:
    picture = torch.randint(
        0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    texture = HeadTexture.of_picture(picture)
    shown = srgb.encode(texture()[..., :3])
    torch.testing.assert_close((255 * shown).round().to(torch.uint8), picture)
    half = {"skin": (0.5 * texture.colours[0]).tolist()}
    tinted = HeadTexture(texture.weights, texture.detail, half)()[..., :3]
    torch.testing.assert_close(tinted, 0.5 * texture()[..., :3])
    assert texture.grey_detail().shape == (32, 32)
