"""± of controls: right for what can be known, honest about what cannot."""

import math

import pytest
import torch
from conftest import Fitted
from torch import Tensor

from pipeline import uncertainty
from pipeline.chain import build_stand_in
from pipeline.config import Priors
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.detect.region import Region
from pipeline.face_prior import build_prior, relax_identity
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera
from pipeline.solve import levenberg_marquardt
from pipeline.solve.priors import Prior

INF = math.inf


def prior_of(*rows: tuple[float, float, float, float]) -> Prior:
    """Rows of precision, sparsity, low and high; means 0."""
    precision, sparsity, low, high = torch.tensor(rows, dtype=torch.float64).unbind(-1)
    return Prior(torch.zeros_like(precision), precision, sparsity, low, high)


# The posterior, where it can be written down.


def test_far_from_the_ranges_it_is_the_inverse_of_the_information() -> None:
    jacobian = torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    prior = prior_of((0.5, 0, -INF, INF), (2.0, 0, -INF, INF))
    x = torch.zeros(2).double()
    found = uncertainty.posterior(jacobian, torch.zeros(3).double(), prior, x)
    covariance = (jacobian.T @ jacobian + prior.precision.diag()).inverse()
    torch.testing.assert_close(found.covariance, covariance)
    torch.testing.assert_close(found.sd, covariance.diagonal().sqrt())


def test_at_the_end_of_its_range_only_the_inner_side_counts() -> None:
    """The landmarks ask for more than the range allows: what is left is an exponential tail."""
    jacobian, prior = torch.tensor([[10.0]]).double(), prior_of((0.5, 0, 0, 1))
    asked = torch.tensor([-10.0]).double()  # for one unit more
    found = uncertainty.posterior(jacobian, asked, prior, torch.ones(1).double())
    slope = 100 - 0.5
    assert float(found.sd) == pytest.approx(math.sqrt(2) / slope, rel=0.05)
    free = uncertainty.posterior(jacobian, 0 * asked, prior, torch.full((1,), 0.5).double())
    assert float(free.sd) == pytest.approx(0.1, rel=0.02)


def test_what_is_not_seen_keeps_the_width_of_the_prior_and_never_exceeds_its_range() -> None:
    prior = prior_of((0.5, 4, 0, 1), (1e-6, 0, 0, 1), (0.5, 0, -INF, INF))
    blind, x = torch.zeros(4, 3).double(), torch.tensor([0.0, 1.0, 0.3]).double()
    found = uncertainty.posterior(blind, torch.zeros(4).double(), prior, x)
    torch.testing.assert_close(found.sd, uncertainty.prior_sd(prior, x), rtol=1e-4, atol=0)
    assert float(found.sd[1]) == pytest.approx(math.sqrt(1 / 3), rel=1e-3)  # anywhere in [0, 1], seen from 1
    assert (found.sd[:2] < 1).all()


def test_held_controls_are_known_and_of_a_free_pose_nothing_was_known() -> None:
    prior = prior_of((0.5, 4, 0.3, 0.3), (0.0, 0, -3, 3))
    jacobian, x = torch.ones(2, 2).double(), torch.tensor([0.3, 0.0]).double()
    found = uncertainty.posterior(jacobian, torch.zeros(2).double(), prior, x)
    assert found.sd[0] == 0 and float(found.sd[1]) == pytest.approx(2**-0.5, rel=1e-3)
    assert uncertainty.prior_sd(prior, x).tolist() == [0.0, INF]


def test_two_controls_that_look_alike_are_each_unknown() -> None:
    prior = prior_of((0.5, 0, 0, 1), (0.5, 0, 0, 1))
    x = torch.full((2,), 0.5).double()

    def sd(jacobian: Tensor) -> Tensor:
        return uncertainty.posterior(jacobian, torch.zeros(2).double(), prior, x).sd

    apart = sd(20 * torch.eye(2).double())
    alike = sd(20 * torch.tensor([[1.0, 1.0], [0.0, 0.01]]).double())
    assert (apart < 0.06).all() and (alike > 0.24).all()


def test_truth_lies_within_one_sd_as_often_as_promised() -> None:
    """Linear problems with the fit's kind of prior: 68 % for Gaussians, up to 76 % at the ends of ranges."""
    generator = torch.Generator().manual_seed(3)
    prior = prior_of(*[(0.5, 4, 0, 1)] * 8, *[(0.5, 0, 0, 1)] * 2, *[(0.0, 0, -INF, INF)] * 2)
    grid = torch.linspace(0, 1, 1001).double()
    density = (-prior.sparsity[:10, None] * grid - 0.25 * grid.square()).exp()
    inside, twice, total = 0, 0, 0
    for _ in range(60):
        jacobian = 3 * torch.randn(15, 12, generator=generator).double()
        jacobian[:, 1] = jacobian[:, 0] + 0.3 * jacobian[:, 1]  # two that look alike
        jacobian[:, 2] *= 0.1  # one that hardly shows
        drawn = grid[torch.multinomial(density, 1, generator=generator).squeeze(-1)]
        truth = torch.cat([drawn, torch.randn(2, generator=generator).double()])
        seen = jacobian @ truth + torch.randn(15, generator=generator).double()

        def residual(x: Tensor, jacobian: Tensor = jacobian, seen: Tensor = seen) -> Tensor:
            return jacobian @ x - seen

        def both(x: Tensor, jacobian: Tensor = jacobian, seen: Tensor = seen) -> tuple[Tensor, Tensor]:
            return jacobian @ x - seen, jacobian

        x = levenberg_marquardt.minimize(both, residual, prior, torch.zeros(12).double(), tolerance=1e-9)
        sd = uncertainty.posterior(jacobian, residual(x), prior, x).sd
        inside += int(((truth - x).abs() <= sd).sum())
        twice += int(((truth - x).abs() <= 2 * sd).sum())
        total += len(sd)
    assert 0.64 < inside / total < 0.78
    assert 0.92 < twice / total < 0.98


