"""Layers compose when their axes fit, and say so when they do not."""

import pytest
import torch
from torch import Tensor

from pipeline.layer import Layer, Pipeline


class Scale(Layer):
    """x ↦ factor · x."""

    def __init__(self, factor: float, name: str, takes: tuple[str, ...], gives: tuple[str, ...]) -> None:
        super().__init__()
        self.name, self.input_axes, self.output_axes = name, takes, gives
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return self.get_buffer("factor") * x + 1


def two_layers() -> Pipeline:
    return Pipeline([Scale(2.0, "first", ("a",), ("b",)), Scale(3.0, "second", ("b",), ("c",))])


def test_layers_are_applied_in_the_order_in_which_the_data_flows() -> None:
    x = torch.tensor([[1.0, -2.0]])
    assert torch.equal(two_layers()(x), 3 * (2 * x + 1) + 1)


def test_stations_are_the_input_and_every_output() -> None:
    x = torch.tensor([0.5])
    first, second, third = two_layers().stations(x)
    assert torch.equal(first, x)
    assert torch.equal(second, 2 * x + 1)
    assert torch.equal(third, two_layers()(x))


def test_a_pipeline_is_a_layer_with_the_outer_axes() -> None:
    chain = two_layers()
    assert chain.input_axes == ("a",)
    assert chain.output_axes == ("c",)
    longer = Pipeline([chain, Scale(1.0, "third", ("c",), ("d",))])
    assert torch.equal(longer(torch.ones(1)), chain(torch.ones(1)) + 1)


def test_axes_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"first gives \('b',\), but second takes \('x',\)"):
        Pipeline([Scale(2.0, "first", ("a",), ("b",)), Scale(3.0, "second", ("x",), ("c",))])


def test_an_empty_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        Pipeline([])


def test_parameters_move_with_the_pipeline_and_stay_fixed() -> None:
    chain = two_layers().to(torch.float64)
    assert chain(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
    assert not list(chain.parameters())
    assert len(list(chain.buffers())) == 2


def test_the_chain_rule_multiplies_the_layers_jacobians() -> None:
    x = torch.tensor([0.3, 0.7])
    assert torch.allclose(torch.func.jacrev(two_layers())(x), 6 * torch.eye(2))
    assert torch.allclose(torch.func.jacfwd(two_layers())(x), 6 * torch.eye(2))
