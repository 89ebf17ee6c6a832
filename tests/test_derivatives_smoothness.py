"""Which derivatives hold over a step: told apart are smooth layers, kinks, jumps and wrong derivatives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.smoothing import heaviside, rectifier
from pipeline.derivatives.smoothness import smoothness

D = torch.float64


def layer(f: Any) -> FunctionLayer:
    return FunctionLayer(f, ("a",), ("b",))


START, AHEAD = torch.tensor([-0.61, -0.47], dtype=D), torch.tensor([1.0, 1.3], dtype=D)


def test_of_a_smooth_layer_both_derivatives_explain_everything() -> None:
    found = smoothness(layer(torch.sin), START, AHEAD)
    assert found.first < 1e-6 and found.second < 1e-6
    assert found.verdict.startswith("smooth")


def test_of_a_kink_the_second_derivative_explains_nothing() -> None:
    found = smoothness(layer(rectifier), START, AHEAD, intervals=64)
    assert found.first < 0.02
    assert found.second == pytest.approx(1)
    assert found.verdict.startswith("continuous with kinks")


def test_of_a_jump_the_first_derivative_explains_nothing() -> None:
    found = smoothness(layer(heaviside), START, AHEAD)
    assert found.first == pytest.approx(1)
    assert "jump" in found.verdict


def test_smoothing_gives_the_second_derivative_back() -> None:
    assert smoothness(layer(lambda x: rectifier(x, 0.05)), START, AHEAD, intervals=64).second < 0.01


def test_a_wrong_derivative_shows_as_unexplained_change() -> None:
    found = smoothness(layer(lambda x: x.sin().detach() + 0.1 * x), START, AHEAD)
    assert found.first > 0.5


def test_a_linear_layer_has_no_change_of_slope_to_explain() -> None:
    found = smoothness(layer(lambda x: 3 * x), START, AHEAD)
    assert found.first < 1e-12 and found.second == 0


def test_the_deformer_is_smooth_and_a_network_of_rectifiers_is_not() -> None:
    rig = Rig.load().at_landmarks().to(dtype=D)
    space = rig.controls
    d = space.pack({"jawOpen": 1.0, "headRotationY": 0.5}, space.rest)
    assert smoothness(Deformer(rig), space.rest, d, intervals=4).verdict.startswith("smooth")

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 30), torch.nn.ReLU(), torch.nn.Linear(30, 3)).double()
    found = smoothness(layer(lambda x: net(x)), torch.zeros(2, dtype=D), AHEAD, intervals=64)
    assert found.first < 0.01 and found.second == pytest.approx(1)


def _batched(x: Tensor) -> Tensor:
    return torch.stack([x, x + 1])


def test_batches() -> None:
    found = smoothness(
        layer(torch.sin), _batched(START), _batched(AHEAD) - torch.tensor([[0.0], [1.0]], dtype=D)
    )
    assert found.verdict.startswith("smooth")
