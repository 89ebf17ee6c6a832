"""Least squares through A⁺: its derivative in closed form, where a decomposition's has none."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from pipeline.derivatives.automatic import jacobian
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.pseudo_inverse import by_power_method, by_svd, least_squares, pseudo_inverse

D = torch.float64


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def spread(m: int, n: int, values: list[float]) -> Tensor:
    """A matrix with these singular values."""
    u, v = torch.linalg.qr(some(m, m)).Q, torch.linalg.qr(some(n, n, seed=1)).Q
    return u[:, : len(values)] @ torch.tensor(values, dtype=D).diag() @ v[:, : len(values)].mT


def by_power(A: Tensor) -> Tensor:
    return by_power_method(A, min(A.shape[-2:]), 100)


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (2, 4)])
@pytest.mark.parametrize("method", [by_svd, by_power])
def test_in_both_modes_for_tall_square_and_wide(shape: tuple[int, int], method: Any) -> None:
    A = spread(*shape, [3.0, 1.5, 0.7][: min(shape)]).requires_grad_()
    assert gradcheck(lambda A: pseudo_inverse(A, method), A, check_forward_ad=True)


def test_vmap_goes_through_the_black_box() -> None:
    A = some(5, 3, 2)
    mapped = torch.func.vmap(lambda A: pseudo_inverse(A, by_power))(A)
    torch.testing.assert_close(mapped, torch.linalg.pinv(A))
    J = torch.func.vmap(torch.func.jacrev(lambda A: pseudo_inverse(A, by_power)))(A)
    torch.testing.assert_close(J[3], torch.func.jacfwd(pseudo_inverse)(A[3]))


def test_second_derivatives_and_batches() -> None:
    A = some(2, 3, 2).requires_grad_()
    assert gradcheck(pseudo_inverse, A, check_forward_ad=True)
    assert gradgradcheck(pseudo_inverse, A)


def test_least_squares_is_what_lstsq_finds_and_its_derivative_by_b_is_the_pseudo_inverse() -> None:
    A, b = some(6, 3), some(6, seed=1)
    torch.testing.assert_close(least_squares(A, b), torch.linalg.lstsq(A, b[:, None]).solution[:, 0])
    layer = FunctionLayer(lambda b: least_squares(A, b), ("b",), ("c",))
    torch.testing.assert_close(jacobian(layer, b).matrix, torch.linalg.pinv(A))
    assert gradcheck(least_squares, (A.requires_grad_(), b.requires_grad_()), check_forward_ad=True)


def test_along_changes_that_keep_the_rank_a_rank_deficient_matrix_has_a_derivative_too() -> None:
    """A = U Vᵀ of rank 2 in 4 × 3: moved along U and V, A⁺ moves as the closed form says."""
    U, V, dU, dV = some(4, 2), some(3, 2, seed=1), some(4, 2, seed=2), some(3, 2, seed=3)

    def inverse(t: float) -> Tensor:
        return torch.linalg.pinv((U + t * dU) @ (V + t * dV).mT, rtol=1e-10)

    A, dA = U @ V.mT, dU @ V.mT + U @ dV.mT
    found = torch.func.jvp(lambda A: pseudo_inverse(A, lambda A: by_svd(A, 1e-10)), (A,), (dA,))[1]
    torch.testing.assert_close(found, (inverse(1e-5) - inverse(-1e-5)) / 2e-5, atol=1e-7, rtol=1e-7)


def through_the_decomposition(A: Tensor) -> Tensor:
    """A⁺ written out of an SVD and differentiated as written."""
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    return Vh.mT @ (U / S).mT


def test_equal_singular_values_break_the_decomposition_and_not_the_closed_form() -> None:
    A = spread(4, 3, [2.0, 1.0, 1.0])
    weights = some(3, 4, seed=5)
    closed = torch.func.grad(lambda A: (weights * pseudo_inverse(A)).sum())(A)
    h, d = 1e-6, some(4, 3, seed=6)
    slope = (weights * (torch.linalg.pinv(A + h * d) - torch.linalg.pinv(A - h * d))).sum() / (2 * h)
    assert (closed * d).sum().item() == pytest.approx(slope.item(), rel=1e-7)

    exactly = torch.diag_embed(torch.tensor([2.0, 1.0, 1.0], dtype=D))
    broken = torch.func.grad(lambda A: (weights[:, :3] * through_the_decomposition(A)).sum())(exactly)
    assert not broken.isfinite().all()
    assert torch.func.grad(lambda A: (weights[:, :3] * pseudo_inverse(A)).sum())(exactly).isfinite().all()


def test_the_power_method_finds_the_pseudo_inverse_and_leaves_weak_directions_out() -> None:
    A = spread(6, 4, [5.0, 2.0, 1.0, 1e-9])
    torch.testing.assert_close(by_power_method(A, 3), torch.linalg.pinv(A, rtol=1e-6), atol=1e-9, rtol=1e-9)
    assert by_power_method(A, 3).abs().max() < 10 < torch.linalg.pinv(A).abs().max()


def test_float32() -> None:
    A = spread(4, 3, [2.0, 1.0, 0.5]).float()
    single = torch.func.jacrev(pseudo_inverse)(A)
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), torch.func.jacrev(pseudo_inverse)(A.double()), atol=1e-4, rtol=1e-4
    )
