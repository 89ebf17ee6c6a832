"""Stable neo-Hookean tetrahedra: the formulas, and the compiled kernels held to them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.deform.quasistatic import elements
from pipeline.deform.quasistatic.neo_hookean import Elasticity, cofactor, determinant, energy_density, stress

MATERIAL = Elasticity.of_moduli(2.0, 0.4)
CONSTANTS = MATERIAL.mu, MATERIAL.lam, MATERIAL.alpha
TETS = np.array([[0, 1, 2, 3], [4, 2, 1, 3]])


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(F: Tensor) -> Tensor:
    F = F.clone().requires_grad_()
    return torch.autograd.grad(energy_density(F, MATERIAL).sum(), F)[0]


def test_stress_is_the_slope_of_the_energy_also_for_inverted_flat_and_vanished_elements() -> None:
    flat = some(1, 3, 3) * torch.tensor([1.0, 1.0, 0.0])
    F = torch.cat([some(20, 3, 3), -torch.eye(3)[None].double(), flat, torch.zeros(1, 3, 3).double()])
    assert (determinant(F) < 0).any() and (determinant(F) > 0).any()
    torch.testing.assert_close(stress(F, MATERIAL), gradients(F))
    torch.testing.assert_close(cofactor(F[:20]), determinant(F[:20])[:, None, None] * F[:20].inverse().mT)


def test_rest_and_rotations_are_free_of_stress_and_energy() -> None:
    rotation = torch.linalg.qr(some(3, 3)).Q
    rotation = rotation * rotation.det()
    for F in (torch.eye(3, dtype=torch.float64), rotation):
        assert stress(F, MATERIAL).abs().max() < 1e-14
        assert abs(float(energy_density(F, MATERIAL))) < 1e-14


def test_small_strains_follow_hookes_law_of_the_moduli() -> None:
    young, poisson, d = 2.0, 0.4, some(3, 3)
    rest = torch.eye(3, dtype=torch.float64)
    change = torch.func.jvp(lambda F: stress(F, MATERIAL), (rest,), (d,))[1]
    strain = (d + d.mT) / 2
    mu, lam = young / (2 * (1 + poisson)), young * poisson / ((1 + poisson) * (1 - 2 * poisson))
    torch.testing.assert_close(change, 2 * mu * strain + lam * strain.trace() * rest)


def total(p: Tensor, b: np.ndarray, volume: np.ndarray) -> Tensor:
    F = p[torch.from_numpy(TETS)].mT @ torch.from_numpy(b)
    return (torch.from_numpy(volume) * energy_density(F, MATERIAL)).sum()


def hessian(p: Tensor, b: np.ndarray, volume: np.ndarray, projected: bool) -> np.ndarray:
    blocks = np.zeros((25, 3, 3))
    places = TETS[:, :, None] * 5 + TETS[:, None, :]
    elements.add_hessian(p.numpy(), TETS, b, volume, *CONSTANTS, projected, places, blocks)
    return blocks.reshape(5, 5, 3, 3).transpose(0, 2, 1, 3).reshape(15, 15)


@pytest.mark.parametrize("seed", range(4))
def test_compiled_kernels_are_the_formulas(seed: int) -> None:
    rest, p = some(5, 3, seed=seed), some(5, 3, seed=seed + 9)  # inverted as often as not
    b, volume = elements.hat_gradients(rest.numpy(), TETS)
    volume = np.abs(volume)
    arguments = p.numpy(), TETS, b, volume, *CONSTANTS
    assert elements.energy(*arguments) == pytest.approx(float(total(p, b, volume)))
    slope = torch.func.grad(total)(p, b, volume)
    np.testing.assert_allclose(elements.gradient(*arguments), slope, atol=1e-11)
    curvature = torch.func.hessian(total)(p, b, volume).reshape(15, 15)
    np.testing.assert_allclose(
        hessian(p, b, volume, False), curvature, atol=1e-9 * float(curvature.abs().max())
    )


@pytest.mark.parametrize("seed", range(4))
def test_projected_elements_have_no_negative_eigenvalue_and_drop_nothing_else(seed: int) -> None:
    rest, p = some(5, 3, seed=seed), some(5, 3, seed=seed + 9)
    b, volume = elements.hat_gradients(rest.numpy(), TETS)
    volume = np.abs(volume) * [1.0, 0.0]  # one element: of a sum, the projection is not the sum's
    true, projected = (hessian(p, b, volume, flag) for flag in (False, True))
    largest = np.abs(true).max()
    assert np.linalg.eigvalsh(true)[0] < -1e-3 * largest
    assert np.linalg.eigvalsh(projected)[0] > -1e-12 * largest
    assert np.linalg.eigvalsh(projected - true)[0] > -1e-12 * largest
    stretched = torch.from_numpy(1.02 * rest.numpy())  # convex there: nothing to project
    true, projected = (hessian(stretched, b, volume, flag) for flag in (False, True))
    np.testing.assert_allclose(projected, true, atol=1e-9 * np.abs(true).max())
