"""Binary classification by a smoothed Heaviside penalty: the lecture's soft margin.

    python examples/lecture/soft_margin.py

Minimise ½ cᵀc subject to g_i(c, b) = y_i (cᵀx_i − b) − 1 ≥ 0. Each constraint becomes a penalty −H(−g_i) g_i,
zero where it holds. H has no useful derivative; smoothed to a sigmoid of width w it has all of them, so
Newton's method applies. The width is then narrowed step by step, each time from the last solution.
"""

import torch
from torch import Tensor

from pipeline.derivatives.second_order import gradient, hessian
from pipeline.derivatives.smoothing import heaviside

generator = torch.Generator().manual_seed(1)
away = torch.tensor([1.6, 1.0], dtype=torch.float64)
x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
y = torch.cat([torch.ones(20), -torch.ones(20)]).double()
x = x + y[:, None] * away
WEIGHT = 10.0  # how much a violated constraint matters


def constraints(unknowns: Tensor) -> Tensor:
    """g `(*B, 40)` of (c, b) `(*B, 3)`."""
    c, b = unknowns[..., :2], unknowns[..., 2:]
    return y * (c @ x.mT - b) - 1


def objective(unknowns: Tensor, width: float) -> Tensor:
    """`(*B, 3)` → `(*B,)`."""
    g = constraints(unknowns)
    penalty = -(heaviside(-g, width) * g).sum(-1)
    return 0.5 * unknowns[..., :2].square().sum(-1) + WEIGHT * penalty


def minimise(unknowns: Tensor, width: float) -> Tensor:
    """Newton's method, damped where the Hessian is not positive, with step halving."""
    for _ in range(100):
        slope = gradient(lambda u: objective(u, width), unknowns)
        H = hessian(lambda u: objective(u, width), unknowns)
        values, vectors = torch.linalg.eigh(0.5 * (H + H.mT))
        step = -vectors @ ((vectors.mT @ slope) / values.abs().clamp(min=1e-6))
        value, size = objective(unknowns, width), 1.0
        while objective(unknowns + size * step, width) > value and size > 1e-9:
            size /= 2
        unknowns = unknowns + size * step
        if slope.norm() < 1e-9 or size <= 1e-9:
            break
    return unknowns


unknowns = torch.tensor([0.1, 0.1, 0.0], dtype=torch.float64)
sharp = gradient(lambda u: heaviside(-constraints(u)).sum(-1), unknowns)
print("the number of violated constraints has the derivative", sharp.tolist())
for width in (1.0, 0.3, 0.1, 0.03, 0.01):
    unknowns = minimise(unknowns, width)
    g = constraints(unknowns)
    margin = 1 / unknowns[:2].norm()
    print(
        f"width {width:4}: margin {margin:.3f}, {int((g < -1).sum())} of 40 misclassified, "
        f"{int((g < -1e-3).sum())} inside the margin"
    )
