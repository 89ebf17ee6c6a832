"""Steps and kinks, and smooth functions that become them as their width goes to zero.

| function | with width w > 0 | its derivative |
|---|---|---|
| `heaviside`: 1 for x ≥ 0, else 0 | σ(x/w), the sigmoid | σ(1 − σ)/w |
| `sign` | 2σ(x/w) − 1 = tanh(x/2w) | 2σ(1 − σ)/w |
| `rectifier`: max(x, 0) | w log(1 + exp(x/w)), softplus | σ(x/w) |
| `leaky_rectifier` | a x + (1 − a) softplus | a + (1 − a) σ(x/w) |
| `clamp` between a and b | a + softplus(x − a) − softplus(x − b) | σ((x − a)/w) − σ((x − b)/w) |
| `arg_max`: 1 for the largest, else 0 | softmax(x/w) | (diag p − p pᵀ)/w |
| `largest`, `maximum`, `minimum` | w log Σ exp(x_i/w) | softmax(x/w) |

A smoothed kink is off by at most w log 2 (`largest` of n: w log n), and only within a few w of it. Width 0
is the sharp function, with a derivative of zero at steps and one of the two slopes at kinks.

Nothing here overflows or divides 0 by 0, also in float32 at |x| = 1e4 with w = 1e-30: exponents are never
positive, and derivatives are the closed forms above, not what differentiating a formula term by term leaves
of them. Both modes of differentiation, every order, vmap.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ChainRigError

SMALLEST_WIDTH = 1e-30  # 1 / width, and its product with 1e4, are finite in float32


class _WithSlope(torch.autograd.Function):
    """A function of one number with its derivative in closed form, itself such a function."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Tensor:
        return value(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, _, ctx.slope = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return grad * ctx.slope(ctx.saved_tensors[0]), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:  # type: ignore[override]
        return tangent * ctx.slope(ctx.saved_tensors[0])


def _with_slope(x: Tensor, value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Tensor:
    return _WithSlope.apply(x, value, slope)  # type: ignore[return-value]


def heaviside(x: Tensor, width: float = 0.0) -> Tensor:
    """1 for x ≥ 0, else 0; smoothed, the sigmoid σ(x/w), which is ½ at 0."""
    width = _checked(width)
    if width == 0:
        return _with_slope(x, lambda x: (x >= 0).to(x.dtype), torch.zeros_like)
    return _with_slope(x, lambda x: torch.sigmoid(x / width), lambda x: bump(x, width))


def bump(x: Tensor, width: float) -> Tensor:
    """The derivative of the smoothed Heaviside function: σ(1 − σ)/w, of integral 1 and height 1/4w."""
    width = _checked(width)
    if width == 0:
        raise ChainRigError("A step has no derivative: give its smoothing a width above 0.")

    def value(x: Tensor) -> Tensor:
        decay = torch.exp(-(x / width).abs())  # in (0, 1], so that neither tail cancels
        return decay / (1 + decay).square() / width

    return _with_slope(x, value, lambda x: -bump(x, width) * torch.tanh(x / width / 2) / width)


def sign(x: Tensor, width: float = 0.0) -> Tensor:
    """−1, 0 or 1; smoothed, tanh(x/2w)."""
    width = _checked(width)
    if width == 0:
        return _with_slope(x, torch.sign, torch.zeros_like)
    return _with_slope(x, lambda x: torch.tanh(x / width / 2), lambda x: 2 * bump(x, width))


def rectifier(x: Tensor, width: float = 0.0) -> Tensor:
    """max(x, 0); smoothed, softplus w log(1 + exp(x/w)), which is w log 2 at 0."""
    width = _checked(width)
    if width == 0:
        return _with_slope(x, lambda x: x.clamp(min=0), heaviside)
    return _with_slope(x, lambda x: x.clamp(min=0) + _rounding(x, width), lambda x: heaviside(x, width))


def leaky_rectifier(x: Tensor, slope: float = 0.01, width: float = 0.0) -> Tensor:
    """x for x > 0, slope·x below; smoothed in its kink only."""
    return slope * x + (1 - slope) * rectifier(x, width)


def maximum(a: Tensor, b: Tensor, width: float = 0.0) -> Tensor:
    """The larger of two; smoothed, w log(exp(a/w) + exp(b/w))."""
    return largest(torch.stack(torch.broadcast_tensors(a, b), -1), width)


def minimum(a: Tensor, b: Tensor, width: float = 0.0) -> Tensor:
    """The smaller of two; smoothed, −w log(exp(−a/w) + exp(−b/w))."""
    return -maximum(-a, -b, width)


def clamp(x: Tensor, low: float, high: float, width: float = 0.0) -> Tensor:
    """x kept between low and high; smoothed in both kinks, it stays strictly in between and rises everywhere.

    Raises:
        ChainRigError: low > high.
    """
    width = _checked(width)
    if not low <= high:
        raise ChainRigError(f"There is nothing between {low} and {high}: exchange them.")

    def value(x: Tensor) -> Tensor:
        sharp = x.clamp(low, high)
        return sharp if width == 0 else sharp + _rounding(x - low, width) - _rounding(x - high, width)

    return _with_slope(x, value, lambda x: heaviside(x - low, width) - heaviside(x - high, width))


def arg_max(x: Tensor, width: float = 0.0, dim: int = -1) -> Tensor:
    """1 for the largest entry, else 0; equal shares where several are largest. Smoothed, softmax(x/w)."""
    width = _checked(width)
    if width > 0:
        below = x - x.amax(dim, keepdim=True).detach()  # ≤ 0: no exponential overflows
        return torch.softmax(below / width, dim)

    def shares(x: Tensor) -> Tensor:
        winners = (x == x.amax(dim, keepdim=True)).to(x.dtype)
        return winners / winners.sum(dim, keepdim=True)

    return _with_slope(x, shares, torch.zeros_like)


def largest(x: Tensor, width: float = 0.0, dim: int = -1) -> Tensor:
    """max_i x_i; smoothed, w log Σ exp(x_i/w). Its derivative is `arg_max` of the same width."""
    width = _checked(width)
    if width == 0:
        return x.amax(dim)  # torch gives equal shares, too
    top = x.amax(dim, keepdim=True).detach()
    return width * torch.exp((x - top) / width).sum(dim).log() + top.squeeze(dim)


def soft_argmax(scores: Tensor, coordinates: Tensor, width: float = 0.0) -> Tensor:
    """Where the largest score is: Σ_i p_i c_i with p = arg_max(scores, width).

    Args:
        scores: `(*B, N)`.
        coordinates: `(N, D)`.

    Returns:
        `(*B, D)`.
    """
    return arg_max(scores, width) @ coordinates


def _rounding(x: Tensor, width: float) -> Tensor:
    """What softplus adds to the rectifier: w log(1 + exp(−|x|/w)), at most w log 2."""
    return width * torch.log1p(torch.exp(-(x / width).abs()))


def _checked(width: float) -> float:
    if not (width == 0 or SMALLEST_WIDTH <= width < float("inf")):
        raise ChainRigError(f"A width of {width} does not smooth: give 0, or {SMALLEST_WIDTH:.0e} or more.")
    return float(width)
