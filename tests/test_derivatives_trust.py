"""Wrong derivatives are caught, each by the question that it fails."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.trust import examine, slope_sweep
from pipeline.layer import Layer

D = torch.float64
X = torch.tensor([0.4, -1.1, 0.7], dtype=D)


class _Square(torch.autograd.Function):
    """x², with factors to get wrong."""

    @staticmethod
    def forward(x: Tensor, ahead: float, back: float) -> Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.ahead, ctx.back = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return ctx.back * ctx.saved_tensors[0] * g, None, None

    @staticmethod
    def jvp(ctx: Any, d: Tensor, *_: None) -> Tensor:  # type: ignore[override]
        return ctx.ahead * ctx.saved_tensors[0] * d


def square(ahead: float = 2.0, back: float = 2.0) -> Layer:
    return FunctionLayer(lambda x: _Square.apply(x, ahead, back), ("a",), ("b",), name="square")


def test_a_right_layer_passes_all_four() -> None:
    found = examine(square(), X)
    assert found.layer == "square"
    assert found.adjoint < 1e-14 and found.slope < 1e-9 and found.precision < 1e-6 and found.batch < 1e-14


def test_a_backward_that_forgets_a_factor_is_not_the_adjoint() -> None:
    assert examine(square(back=1.0), X).adjoint > 0.1


def test_both_modes_wrong_in_the_same_way_are_adjoint_but_not_the_slope() -> None:
    found = examine(square(-2.0, -2.0), X)
    assert found.adjoint < 1e-14 and found.slope > 1


def test_a_detached_tensor_is_not_the_slope() -> None:
    found = examine(FunctionLayer(lambda x: x * x.detach(), ("a",), ("b",)), X)
    assert found.adjoint < 1e-14 and found.slope > 0.9


def test_a_truncation_to_float32_shows_in_the_differences() -> None:
    found = examine(FunctionLayer(lambda x: x.float().sin().to(x.dtype), ("a",), ("b",)), X)
    assert found.slope > 1e-6


def test_cancellation_shows_in_single_precision() -> None:
    """The derivative, (3 (10⁴ + x)² − 3·10⁸)/10⁴, is a small difference of large numbers."""
    layer = FunctionLayer(lambda x: ((1e4 + x) ** 3 - 3e8 * x) / 1e4, ("a",), ("b",))
    found = examine(layer, X)
    assert found.precision > 1e-4 and found.adjoint < 1e-9
    assert examine(FunctionLayer(lambda x: 3 * x.square(), ("a",), ("b",)), X).precision < 1e-6


def test_items_of_a_batch_that_see_each_other_are_caught() -> None:
    def centred(x: Tensor) -> Tensor:
        return x.square() - x.square().mean()

    assert examine(FunctionLayer(centred, ("a",), ("b",)), X).batch > 1e-3


def test_second_derivatives_against_second_differences() -> None:
    layer = FunctionLayer(lambda x: x.sin().cumsum(-1), ("a",), ("b",))
    assert slope_sweep(layer, X, scheme="second").least_error < 1e-6


def test_the_deformer_passes_and_a_wrong_sign_in_its_skinning_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deformer = Deformer(Rig.load().at_landmarks())
    space = deformer.controls
    x = space.pack({"jawOpen": 0.3, "eyeLookUpLeft": 0.2})
    found = examine(deformer, x, space.pack({"jawOpen": 1.0, "headRotationY": 1.0, "gender": 0.5}))
    assert found.adjoint < 1e-9 and found.slope < 1e-8 and found.precision < 1e-5 and found.batch < 1e-9

    from pipeline.deform import deform

    right = deform.skin

    class _WrongSign(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return -g

        @staticmethod
        def jvp(ctx: Any, d: Tensor) -> Tensor:  # type: ignore[override]
            return -d

    monkeypatch.setitem(deform.SKINNING, "linear", lambda v, w, R, t: right(v, w, _WrongSign.apply(R), t))
    broken = examine(copy.deepcopy(deformer), x, space.pack({"jawOpen": 1.0, "headRotationY": 1.0}))
    assert broken.adjoint < 1e-9 and broken.slope > 1e-3