# The default rig.


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


def portrait(rig: Rig, values: dict[str, float]) -> tuple[LandmarkObjective, Tensor]:
    """A stand-in's view of the rig, and the controls it shows."""
    focal, middle = torch.tensor(2000.0), torch.full((2,), 256.0)
    x = rig.controls.pack({"headTranslationZ": -1.2} | values, rig.controls.rest.clone())
    whole = build_stand_in(rig, Camera(focal, middle)).double()
    region = Region.around(whole(x).float())
    camera = Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))
    stand_in = build_stand_in(rig, camera).double()
    return LandmarkObjective.towards(stand_in(x).detach(), stand_in, stand_in, Priors().residual_percent), x


def test_what_moves_no_landmark_is_named(rig: Rig) -> None:
    objective, x = portrait(rig, {"jawOpen": 0.2})
    moved = uncertainty.full_range_px(objective, rig.controls, x)
    unseen = uncertainty.unobservable(rig.controls.controls, moved)
    assert {"tongueOut", "l-ear-flap-incr", "measure-neck-height-incr"} <= set(unseen)
    assert not {"jawOpen", "mouthSmileLeft", "headRotationX", "cheekPuff"} & set(unseen)
    for name in ("tongueOut", "jawOpen", "noseSneerLeft"):  # one at a time, from end to end
        ends = [rig.controls.pack({name: value}, x) for value in (0.0, 1.0)]
        shift = objective.stand_in_chain(ends[1]) - objective.stand_in_chain(ends[0])
        furthest = shift[list(SCORED), :2].norm(dim=-1).max()
        assert float(furthest) == pytest.approx(float(moved[rig.controls.index(name)]), abs=1e-9)


def test_an_unknown_head_makes_expressions_less_certain_and_firm_last_stages_do_not_help(rig: Rig) -> None:
    objective, x = portrait(rig, {"mouthSmileLeft": 0.5, "jawOpen": 0.3})
    jacobian = uncertainty.cheap_jacobian(objective, rig, x)
    jacobian = jacobian * uncertainty.whitening(objective, rig.landmark_spread, len(jacobian))[:, None]
    still = torch.zeros(len(jacobian)).double()
    expression = rig.controls.groups["expression"]

    def sd(prior: Prior) -> Tensor:
        return uncertainty.posterior(jacobian, still, prior, x).sd

    settings = Priors()
    first = build_prior(rig, settings, {})
    unknown = sd(uncertainty.belief(first, rig, settings))
    known = sd(build_prior(rig, settings, dict.fromkeys(rig.identity_names, 0.0)))
    jaw = rig.controls.index("jawOpen")
    assert unknown[jaw] > 1.05 * known[jaw] and (known[rig.controls.groups["identity"]] == 0).all()
    last = sd(relax_identity(first, rig, settings, x))
    assert last[expression].max() < 0.11 < unknown[expression].median()
    sharper = sd(uncertainty.belief(first, rig, settings.model_copy(update={"identity_detail": 1e4})))
    assert sharper[jaw] < unknown[jaw]


def test_whitening_keeps_the_weight_of_the_whole_and_trusts_steady_landmarks_more(rig: Rig) -> None:
    assert rig.landmark_spread is not None
    objective, _ = portrait(rig, {})
    weight = uncertainty.whitening(objective, rig.landmark_spread, 2 * len(SCORED)).square()[::2]
    assert float(weight.mean()) == pytest.approx(1 / uncertainty.DOUBT**2)
    spread = rig.landmark_spread[list(SCORED)]
    assert weight[spread.argmin()] == weight.max() and weight[spread.argmax()] == weight.min()


# The fit.


def test_a_fit_says_how_sure_it_is(example_fit: Fitted) -> None:
    sd, unseen = example_fit.document["uncertainty"], example_fit.document["unobservable"]
    assert all(0 < value < 2 for value in sd.values())
    assert sd["jawOpen"] < 0.2 < sd["tongueOut"] and sd["headRotationZ"] < 0.05
    assert "tongueOut" in unseen and "mouthSmileLeft" not in unseen
    row = next(line for line in example_fit.stdout.splitlines() if "mouthSmileLeft" in line)
    assert f"{sd['mouthSmileLeft']:.2f}" in row
    assert "This photo cannot show tongueOut" in example_fit.stdout
