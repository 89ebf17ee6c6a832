"""Layer 1: the shipped head, and a tiny rig on which derivatives are checked entry by entry."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pipeline import assets
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.skinning import rotation_matrix
from pipeline.errors import ChainRigError


def tiny_rig() -> Rig:
    """6 vertices, 2 expressions (the first turns the jaw), 2 identity controls, 2 joints; float64."""
    g = torch.Generator().manual_seed(7)

    def noise(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=g, dtype=torch.float64)

    weights = torch.tensor(
        [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.25, 0.75], [0.9, 0.1], [1.0, 0.0]]
    ).double()
    drivers = torch.zeros(2, 2, 3).double()
    drivers[0, 1] = torch.tensor([0.4, 0.1, -0.2])
    index = torch.tensor([[0, 1, 2], [3, 4, 5]])
    return Rig(
        rest=10 * noise(6, 3), triangles=index, uv=noise(6, 2).abs(), uv_triangles=index,
        part_names=("skin",), part_of_triangle=torch.zeros(2, dtype=torch.int64), 
        expression_names=("jawOpen", "smile"),
        expression_deltas=noise(2, 6, 3), identity_names=("wide", "long"), identity_deltas=noise(2, 6, 3),
        identity_low=-torch.ones(2).double(), identity_high=torch.ones(2).double(),
        joint_names=("head", "jaw"), joint_parents=torch.tensor([-1, 0]), joint_rest=noise(2, 3),
        joint_identity_deltas=noise(2, 2, 3),
        skin_weights=weights, drivers=drivers,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Deformer:
    return Deformer(tiny_rig())


@pytest.fixture(scope="module")
def head() -> Rig:
    return Rig.load().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def deformer(head: Rig) -> Deformer:
    return Deformer(head)


def some_controls(deformer: Deformer, *batch: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(*batch, len(deformer.controls), generator=generator, dtype=torch.float64)


def vertices_of(rig: Rig, part: str) -> Tensor:
    return rig.triangles[rig.part_of_triangle == rig.part_names.index(part)].unique()


def test_derivatives_in_both_modes_at_random_and_at_rest(tiny: Deformer) -> None:
    for x in (some_controls(tiny, 2), torch.zeros(2, len(tiny.controls), dtype=torch.float64)):
        x.requires_grad_()
        assert gradcheck(tiny, x, check_forward_ad=True, check_batched_grad=True)


def test_a_rotation_of_zero_has_all_its_derivatives() -> None:
    for size in (0.0, 1e-9, 1e-3, 0.0999, 0.1001, 3.0):
        v = torch.full((1, 3), size / math.sqrt(3), dtype=torch.float64, requires_grad=True)
        assert gradcheck(rotation_matrix, v, check_forward_ad=True)
        assert gradgradcheck(rotation_matrix, v)


def test_rotations_are_rotations_in_float32_too() -> None:
    v = torch.cat(
        [torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * s for s in (1e-4, 0.1, 1, 9)]
    )
    R = rotation_matrix(v)
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=2e-6, rtol=0)
    torch.testing.assert_close(R, rotation_matrix(v.double()).float(), atol=2e-6, rtol=0)


def test_forward_and_reverse_mode_are_adjoint(deformer: Deformer) -> None:
    x = some_controls(deformer)
    d = some_controls(deformer, seed=4)
    jvp = torch.func.jvp(deformer, (x,), (d,))[1]
    y, vjp = torch.func.vjp(deformer, x)[:2]
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, right = (vjp(g)[0] * d).sum(), (g * jvp).sum()
    assert abs(left - right) <= 1e-9 * abs(right)


def test_the_derivative_is_the_slope(deformer: Deformer) -> None:
    x, d, h = some_controls(deformer), some_controls(deformer, seed=4), 1e-5
    slope = torch.func.jvp(deformer, (x,), (d,))[1]
    difference = (deformer(x + h * d) - deformer(x - h * d)) / (2 * h)
    assert (slope - difference).norm() <= 1e-6 * slope.norm()


def test_a_batch_is_its_members(deformer: Deformer) -> None:
    x = some_controls(deformer, 2, 3)
    together = deformer(x)
    assert together.shape == (2, 3, len(deformer.rest), 3)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(together[i, j], deformer(x[i, j]), atol=1e-12, rtol=0)


def test_at_rest_the_head_is_the_rest_mesh(head: Rig, deformer: Deformer) -> None:
    torch.testing.assert_close(deformer(head.controls.rest), head.rest, atol=1e-7, rtol=0)


def test_yaw_turns_the_face_to_the_subjects_left_and_pitch_bows_it(head: Rig, deformer: Deformer) -> None:
    nose = int(head.rest[:, 2].argmax())
    yawed = deformer(head.controls.pack({"headRotationY": math.pi / 2}).double())
    torch.testing.assert_close(
        yawed[nose, 0], head.rest[nose, 2], atol=1e-6, rtol=0
    )  # what faced +z faces +x
    bowed = deformer(head.controls.pack({"headRotationX": 0.3}).double())
    assert bowed[nose, 1] < head.rest[nose, 1] - 0.01


def test_the_head_moves_as_one_with_its_pose(head: Rig, deformer: Deformer) -> None:
    pose = {"headRotationX": 0.2, "headRotationY": -0.4, "headTranslationX": 0.1, "headTranslationZ": -0.6}
    x = head.controls.pack(
        {"jawOpen": 0.6, "mouthSmileLeft": 0.3, "eyeLookUpLeft": 0.9, "gender": 0.7}
    ).double()
    R = rotation_matrix(torch.tensor([0.2, -0.4, 0.0], dtype=torch.float64))
    expected = deformer(x) @ R.mT + torch.tensor([0.1, 0.0, -0.6], dtype=torch.float64)
    torch.testing.assert_close(deformer(head.controls.pack(pose, x)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("gaze, axis, sign", [("Up", 1, 1), ("Down", 1, -1), ("In", 0, -1), ("Out", 0, 1)])
def test_the_left_eye_turns_about_its_centre(
    head: Rig, deformer: Deformer, gaze: str, axis: int, sign: int
) -> None:
    ball = vertices_of(head, "eye_left")
    centre = head.joint_rest[head.joint_names.index("eye_left")]
    before = head.rest[ball] - centre
    after = deformer(head.controls.pack({f"eyeLook{gaze}Left": 1.0}).double())[ball] - centre
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1), atol=1e-9, rtol=0)
    cornea = before[:, 2].argmax()
    assert sign * (after - before)[cornea, axis] > 0.002  # the subject's left is +x: out is +x for this eye
    right = vertices_of(head, "eye_right")
    assert (deformer(head.controls.pack({f"eyeLook{gaze}Left": 1.0}).double()) - head.rest)[
        right
    ].abs().max() == 0


def test_eyes_still_turn_about_their_centres_in_another_face(head: Rig, deformer: Deformer) -> None:
    shape = {"l-eye-trans-out": 1.0, "gender": -1.0, "asian": 0.8}
    neutral = deformer(head.controls.pack(shape).double())
    looking = deformer(head.controls.pack({**shape, "eyeLookInLeft": 1.0}).double())
    ball = vertices_of(head, "eye_left")
    middles = [(v[ball].amin(0) + v[ball].amax(0)) / 2 for v in (neutral, looking)]
    assert (middles[0] - middles[1]).norm() < 0.002
    assert (looking - neutral)[ball].norm(dim=-1).max() > 0.003


def test_the_jaw_takes_the_lower_teeth_along_and_leaves_the_upper(head: Rig, deformer: Deformer) -> None:
    motion = deformer(head.controls.pack({"jawOpen": 1.0}).double()) - head.rest
    assert motion[vertices_of(head, "teeth_lower"), 1].max() < -0.007
    assert motion[vertices_of(head, "teeth_upper")].norm(dim=-1).max() < 1e-4


def test_mirrored_controls_make_the_mirrored_head(head: Rig, deformer: Deformer) -> None:
    rest = KDTree(head.rest)
    distance, twin = rest.query(head.rest * torch.tensor([-1.0, 1.0, 1.0]))
    assert distance.max() < 2e-4
    x = torch.zeros(len(head.controls), dtype=torch.float64)
    x[:52] = torch.linspace(0, 0.5, 52)
    x[52:] = torch.linspace(-0.2, 0.2, len(x) - 52)
    mirrored = deformer(head.controls.mirror(x))[twin] * torch.tensor([-1.0, 1.0, 1.0])
    assert (mirrored - deformer(x)).norm(dim=-1).quantile(0.99) < 1e-3
    torch.testing.assert_close(head.controls.mirror(head.controls.mirror(x)), x)


def test_identity_leaves_the_pose_to_the_pose(head: Rig) -> None:
    """No identity control is mostly a turn or a shift of the whole head."""
    eyes = head.joint_identity_deltas[:, -2:].mean(1)  # [N, 3]
    assert eyes.norm(dim=-1).max() < 0.006


def test_rows_of_the_axis_have_names_and_ranges(head: Rig) -> None:
    space = head.controls
    assert space.groups["expression"] == slice(0, 52) and space.groups["pose"].stop == len(space)
    assert (space.low <= space.rest).all() and (space.rest <= space.high).all()
    values = space.unpack(space.pack({"jawOpen": 0.25, "headRotationY": -1.0}))
    assert (
        values["jawOpen"] == 0.25
        and values["headRotationY"] == -1.0
        and sum(map(abs, values.values())) == 1.25
    )
    with pytest.raises(ChainRigError, match="mouthSmilLeft.*mouthSmileLeft"):
        space.index("mouthSmilLeft")
    with pytest.raises(ChainRigError, match="jawOpen is nan"):
        space.pack({"jawOpen": math.nan})


def test_a_broken_rig_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    whole = assets.path("head_rig.npz").read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(ChainRigError, match="cut.npz cannot be read"):
            Rig.load(tmp_path / "cut.npz")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    (tmp_path / "cut.npz").write_bytes(bytes(damaged))
    with pytest.raises(ChainRigError, match="cut.npz cannot be read"):
        Rig.load(tmp_path / "cut.npz")
    with pytest.raises(ChainRigError, match="no rig file"):
        Rig.load(tmp_path / "none.npz")


def test_a_rig_whose_arrays_do_not_fit_is_refused(tmp_path: Path) -> None:
    arrays = dict(np.load(assets.path("head_rig.npz")))
    for name, value, complaint in [
        ("rest", arrays["rest"][:-1], "shape"),
        ("triangles", arrays["triangles"] + 1, "beyond"),
        ("skin_weights", arrays["skin_weights"] * 0.5, "sum to 1"),
        ("joint_rest", arrays["joint_rest"] * np.nan, "not finite"),
    ]:
        np.savez(tmp_path / "odd.npz", **{**arrays, name: value})
        with pytest.raises(ChainRigError, match=complaint):
            Rig.load(tmp_path / "odd.npz")
    del arrays["drivers"]
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ChainRigError, match="no drivers"):
        Rig.load(tmp_path / "odd.npz")


def test_forward_mode_keeps_the_precision_of_single_controls() -> None:
    rig = Rig.load()
    x = rig.controls.pack({"jawOpen": 0.3, "headTranslationZ": -1.0})
    vertices, along = torch.func.jvp(Deformer(rig), (x,), (torch.ones_like(x),))[:2]
    assert vertices.dtype == along.dtype == torch.float32
