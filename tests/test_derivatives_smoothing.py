"""Smoothed steps and kinks: closed forms, both modes, the limit of width 0, and no overflow in float32."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pipeline.derivatives import smoothing
from pipeline.errors import ChainRigError

D = torch.float64
X = torch.tensor([-7.0, -1.0, -0.2, 0.0, 0.1, 0.9, 6.0], dtype=D)
Smooth = Callable[[Tensor, float], Tensor]

SCALAR: dict[str, Smooth] = {
    "heaviside": smoothing.heaviside,
    "sign": smoothing.sign,
    "rectifier": smoothing.rectifier,
    "leaky rectifier": lambda x, w: smoothing.leaky_rectifier(x, 0.1, w),
    "clamp": lambda x, w: smoothing.clamp(x, -0.5, 2.0, w),
    "maximum": lambda x, w: smoothing.maximum(x, 0.3 * x + 0.1, w),
    "minimum": lambda x, w: smoothing.minimum(x, torch.zeros_like(x), w),
}
VECTOR: dict[str, Smooth] = {
    "arg max": smoothing.arg_max,
    "largest": smoothing.largest,
    "soft arg max": lambda x, w: smoothing.soft_argmax(x, torch.arange(x.shape[-1]).to(x)[:, None], w),
}
ALL = SCALAR | VECTOR

SHARP: dict[str, Callable[[Tensor], Tensor]] = {
    "heaviside": lambda x: (x >= 0).to(x.dtype),
    "sign": torch.sign,
    "rectifier": torch.relu,
    "leaky rectifier": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
    "clamp": lambda x: x.clamp(-0.5, 2.0),
    "maximum": lambda x: torch.maximum(x, 0.3 * x + 0.1),
    "minimum": lambda x: x.clamp(max=0),
    "arg max": lambda x: torch.nn.functional.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype),
    "largest": lambda x: x.amax(-1),
    "soft arg max": lambda x: x.argmax(-1, keepdim=True).to(x.dtype),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [1.0, 0.2])
def test_derivatives_in_both_modes_batched_and_of_second_order(name: str, width: float) -> None:
    x = X.clone().requires_grad_()
    assert gradcheck(lambda x: ALL[name](x, width), x, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(lambda x: ALL[name](x, width), x, check_batched_grad=True)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [0.0, 0.3])
def test_vmap_and_batches_are_loops(name: str, width: float) -> None:
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=D)
    together = ALL[name](x, width)
    torch.testing.assert_close(torch.func.vmap(lambda x: ALL[name](x, width))(x), together)
    torch.testing.assert_close(ALL[name](x[1, 2], width), together[1, 2])


@pytest.mark.parametrize("name", ALL)
def test_width_zero_is_the_sharp_function(name: str) -> None:
    assert torch.equal(ALL[name](X, 0.0), SHARP[name](X))


@pytest.mark.parametrize("name", ALL)
def test_as_the_width_goes_to_zero_so_does_the_difference(name: str) -> None:
    x = X[X != 0]
    errors = [(ALL[name](x, w) - SHARP[name](x)).abs().max() for w in (1.0, 0.1, 0.01, 1e-3)]
    assert errors[0] > errors[1] >= errors[2] >= errors[3]
    assert errors[3] < 1e-12


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("arg max", "soft arg max")])
def test_derivatives_converge_as_well(name: str) -> None:
    x = torch.tensor([-7.0, -1.0, -0.2, 0.1, 0.9, 6.0], dtype=D)
    sharp = torch.func.grad(lambda x: ALL[name](x, 0.0).sum())(x)
    smooth = torch.func.grad(lambda x: ALL[name](x, 1e-3).sum())(x)
    torch.testing.assert_close(smooth, sharp, atol=1e-12, rtol=0)


EXTREME = torch.tensor([-1e4, -1.0, -1e-20, 0.0, 1e-20, 1.0, 1e4])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [0.0, 1e-30, 1e-8, 1.0, 1e30])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_nothing_overflows_in_float32(name: str, width: float, order: int) -> None:
    def value(x: Tensor) -> Tensor:
        return ALL[name](x, width)

    def slope(x: Tensor) -> Tensor:
        return torch.func.vjp(value, x)[1](torch.ones_like(value(x)))[0]

    def bend(x: Tensor) -> Tensor:
        return torch.func.jvp(slope, (x,), (torch.ones_like(x),))[1]

    found = (value, slope, bend)[order](EXTREME)
    assert found.dtype == torch.float32
    if (
        order == 2 and width < 1e-15
    ):  # 1/w² is not a float32: a kink this sharp has an infinite second derivative
        assert not found.isnan().any()
    else:
        assert found.isfinite().all()


def test_even_quotients_that_overflow_are_told_apart() -> None:
    far = torch.tensor([1e9, 2e9, -1e9])  # over a width of 1e-30: beyond float32
    assert smoothing.arg_max(far, 1e-30).tolist() == [0, 1, 0]
    assert smoothing.largest(far, 1e-30) == 2e9
    assert smoothing.rectifier(far, 1e-30).tolist() == [1e9, 2e9, 0]


@pytest.mark.parametrize("name", SCALAR)
def test_float32_far_out_is_right_to_roundoff(name: str) -> None:
    x = torch.tensor([-1e4, -300.0, 300.0, 1e4])
    value = ALL[name](x, 0.5)
    torch.testing.assert_close(value.double(), ALL[name](x.double(), 0.5), rtol=3e-7, atol=1e-12)
    slopes = [torch.func.grad(lambda x: ALL[name](x, 0.5).sum())(at) for at in (x, x.double())]
    torch.testing.assert_close(slopes[0].double(), slopes[1], rtol=3e-7, atol=1e-12)


@pytest.mark.parametrize("width", [0.3, 2.0])
def test_the_derivatives_are_each_others_closed_forms(width: float) -> None:
    def slope(f: Smooth) -> Tensor:
        return torch.func.grad(lambda x: f(x, width).sum())(X)

    s = torch.sigmoid(X / width)
    torch.testing.assert_close(slope(smoothing.rectifier), s)
    torch.testing.assert_close(slope(smoothing.heaviside), s * (1 - s) / width)
    torch.testing.assert_close(slope(smoothing.largest), smoothing.arg_max(X, width))
    torch.testing.assert_close(smoothing.rectifier(X, width), torch.nn.functional.softplus(X, 1 / width, 1e9))


def test_the_bump_holds_its_tails_and_its_area() -> None:
    t = torch.linspace(-40, 40, 100001, dtype=D)
    assert torch.trapezoid(smoothing.bump(t, 0.7), t).item() == pytest.approx(1, abs=1e-12)
    tail = smoothing.bump(torch.tensor([60.0]), 1.0).item()  # σ(1 − σ) would be 0 in float32
    assert tail == pytest.approx(8.756510762696522e-27, rel=1e-5)


def test_a_smoothed_clamp_stays_inside_and_rises() -> None:
    y = smoothing.clamp(torch.linspace(-3, 3, 1001, dtype=D), -1, 1, 0.2)
    assert (y > -1).all() and (y < 1).all() and (y.diff() > 0).all()


@pytest.mark.parametrize("width", [0.0, 1e-3, 1.0])
def test_ties_are_shared(width: float) -> None:
    x = torch.tensor([2.0, 1.0 - 1e4, 2.0])
    assert smoothing.arg_max(x, width).tolist() == [0.5, 0, 0.5]
    assert torch.func.grad(lambda x: smoothing.largest(x, width))(x).tolist() == [0.5, 0, 0.5]


def test_the_lectures_arg_max() -> None:
    near = torch.tensor([[0.99, 1.0], [1.0, 0.99]], dtype=D)
    assert smoothing.arg_max(near).tolist() == [[0, 1], [1, 0]]  # highly discontinuous
    soft = smoothing.arg_max(near, 1.0)
    assert (soft - 0.5).abs().max() < 0.01
    torch.testing.assert_close(soft, near.exp() / near.exp().sum(-1, keepdim=True))


def test_widths_that_do_not_smooth_are_refused() -> None:
    for width in (-1.0, float("nan"), float("inf"), 1e-40):
        with pytest.raises(ChainRigError, match="does not smooth"):
            smoothing.rectifier(X, width)
    with pytest.raises(ChainRigError, match="exchange"):
        smoothing.clamp(X, 1.0, 0.0)
    with pytest.raises(ChainRigError, match="no derivative"):
        smoothing.bump(X, 0.0)
