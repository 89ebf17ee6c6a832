"""An arrow matrix behaves as its dense twin, and one identity over several photos is found."""

import pytest
import torch
from solve_problems import random
from torch import Tensor

from pipeline.solve.block_arrow import BlockArrow, joined, solve_box_arrow
from pipeline.solve.box_qp import solve_box_qp

PHOTOS, SHARED, OWN = 4, 5, 3
IS_SHARED = torch.tensor([False, True, True, False, True, True, True, False])
BATCHES = [(), (2,), (2, 3)]


def arrow(*batch: int) -> tuple[BlockArrow, Tensor]:
    """And the dense Jacobian of all photos, `(*B, n M, S + n O)`."""
    jacobian = random(*batch, PHOTOS, 9, SHARED + OWN, seed=1)
    dense = torch.zeros(*batch, PHOTOS, 9, SHARED + PHOTOS * OWN, dtype=torch.float64)
    dense[..., :SHARED] = jacobian[..., IS_SHARED]
    for i in range(PHOTOS):
        dense[..., i, :, SHARED + i * OWN : SHARED + (i + 1) * OWN] = jacobian[..., i, :, ~IS_SHARED]
    return BlockArrow.of_jacobians(jacobian, IS_SHARED), dense.flatten(-3, -2)


@pytest.mark.parametrize("batch", BATCHES)
def test_it_is_the_normal_matrix_of_all_photos(batch: tuple[int, ...]) -> None:
    made, jacobian = arrow(*batch)
    expected = jacobian.mT @ jacobian
    assert torch.allclose(made.dense(), expected)
    assert torch.allclose(made.diagonal(), expected.diagonal(dim1=-2, dim2=-1))
    d = random(*batch, expected.shape[-1], seed=2)
    assert torch.allclose(made.product(d), (expected @ d[..., None]).squeeze(-1))


@pytest.mark.parametrize("batch", BATCHES)
def test_the_schur_complement_solves_it(batch: tuple[int, ...]) -> None:
    made, _ = arrow(*batch)
    right = random(*batch, SHARED + PHOTOS * OWN, seed=3)
    assert torch.allclose(made.solve(right), torch.linalg.solve(made.dense(), right), atol=1e-10)


def test_the_priors_curvature_is_added() -> None:
    jacobian, roots = random(PHOTOS, 9, 8, seed=1), random(PHOTOS, 3, 8, seed=4)
    curvature = BlockArrow.of_jacobians(roots, IS_SHARED).dense()
    with_prior = BlockArrow.of_jacobians(jacobian, IS_SHARED, curvature)
    without = BlockArrow.of_jacobians(jacobian, IS_SHARED)
    assert torch.allclose(with_prior.dense(), without.dense() + curvature)


def test_split_and_joined_are_inverse() -> None:
    made, _ = arrow()
    flat = random(3, SHARED + PHOTOS * OWN, seed=5)
    shared, own = made.split(flat)
    assert shared.shape == (3, SHARED) and own.shape == (3, PHOTOS, OWN)
    assert torch.equal(joined(shared, own), flat)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_over_a_box_it_is_the_dense_solution(batch: tuple[int, ...], damping: float) -> None:
    made, _ = arrow(*batch)
    size = SHARED + PHOTOS * OWN
    gradient, low = 20 * random(*batch, size, seed=6), -random(*batch, size, seed=7).abs()
    high = random(*batch, size, seed=8).abs()
    low[..., 2] = high[..., 2] = 0.0  # a control that is held
    low[..., 7] = -torch.inf
    hessian = made.dense()
    hessian = hessian + damping * hessian.diagonal(dim1=-2, dim2=-1).diag_embed()
    found = solve_box_arrow(made, gradient, low, high, damping)
    assert torch.allclose(found, solve_box_qp(hessian, gradient, low, high), atol=1e-9)
    assert 0 < int(((found == low) | (found == high)).sum()) < found.numel()


def test_one_identity_is_found_from_several_photos() -> None:
    """Each photo alone leaves the identity to noise; all together tell it."""
    shared, own = random(SHARED, seed=9), random(PHOTOS, OWN, seed=10)
    jacobian = random(PHOTOS, 9, 8, seed=11)
    jacobian[..., IS_SHARED] *= 0.05  # hardly seen in one photo
    x = torch.zeros(PHOTOS, 8, dtype=torch.float64)
    x[:, IS_SHARED], x[:, ~IS_SHARED] = shared, own
    seen = torch.einsum("nmk,nk->nm", jacobian, x)
    made = BlockArrow.of_jacobians(jacobian, IS_SHARED)
    pulled = torch.einsum("nmk,nm->nk", jacobian, seen)
    right = joined(pulled[:, IS_SHARED].sum(0), pulled[:, ~IS_SHARED])
    found, of_photos = made.split(made.solve(right))
    assert torch.allclose(found, shared, atol=1e-8) and torch.allclose(of_photos, own, atol=1e-8)
