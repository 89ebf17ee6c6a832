"""The lecture's h = f/g: a line that divides 0 by 0 at t = 2."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pipeline.derivatives.removable import quotient

D = torch.float64


def f(t: Tensor) -> Tensor:
    return t**2 - 4


def g(t: Tensor) -> Tensor:
    return t - 2


def value_and_slope(h, t: Tensor) -> tuple[Tensor, Tensor]:
    return torch.func.jvp(h, (t,), (torch.ones_like(t),))[:2]


def test_dividing_as_it_stands_gives_nan_and_an_epsilon_a_wrong_number() -> None:
    two = torch.tensor([2.0], dtype=D)
    assert all(x.isnan().all() for x in value_and_slope(lambda t: f(t) / g(t), two))
    # The value comes out 0 where it is 4, and the slope 4/ε where it is 1; and all around, no better.
    value, slope = value_and_slope(lambda t: f(t) / (g(t) + 1e-6), two)
    assert value == 0 and slope > 1e6
    value, slope = value_and_slope(lambda t: f(t) * g(t) / (g(t) ** 2 + 1e-6), two + 1e-5)
    assert value < 1e-3


@pytest.mark.parametrize("dtype, allowed", [(torch.float32, 2e-6), (D, 1e-14)])
def test_the_quotient_is_the_line_everywhere(dtype: torch.dtype, allowed: float) -> None:
    t = torch.tensor([2.0, 2 + 1e-7, 2 - 1e-3, 2.5, 1.0, 3.0, -4.0, 1e4], dtype=dtype)
    value, slope = value_and_slope(lambda t: quotient(f, g, t, root=2.0), t)
    torch.testing.assert_close(value, t + 2, atol=allowed, rtol=allowed)
    torch.testing.assert_close(slope, torch.ones_like(t), atol=10 * allowed, rtol=0)


def test_both_modes_and_second_derivatives_across_the_root_and_the_radius() -> None:
    t = torch.tensor([0.0, 1e-9, 0.3, -0.999, 1.001], dtype=D).requires_grad_()

    def sinc(t: Tensor) -> Tensor:
        return quotient(torch.sin, lambda t: t, t, root=0.0)

    assert gradcheck(sinc, t, check_forward_ad=True)
    assert gradgradcheck(sinc, t)
    assert torch.func.hessian(lambda t: sinc(t).sum())(t.detach())[0, 0].item() == pytest.approx(-1 / 3)


def test_a_quotient_that_meets_its_limit_only() -> None:
    """(1 − cos t)/t² is 0/0 twice over: the root is taken out once on either side."""
    half = quotient(lambda t: 1 - torch.cos(t), lambda t: t * t.exp(), torch.zeros(1, dtype=D), root=0.0)
    assert half.item() == 0
    third = quotient(lambda t: t.exp() - 1, torch.sin, torch.tensor([0.0, 1e-12], dtype=D), root=0.0)
    assert third.tolist() == pytest.approx([1, 1 + 0.5e-12])
    assert math.isfinite(third[1].item())
