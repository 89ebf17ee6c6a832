"""All stations' columns in one push: the same as the Jacobians of the chain's beginnings."""

import pytest
import torch
from torch import Tensor

from pipeline.derivatives.automatic import jacobian
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.linearize import LinearMap, has_linearization, linearization, linearize
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.errors import ChainRigError
from pipeline.layer import Layer, Pipeline

D = torch.float64


class Square(Layer):
    name, input_axes, output_axes = "square", ("cell",), ("cell",)

    def forward(self, x: Tensor) -> Tensor:
        return x * x.flip(-1)


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def chain() -> Pipeline:
    A = some(4, 6)
    return Pipeline(
        [
            FunctionLayer(
                lambda x: (x @ A).sin(), ("control",), ("cell",), "mix", {"control": ("a", "b", "c", "d")}
            ),
            Square(),
            FunctionLayer(lambda x: x.unflatten(-1, (2, 3)).cumsum(-1).exp(), ("cell",), ("row", "column")),
        ]
    )


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("chunk", [2, 16])
def test_every_station_has_the_jacobian_of_the_chain_up_to_there(batch: tuple[int, ...], chunk: int) -> None:
    layers, x = list(chain()), some(*batch, 4, seed=1)
    found = pushed_columns(Pipeline(layers), x, {"control": ["d", "a", "b"]}, chunk)
    for count, made in enumerate(found, start=1):
        expected = jacobian(Pipeline(layers[:count]), x, columns={"control": ["d", "a", "b"]})
        torch.testing.assert_close(made.values, expected.values)
        assert (made.rows, made.columns) == (expected.rows, expected.columns)


def test_progress_counts_every_column_through_every_layer() -> None:
    said: list[str] = []
    steps: list[tuple[int, int]] = []
    pushed_columns(
        chain(), some(4), chunk=3, on_layer=said.append, on_progress=lambda *step: steps.append(step)
    )
    assert said == ["mix", "square", "function"]
    assert steps == [(done, 12) for done in (3, 4, 7, 8, 11, 12)]


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(ChainRigError, match="named e"):
        pushed_columns(chain(), some(4), {"control": "e"})


def test_a_rule_holds_for_its_own_class_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ruled(Square):
        pass

    class Other(Ruled):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    monkeypatch.setattr("pipeline.derivatives.linearize._rules", {})

    @linearization(Ruled)
    def _(layer: Ruled, x: Tensor) -> LinearMap:
        return lambda d: d * x.flip(-1) + x * d.flip(-1)

    x, d = some(6), some(3, 6, seed=2)
    assert has_linearization(Ruled()) and not has_linearization(Other())
    torch.testing.assert_close(linearize(Ruled(), x)(d), linearize(Square(), x)(d))
    torch.testing.assert_close(linearize(Other(), x)(d), 2 * d)
