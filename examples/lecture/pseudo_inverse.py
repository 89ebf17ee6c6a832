"""The derivative of a least-squares solve c = A⁺b: differentiate the right thing.

    python examples/lecture/pseudo_inverse.py

Three ways to ∂c/∂A of the same c: through the code of an SVD, through the code of the power method, and by
the closed form of the pseudo-inverse's derivative, which needs A⁺ and does not care where it came from.
"""

import torch
from torch import Tensor

from pipeline.derivatives.pseudo_inverse import by_power_method, least_squares

generator = torch.Generator().manual_seed(0)
u = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64)).Q
v = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
b, weights = torch.randn(6, generator=generator).double(), torch.randn(3, generator=generator).double()


def through_the_svd(A: Tensor) -> Tensor:
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    return Vh.mT @ ((U.mT @ b) / S)


def through_the_power_method(A: Tensor) -> Tensor:
    return by_power_method(A, rank=3, iterations=30) @ b


def in_closed_form(A: Tensor) -> Tensor:
    return least_squares(A, b, lambda A: by_power_method(A, rank=3, iterations=300))


def slope(A: Tensor) -> Tensor:
    """∂(weights · c)/∂A by central differences of numpy-grade least squares."""
    h, rows = 1e-6, []
    for unit in torch.eye(A.numel(), dtype=A.dtype).unflatten(-1, A.shape):
        ahead, behind = (torch.linalg.lstsq(A + s * h * unit, b[:, None]).solution[:, 0] for s in (1, -1))
        rows.append(weights @ (ahead - behind) / (2 * h))
    return torch.stack(rows).reshape(A.shape)


print("relative error of the derivative, for singular values 2, 1 + gap, 1:")
print("gap        SVD code   power code  closed form")
for gap in (0.5, 1e-2, 1e-6, 0.0):
    A = (u * torch.tensor([2.0, 1 + gap, 1.0], dtype=torch.float64)) @ v.mT
    truth = slope(A)
    errors = []
    for way in (through_the_svd, through_the_power_method, in_closed_form):
        found = torch.func.grad(lambda A, way=way: weights @ way(A))(A)
        errors.append(float((found - truth).norm() / truth.norm()))
    print(f"{gap:<10.0e} " + "  ".join(f"{error:10.1e}" for error in errors))
