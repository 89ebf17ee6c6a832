"""JVPs, VJPs and Jacobians of any layer, in both modes, in chunks, in batches."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.automatic import jacobian, jvp, pull, push, vjp
from pipeline.derivatives.axes import FunctionLayer
from pipeline.errors import ChainRigError
from pipeline.layer import Layer

D = torch.float64


def bend(x: Tensor) -> Tensor:
    """(*B, 3) → (*B, 4, 2)."""
    a = torch.linspace(-1, 1, 24, dtype=x.dtype).reshape(3, 8)
    return torch.tanh(x @ a).unflatten(-1, (4, 2)) * x.square().sum(-1)[..., None, None]


BEND = FunctionLayer(bend, ("control",), ("point", "xy"))


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


@pytest.fixture(scope="module")
def deformer() -> Deformer:
    return Deformer(Rig.load().at_landmarks())


def test_a_jvp_is_a_combination_of_columns_and_a_vjp_of_rows() -> None:
    x, d, g = some(5, 3), some(5, 3, seed=1), some(5, 4, 2, seed=2)
    J = torch.stack([torch.func.jacrev(bend)(item) for item in x])  # torch's own, one by one
    torch.testing.assert_close(jvp(BEND, x, d)[1], torch.einsum("bpqk,bk->bpq", J, d))
    torch.testing.assert_close(vjp(BEND, x)[1](g), torch.einsum("bpqk,bpq->bk", J, g))


@pytest.mark.parametrize("mode", ["columns", "rows"])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_jacobian_is_the_same_by_columns_and_by_rows_in_any_chunks(mode: Any, chunk: int) -> None:
    x = some(2, 5, 3)
    J = jacobian(BEND, x, mode, chunk=chunk)
    assert J.values.shape == (2, 5, 4, 2, 3) and J.batch == (2, 5)
    torch.testing.assert_close(J.values[1, 2], torch.func.jacrev(bend)(x[1, 2]))


@pytest.mark.parametrize("mode", ["columns", "rows"])
def test_a_part_is_that_part_of_the_whole(mode: Any) -> None:
    x, rows, columns = some(5, 3), {"point": [3, 0]}, {"control": [2]}
    part = jacobian(BEND, x, mode, rows, columns)
    whole = jacobian(BEND, x).select(rows, columns)
    torch.testing.assert_close(part.values, whole.values)
    assert part.rows == whole.rows and part.columns == whole.columns


def test_only_the_part_that_is_asked_for_costs_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []

    class Counting(Layer):
        input_axes, output_axes = ("a",), ("b",)

        def forward(self, x: Tensor) -> Tensor:
            passes.append(1)
            return x.sin()

    jacobian(Counting(), some(50), columns={"a": [3, 4]}, chunk=1)
    assert len(passes) == 3  # one to know the output's size, one a column


def test_controls_are_called_by_their_names(deformer: Deformer) -> None:
    x = deformer.controls.pack({"jawOpen": 0.3})
    J = jacobian(deformer, x, columns={"control": ["jawOpen", "mouthSmile*"]})
    assert J.columns[0].labels == ("jawOpen", "mouthSmileLeft", "mouthSmileRight")
    moved = deformer(
        x + 1e-2 * torch.nn.functional.one_hot(torch.tensor(deformer.controls.index("jawOpen")), len(x))
    )
    torch.testing.assert_close(J.column("jawOpen"), (moved - deformer(x)) / 1e-2, atol=3e-4, rtol=0)


def test_float32_stays_float32_without_falling_back_to_one_at_a_time(deformer: Deformer) -> None:
    """torch's vmap turns products of tensors without axes into float64: the passes must have an axis."""
    passes: list[int] = []
    deformer.register_forward_hook(lambda *_: passes.append(1))
    x = deformer.controls.rest.float()
    assert jacobian(deformer, x, "columns", columns={"control": list(range(6))}).values.dtype == torch.float32
    assert len(passes) == 2


class _NoVmap(torch.autograd.Function):
    """x², in a way that vmap cannot carry."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * g

    @staticmethod
    def jvp(ctx: Any, d: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * d


@pytest.mark.parametrize("mode", ["columns", "rows"])
def test_what_vmap_cannot_carry_is_done_one_at_a_time(mode: Any) -> None:
    layer = FunctionLayer(lambda x: _NoVmap.apply(x), ("a",), ("b",))
    x = some(4)
    torch.testing.assert_close(jacobian(layer, x, mode).matrix, (2 * x).diag())


def test_an_error_of_the_layer_itself_is_not_hidden() -> None:
    def broken(x: Tensor) -> Tensor:
        if type(x).__name__ == "Tensor" and not torch.is_grad_enabled():
            return x  # a plain evaluation
        raise RuntimeError("no derivative today")

    with pytest.raises(RuntimeError, match="no derivative today"):
        jacobian(FunctionLayer(broken, ("a",), ("b",)), some(3))


def test_a_detached_layer_has_a_zero_jacobian_in_both_modes() -> None:
    layer = FunctionLayer(lambda x: x.detach() * 2, ("a",), ("b",))
    for mode in ("columns", "rows"):
        assert jacobian(layer, some(3), mode).values.abs().max() == 0


def test_a_layer_that_does_not_give_its_axes_is_named() -> None:
    layer = FunctionLayer(lambda x: x.mT, ("a", "b"), ("b", "a"), name="swapper")
    assert jacobian(layer, some(2, 3)).values.shape == (3, 2, 2, 3)
    shrunk = FunctionLayer(lambda x: x.sum(-1), ("a",), ("b",), name="summer")
    with pytest.raises(ChainRigError, match="The layer summer turned .4, 3. into .4,."):
        jacobian(shrunk, some(4, 3))


def test_nothing_comes_of_nothing() -> None:
    x = some(0, 3)
    assert jacobian(BEND, x).values.shape == (0, 4, 2, 3)
    assert push(BEND, some(3), some(0, 3)).shape == (0, 4, 2)
    assert pull(BEND, some(3), some(0, 4, 2)).shape == (0, 3)
