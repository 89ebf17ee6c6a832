"""Quotients that are 0/0 at a known point and perfectly smooth there.

h = f/g with f(a) = g(a) = 0, g′(a) ≠ 0 has a removable singularity at a: h(a) = f′(a)/g′(a). The code that
computes f and g apart and divides cannot know that. A small ε added to the denominator makes h(a) = 0, with
a derivative out of nowhere all around a: a wrong answer in place of none.

By Hadamard's lemma f(t) = (t − a) F(t) with F(t) = ∫₀¹ f′(a + s (t − a)) ds, a smooth function; so h = F/G,
in which nothing vanishes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
_POINTS = 16  # exact for polynomials up to degree 31


def quotient(f: Function, g: Function, t: Tensor, root: float, radius: float = 1.0) -> Tensor:
    """f(t)/g(t), with its value and derivatives at the common root and near it.

    Args:
        f, g: functions of one number, elementwise, smooth within `radius` of the root.
        t: of any shape.
        root: where both are zero.
        radius: from here on f is divided by g as usual.

    Returns:
        Of the shape of t; differentiable in both modes, to every order.
    """
    near = (t - root).abs() < radius
    inside = torch.where(near, t, torch.full_like(t, root))
    outside = torch.where(near, torch.full_like(t, root + radius), t)
    return torch.where(
        near, _mean_slope(f, inside, root) / _mean_slope(g, inside, root), f(outside) / g(outside)
    )


def _mean_slope(f: Function, t: Tensor, root: float) -> Tensor:
    """∫₀¹ f′(root + s (t − root)) ds by Gauss–Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    s, w = (t.new_tensor(v).reshape(-1, *(1 for _ in t.shape)) for v in ((nodes + 1) / 2, weights / 2))
    slope = torch.func.grad(lambda t: f(t).sum())(root + s * (t - root))
    return (w * slope).sum(0)
