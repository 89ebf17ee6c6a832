"""What is believed of a face before any photo, and in the last stage of a fit."""

import pytest
import torch

from pipeline.config import Priors
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.face_prior import build_prior, last_prior


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


def test_expressions_cost_something_and_smiles_do_not(rig: Rig) -> None:
    prior, rest = build_prior(rig, Priors(), {}), rig.controls.rest.clone()

    def cost(name: str) -> float:
        return float(prior.value(rig.controls.pack({name: 1.0}, rest.clone())) - prior.value(rest))

    assert cost("mouthSmileLeft") == 0
    assert cost("browDownLeft") > 4


def test_a_prior_times_a_factor_pulls_so_many_times_within_the_same_box(rig: Rig) -> None:
    prior = build_prior(rig, Priors(), {"jawOpen": 0.2})
    x = prior.project(rig.controls.rest + torch.linspace(0, 0.5, len(rig.controls)))  # no two alike
    torch.testing.assert_close(prior.times(4).gradient(x), 4 * prior.gradient(x))
    assert torch.equal(prior.times(4).low, prior.low) and torch.equal(prior.times(4).mean, prior.mean)


@pytest.mark.parametrize(
    ("name", "costs"),
    [("mouthUpperUp", True), ("browDown", True), ("mouthSmile", False)],
)
def test_one_side_alone_costs_more_than_half_of_both(rig: Rig, name: str, costs: bool) -> None:
    prior, rest = build_prior(rig, Priors(), {}), rig.controls.rest

    def cost(*sides: str) -> float:
        x = rig.controls.pack({name + side: 1.0 for side in sides}, rest.clone())
        return float(prior.value(x) - prior.value(rest))

    assert cost("Left") == pytest.approx(cost("Right"))
    extra = cost("Left") - cost("Left", "Right") / 2
    assert extra == pytest.approx(Priors().symmetry / 2 if costs else 0, abs=1e-9)


def test_eyes_look_the_same_way(rig: Rig) -> None:
    prior, rest = build_prior(rig, Priors(), {}), rig.controls.rest

    def cost(*names: str) -> float:
        return float(prior.value(rig.controls.pack(dict.fromkeys(names, 1.0), rest.clone())))

    to_the_left = cost("eyeLookOutLeft", "eyeLookInRight")
    assert cost("eyeLookOutLeft", "eyeLookOutRight") == pytest.approx(to_the_left + Priors().gaze)
    assert cost("eyeLookUpLeft", "eyeLookUpRight") == pytest.approx(to_the_left)


def test_a_mouth_or_a_jaw_goes_to_one_side_for_nothing(rig: Rig) -> None:
    prior = build_prior(rig, Priors(), {})
    assert prior.coupling is not None
    for name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        assert not prior.coupling[rig.controls.index(name)].any()


def test_the_last_stage_frees_an_unknown_head_and_lets_expressions_go_on_where_it_is_known(rig: Rig) -> None:
    space, settings = rig.controls, Priors()
    expression, identity = space.groups["expression"], space.groups["identity"]
    unknown = build_prior(rig, settings, {})
    found = unknown.project(space.rest + 0.4)
    last = last_prior(unknown, rig, settings, found)
    assert (last.precision[identity] < unknown.precision[identity]).all()
    assert not last.gradient(found)[expression].any()

    known = build_prior(rig, settings, dict.fromkeys(rig.identity_names, 0.1))
    assert last_prior(known, rig, settings, found) is known


def test_a_control_is_held_in_its_range_or_refused(rig: Rig) -> None:
    at = rig.controls.index("jawOpen")
    held = build_prior(rig, Priors(), {"jawOpen": 1.0})
    assert held.low[at] == held.high[at] == 1
    with pytest.raises(ChainRigError, match="jawOpen cannot be 7: it goes from 0 to 1"):
        build_prior(rig, Priors(), {"jawOpen": 7.0})
