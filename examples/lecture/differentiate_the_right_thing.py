"""c from A c = b by conjugate gradients: the derivative of the solution, and that of the iterations.

python examples/lecture/differentiate_the_right_thing.py [FOLDER]
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from pipeline.derivatives.drawing import Curve, chart
from pipeline.derivatives.implicit import solve_linear

N, CONDITION = 40, 1e3
generator = torch.Generator().manual_seed(0)
basis = torch.linalg.qr(torch.randn(N, N, generator=generator, dtype=torch.float64)).Q
A = (
    basis
    @ torch.logspace(0, torch.tensor(CONDITION).log10().item(), N, dtype=torch.float64).diag()
    @ basis.mT
)
b, weights = (torch.randn(N, generator=generator, dtype=torch.float64) for _ in range(2))


def conjugate_gradients(A: Tensor, b: Tensor, iterations: int) -> Tensor:
    c, r, p = torch.zeros_like(b), b, b
    for _ in range(iterations):
        Ap = A @ p
        step = (r @ r) / (p @ Ap)
        c, after = c + step * p, r - step * Ap
        p, r = after + (after @ after) / (r @ r) * p, after
    return c


exact = torch.linalg.solve(A, weights)  # ∂(weights · c)/∂b = A⁻ᵀ weights
solution = torch.linalg.solve(A, b)
counts = list(range(2, 81, 2))
values, unrolled, implicit = [], [], []
for k in counts:
    c = conjugate_gradients(A, b, k)
    through = torch.func.grad(lambda b, k=k: weights @ conjugate_gradients(A, b, k))(b)
    around = torch.func.grad(
        lambda b, k=k: weights @ solve_linear(A, b, lambda A, b: conjugate_gradients(A, b, k))
    )(b)
    values.append(float((c - solution).norm() / solution.norm()))
    unrolled.append(float((through - exact).norm() / exact.norm()))
    implicit.append(float((around - exact).norm() / exact.norm()))

print("iterations   error of c   of its derivative: unrolled   implicit")
for i in range(4, len(counts), 5):
    print(f"{counts[i]:10}   {values[i]:10.1e}   {unrolled[i]:26.1e}   {implicit[i]:8.1e}")

if len(sys.argv) > 1:
    curves = [
        Curve("the solution itself", counts, values),
        Curve("derivative, unrolled", counts, unrolled),
        Curve("derivative, implicit", counts, implicit),
    ]
    title = f"Conjugate gradients, condition {CONDITION:.0f}"
    svg = chart(curves, title, "iterations", "relative error", log_x=False)
    Path(sys.argv[1], "unrolling.svg").write_text(svg, "utf-8")
