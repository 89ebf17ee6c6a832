"""Dropout as a measure of trust: its mean is the derivative, its spread says how many parts it rests on."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.derivatives.axes import Axis, FunctionLayer
from pipeline.derivatives.dropout import (
    GradientNoise,
    contributions,
    dropped_units,
    landmark_dropout,
    landmark_spread,
    unit_dropout,
)
from pipeline.derivatives.jacobian import Jacobian
from pipeline.errors import ChainRigError

D = torch.float64
LANDMARKS, XY = Axis("landmark", tuple(map(str, range(40)))), Axis("xy", ("x", "y"))
CONTROLS = Axis("control", ("all", "one", "none"))


@pytest.fixture
def case() -> tuple[Jacobian, Tensor]:
    """ "all" is asked for by every landmark alike, "one" by a single one, "none" by none."""
    J = torch.zeros(40, 2, 3, dtype=D)
    J[:, :, 0] = 1.0
    J[7, 0, 1] = 40.0
    return Jacobian(J, (LANDMARKS, XY), (CONTROLS,)), torch.ones(40, 2, dtype=D)


def test_contributions_say_which_landmark_asked_and_sum_to_the_gradient(
    case: tuple[Jacobian, Tensor],
) -> None:
    J, r = case
    terms = contributions(J, r)
    assert terms.shape == (40, 3)
    assert terms[:, 1].nonzero().flatten().tolist() == [7]
    torch.testing.assert_close(terms.sum(0), J.matrix.mT @ r.flatten())
    with pytest.raises(ChainRigError, match="no axis vertex: there are landmark, xy"):
        contributions(J, r, "vertex")


def test_the_mean_is_the_gradient_and_the_spread_is_the_formulas(case: tuple[Jacobian, Tensor]) -> None:
    J, r = case
    noise = landmark_dropout(J, r, rate=0.3, samples=20000)
    torch.testing.assert_close(noise.mean, J.matrix.mT @ r.flatten(), rtol=0.02, atol=0)
    torch.testing.assert_close(noise.spread, landmark_spread(J, r, rate=0.3), rtol=0.03, atol=0)


def test_what_many_landmarks_say_is_trusted_and_what_one_says_is_not(case: tuple[Jacobian, Tensor]) -> None:
    noise = landmark_dropout(*case)
    assert noise.labels == CONTROLS.labels
    assert noise.trust[0] > 5 and noise.trust[1] == pytest.approx(1, rel=0.2) and noise.trust[2] == 0
    assert [name for name, _, _ in noise.least_trusted()] == ["one", "all"]
    assert noise.agreement[0] == 1


def test_without_dropout_there_is_no_noise_and_draws_repeat(case: tuple[Jacobian, Tensor]) -> None:
    assert landmark_dropout(*case, rate=0.0).spread.abs().max() == 0
    first, again, other = (landmark_dropout(*case, seed=seed).mean for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    with pytest.raises(ChainRigError, match="rate"):
        landmark_dropout(*case, rate=1.0)
    with pytest.raises(ChainRigError, match="two draws"):
        GradientNoise.of(torch.zeros(1, 3))


def network() -> tuple[FunctionLayer, nn.Module]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 200), nn.ReLU(), nn.Linear(200, 1)).double().requires_grad_(False)
    layer = FunctionLayer(net, ("a",), ("b",))
    return layer, net


def test_dropped_units_perturb_the_gradient_about_its_mean_and_leave_no_trace() -> None:
    layer, _ = network()
    x = torch.tensor([0.3, -0.2, 0.5], dtype=D)
    plain = torch.func.grad(lambda x: layer(x).sum())(x)
    samples = unit_dropout(layer, lambda y: y.sum(), x, (nn.ReLU,), rate=0.2, samples=400)
    noise = GradientNoise.of(samples)
    assert samples.shape == (400, 3) and (noise.spread > 0).all()
    torch.testing.assert_close(noise.mean, plain, rtol=0, atol=4 * float(noise.spread.max()) / 20)
    assert torch.equal(torch.func.grad(lambda x: layer(x).sum())(x), plain)


def test_a_draw_is_the_right_derivative_of_a_perturbed_network() -> None:
    """With all the units of a draw known, differences of the perturbed function agree with its gradient."""
    layer, net = network()
    x = torch.tensor([0.3, -0.2, 0.5], dtype=D)
    drawn = unit_dropout(layer, lambda y: y.sum(), x, (nn.ReLU,), rate=0.5, samples=1, seed=3)[0]

    def perturbed(x: Tensor) -> Tensor:
        with dropped_units(layer, (nn.ReLU,), 0.5, seed=3):  # the same first draw
            return layer(x).sum()

    for k in range(3):
        step = 1e-6 * torch.eye(3, dtype=D)[k]
        slope = (perturbed(x + step) - perturbed(x - step)) / 2e-6
        assert drawn[k].item() == pytest.approx(slope.item(), abs=1e-7)


def test_a_network_without_such_units_is_refused_and_hooks_go_after_an_error() -> None:
    layer, net = network()
    with pytest.raises(ChainRigError, match="has no PReLU or ELU"):
        unit_dropout(layer, lambda y: y.sum(), torch.zeros(3, dtype=D), (nn.PReLU, nn.ELU))
    with pytest.raises(RuntimeError, match="stop"), dropped_units(layer, (nn.ReLU,), 0.5):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in net.modules())
