"""`chainrig detector bias`: where a detector errs on renders."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline import assets
from pipeline.deform.rig import Rig
from pipeline.detect.detectors import load_detector
from pipeline.detect.embedding import FACE_OVAL, IBUG68, SCORED
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.region import Region
from pipeline.detector_bias.file import BiasFile, read_bias
from pipeline.detector_bias.looking import Observer, stacked, upright
from pipeline.detector_bias.origin import independence
from pipeline.detector_bias.presence import Presence
from pipeline.detector_bias.scenes import FACTORS, Plan, draw_plan
from pipeline.detector_bias.smoothness import DIRECTION, shifted
from pipeline.detector_bias.statistics import PARTS, summarize, variance_parts
from pipeline.errors import ChainRigError
from pipeline.head_angles import yaw_pitch_roll
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.target.schemes import IBUG68 as IBUG
from pipeline.target.schemes import MEDIAPIPE478

SYNTHETIC = assets.path("landmarks68_synthetic.safetensors")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return FaceMesh.load()


@pytest.fixture(scope="module")
def observer(rig: Rig, mesh: FaceMesh) -> Observer:
    return Observer(rig, mesh, HeadTexture.load())


@pytest.fixture(scope="module")
def plan(rig: Rig) -> Plan:
    return draw_plan(rig, 49)


# What is rendered


def test_every_pose_meets_every_light_expression_and_identity_once(plan: Plan) -> None:
    assert len(plan) == 49
    for one in range(len(FACTORS)):
        for other in range(one):
            assert len(plan.levels[:, [one, other]].unique(dim=0)) == 49


def test_poses_are_as_often_to_the_left_as_to_the_right(rig: Rig, plan: Plan) -> None:
    assert torch.allclose(plan.yaw_deg.sort().values, -plan.yaw_deg.sort(descending=True).values)
    pose = rig.controls.groups["pose"]
    for x, yaw in zip(plan.controls[:7], plan.yaw_deg[:7].tolist(), strict=True):
        vector = x[pose][:3].tolist()
        found = yaw_pitch_roll((vector[0], vector[1], vector[2]))
        assert np.degrees(found[0]) == pytest.approx(yaw, abs=1e-3)
        assert abs(np.degrees(found[1])) <= 25 and abs(np.degrees(found[2])) <= 20


def test_a_seed_gives_the_same_plan_and_another_seed_another(rig: Rig, plan: Plan) -> None:
    again, other = draw_plan(rig, 49), draw_plan(rig, 49, seed=1)
    assert torch.equal(again.controls, plan.controls) and torch.equal(again.colours, plan.colours)
    assert not torch.equal(other.controls, plan.controls)


def test_controls_stay_in_their_ranges(rig: Rig) -> None:
    plan = draw_plan(rig, 529)  # more expressions than there are names for
    assert (plan.controls >= rig.controls.low - 1e-6).all()
    assert (plan.controls <= rig.controls.high + 1e-6).all()
    assert plan.expressions[:2] == ("neutral", "smile") and plan.expressions[-1] == "mixture 6"


# Statistics


def made_up(plan: Plan, sizes: tuple[float, ...], noise: float) -> Tensor:
    """Errors `(N, 1, 2)` whose effects have these standard deviations, both coordinates alike."""
    generator = torch.Generator().manual_seed(3)
    errors = torch.full((len(plan), 1, 2), 2.0, dtype=torch.float64)
    for factor, size in enumerate(sizes):
        levels = torch.randn(len(plan.lights), generator=generator).double()
        levels = (levels - levels.mean()) / levels.std()
        errors += size * levels[plan.levels[:, factor]][:, None, None]
    return errors + noise * torch.randn(errors.shape, generator=generator).double()


@pytest.mark.parametrize("missing", [0, 8])
def test_what_the_spread_comes_with_is_told_apart(rig: Rig, missing: int) -> None:
    plan = draw_plan(rig, 289)
    sizes, noise = (3.0, 0.0, 1.0, 2.0), 0.5
    kept = torch.randperm(289, generator=torch.Generator().manual_seed(0))[missing:]
    errors = made_up(plan, sizes, noise)
    parts, of_mean = variance_parts(errors[kept], plan.levels[kept])
    assert parts[:, 0].tolist() == pytest.approx([9, 0, 1, 4, 0.25], rel=0.02, abs=0.05)
    assert float(of_mean) == pytest.approx((9 + 1 + 4) / 17 + 0.25 / 289, rel=0.03)
    assert PARTS == ("pose", "light", "expression", "identity", "rest")


def test_bias_and_spread_are_those_of_the_errors(plan: Plan) -> None:
    errors = torch.randn(49, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    errors[:, 0] += torch.tensor([3.0, -1.0])
    errors[:, 1] += plan.yaw_deg[:, None] * torch.tensor([0.1, 0.0])
    seen = torch.ones(49, dtype=torch.bool)
    seen[5] = False
    found = summarize(errors, plan, seen)
    assert found.renders == 48
    assert torch.allclose(found.bias, errors[seen].mean(0))
    assert torch.allclose(found.covariance[0], errors[seen, 0].T.cov())
    assert found.spread.square()[1] == pytest.approx(float(errors[seen, 1].var(0).mean()))
    outer = seen & (plan.yaw_deg > 27)
    assert found.yaw_deg[-1] == 36 and torch.allclose(found.bias_by_yaw[-1], errors[outer].mean(0))
    assert float(found.bias_by_yaw[-1, 1, 0]) > 2.0 > -2.0 > float(found.bias_by_yaw[0, 1, 0])
    smiling = seen & (plan.levels[:, 2] == plan.expressions.index("smile"))
    assert torch.allclose(found.bias_by_expression[1], errors[smiling].mean(0))
    assert found.bias_by_expression.shape == (7, 2, 2)


def test_errors_are_told_in_the_upright_frame_of_the_face() -> None:
    """A face that lies on its side: what is below its right eye is to the right in the picture."""
    eyes = torch.tensor([[0.0, -50.0]])  # from its right eye up to its left eye
    down_its_face = torch.tensor([[[5.0, 0.0]]])
    assert upright(down_its_face, eyes).flatten().tolist() == pytest.approx([0.0, 10.0])


# Looking


class Moved(LandmarkDetector):
    """FaceMesh, but every landmark is so many pixels of the view further to the right."""

    title, scheme = "moved", "mediapipe478"

    def __init__(self, mesh: FaceMesh, pixels: float) -> None:
        super().__init__()
        self.mesh, self.pixels = mesh, pixels
        self.boxes: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.mesh(x) + torch.tensor([self.pixels, 0.0, 0.0])


class Boxed(Moved):
    """The same; it keeps the boxes that it is told."""

    def region(self, box: Tensor, mesh: Region) -> Region:
        self.boxes.append(box)
        return mesh


def scene(observer: Observer, plan: Plan, rows: list[int]) -> tuple[Tensor, Any, Light]:
    light = stacked([plan.lights[i] for i in plan.levels[rows, 1].tolist()])
    return plan.controls[rows], observer.material(plan.colours[0]), light


def test_what_a_detector_adds_is_what_is_measured(observer: Observer, plan: Plan) -> None:
    shown = scene(observer, plan, [0, 3])
    usual = observer.look(*shown)
    other = replace(observer, detector=Moved(observer.mesh, 4.0)).look(*shown)
    assert torch.equal(other.presence, usual.presence) and (usual.presence > 0.9).all()
    added = other.errors - usual.errors
    iod = (usual.embedded[:, 263] - usual.embedded[:, 33]).norm(dim=-1)
    assert torch.allclose(added[..., 0], (400 / iod)[:, None].expand(2, 478), rtol=0.01)
    assert (
        added[..., 1].abs() < 0.06 * added[..., 0]
    ).all()  # upright along embedded eyes, not along seen ones
    assert 0.3 < float(usual.errors.norm(dim=-1).mean()) < 8


def test_a_detector_that_needs_the_face_finders_box_is_told_it(observer: Observer, plan: Plan) -> None:
    boxed = Boxed(observer.mesh, 0.0)
    shown = scene(observer, plan, [0])
    sight = replace(observer, detector=boxed).look(*shown)
    assert torch.allclose(sight.errors, observer.look(*shown).errors, atol=1e-3)
    embedded, _ = observer.places(observer.deform(shown[0]))
    left, top, right, bottom = boxed.boxes[0].tolist()
    inside = (embedded > torch.tensor([left, top])) & (embedded < torch.tensor([right, bottom]))
    assert inside.all(-1)[0, [33, 263, 1, 61, 291]].all()  # eyes, nose and mouth


def test_a_rig_with_its_own_68_points_is_measured_against_them(
    rig: Rig, observer: Observer, plan: Plan
) -> None:
    assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
    some = list(IBUG68)
    own = replace(
        rig, landmark_triangle=rig.landmark_triangle[some],
        landmark_barycentric=rig.landmark_barycentric[some], landmark_spread=None,
    )  # fmt: skip
    detector = load_detector(str(SYNTHETIC))
    shown = scene(observer, plan, [0, 2])
    errors = [replace(observer, rig=each, detector=detector).look(*shown).errors for each in (own, rig)]
    assert errors[0].shape == (2, 68, 2) and float(errors[0].norm(dim=-1).mean()) < 15
    corners = [36, 39, 42, 45]  # the same place in both schemes
    assert (errors[0] - errors[1])[:, corners].norm(dim=-1).mean() < 1.0
    assert independence(detector, own, str(SYNTHETIC))[0]


def test_a_rig_without_landmarks_is_refused(rig: Rig, mesh: FaceMesh) -> None:
    for count, kept in ((0, None), (5, torch.arange(5))):
        few = replace(rig, landmark_triangle=kept, landmark_barycentric=None)
        with pytest.raises(ChainRigError, match=f"The rig has {count} landmarks"):
            independence(mesh, few, "facemesh")


def test_what_is_not_independent_is_said(rig: Rig, mesh: FaceMesh) -> None:
    own, why = independence(mesh, rig, "facemesh")
    assert not own and "this very detector" in why
    taught, why = independence(load_detector(str(SYNTHETIC)), rig, str(SYNTHETIC))
    assert not taught and "trained on renders" in why
    other, why = independence(Moved(mesh, 1.0), rig, "moved")
    assert other and "between two detectors" in why


def test_a_shift_of_the_view_is_so_many_of_its_pixels(plan: Plan) -> None:
    region = Region(torch.tensor([[10.0, 20.0]]), torch.tensor([512.0]), torch.tensor([0.0]))
    point = torch.tensor([[15.0, 12.0]])
    before, after = region.map_to_crop(point[None])[0], shifted(region, 0.5).map_to_crop(point)
    assert (after - before).flatten().tolist() == pytest.approx([-0.5 * d for d in DIRECTION], abs=1e-5)


def test_where_presence_falls_below_a_fits_lies_between_what_was_looked_at() -> None:
    seen = torch.ones(5, 3, dtype=torch.float64)
    seen[4, 1], seen[0, 1], seen[2, 0] = 0.0, 0.25, 0.4
    angles = torch.tensor([-90.0, -45, 0, 45, 90]), torch.tensor([-60.0, 0, 60])
    limits = Presence(angles[0].double(), angles[1].double(), seen).limits()
    assert limits == pytest.approx({"left": 67.5, "right": 75.0, "up": None, "down": 50.0})


# The file


def rewritten(path: Path, **changes: Any) -> Path:
    """The shipped file with other arrays; None leaves one out."""
    with np.load(assets.path("landmark_bias.npz")) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_the_shipped_file_is_of_the_shipped_rig_and_detector(rig: Rig, mesh: FaceMesh) -> None:
    found = read_bias(assets.path("landmark_bias.npz"), mesh.scheme)
    assert found.is_of(mesh, rig), "make it anew: chainrig detector bias"
    assert (found.detector, found.rig, found.independent) == ("facemesh", "head_rig", False)
    assert found.renders >= 250 and found.known.all()
    assert found.bias.shape == (478, 2) and found.bias.dtype == torch.float64
    assert assets.path("landmark_bias.npz").stat().st_size < 300_000
    heavier = Moved(mesh, 0.0)
    heavier.register_buffer("more", torch.ones(1))
    assert not found.is_of(heavier, rig)


def test_the_shipped_spread_is_as_a_face_has_it(rig: Rig) -> None:
    found = read_bias(assets.path("landmark_bias.npz"))
    assert rig.landmark_spread is not None
    spread, twins = found.spread, list(MEDIAPIPE478.twins)
    assert spread[list(FACE_OVAL)].mean() > 1.5 * spread[list(SCORED)].mean()
    both = torch.stack([spread.log(), rig.landmark_spread.double().clamp(min=1e-6).log()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.7
    assert float(torch.corrcoef(torch.stack([spread, spread[twins]]))[0, 1]) > 0.9
    to_the_left, to_the_right = found.at_yaw(36.0), found.at_yaw(-36.0)[twins] * torch.tensor([-1.0, 1.0])
    assert float(torch.corrcoef(torch.stack([to_the_left.flatten(), to_the_right.flatten()]))[0, 1]) > 0.7
    halves = found.covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
    assert torch.allclose(halves.sqrt(), spread, rtol=1e-4)


def test_bias_between_the_bins_of_yaw() -> None:
    found: BiasFile = read_bias(assets.path("landmark_bias.npz"))
    centre, next_one = found.yaw_deg[1:3].tolist()
    assert torch.allclose(found.at_yaw(centre), found.bias_by_yaw[1])
    assert torch.allclose(found.at_yaw((centre + next_one) / 2), found.bias_by_yaw[1:3].mean(0))
    assert torch.equal(found.at_yaw(-80.0), found.bias_by_yaw[0])
    assert torch.equal(found.at_yaw(80.0), found.bias_by_yaw[-1])


def without_a_landmark(path: Path) -> Path:
    """One that the rig has no place for: a legal file."""
    found = read_bias(assets.path("landmark_bias.npz"))
    names = ("bias", "spread", "covariance", "bias_by_yaw")
    arrays = {name: getattr(found, name).numpy().copy() for name in names}
    for name, array in arrays.items():
        array[(slice(None), 7) if name == "bias_by_yaw" else 7] = np.nan
    return rewritten(path, **arrays)


def test_a_landmark_that_the_rig_lacks_is_unknown(tmp_path: Path) -> None:
    found = read_bias(without_a_landmark(tmp_path / "bias.npz"))
    assert (~found.known).nonzero().flatten().tolist() == [7]


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "There is no file"),
    "cut off": (lambda path: path.write_bytes(b"PK\3\4 and no more"), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no spread": (lambda path: rewritten(path, spread=None), "it has no spread"),
    "other shape": (lambda path: rewritten(path, bias=np.zeros((3, 2))), "bias has shape (3, 2)"),
    "no number": (lambda path: rewritten(path, bias=np.full((478, 2), np.inf)), "not finite"),
    "no width": (lambda path: rewritten(path, spread=np.zeros(478)), "not positive"),
    "disorder": (lambda path: rewritten(path, yaw_deg=np.array([2.0, 1, 3, 4, 5])), "do not increase"),
    "unknown": (lambda path: rewritten(path, scheme=np.array("mine")), "no landmark scheme 'mine'"),
    "words": (lambda path: rewritten(path, bias=np.array(["a"])), "is of no use"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_of_no_use_is_refused_in_a_sentence(tmp_path: Path, how: str) -> None:
    spoil, reason = BROKEN[how]
    path = tmp_path / "bias.npz"
    spoil(path)
    with pytest.raises(ChainRigError) as refused:
        read_bias(path)
    assert reason in str(refused.value) and str(path) in str(refused.value)
    assert "chainrig detector bias" in str(refused.value)


def test_a_file_of_another_scheme_is_refused() -> None:
    with pytest.raises(ChainRigError, match="tells of mediapipe478 landmarks, the detector has ibug68"):
        read_bias(assets.path("landmark_bias.npz"), IBUG.name)
