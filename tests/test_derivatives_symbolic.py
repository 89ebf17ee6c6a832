"""What SymPy derives is what the library computes."""

import importlib.util
from pathlib import Path

import pytest
import sympy as sp
import torch

from pipeline.deform.skinning import rotation_matrix
from pipeline.derivatives import closed_form

_path = Path(__file__).parent.parent / "scripts" / "derive_symbolically.py"
_spec = importlib.util.spec_from_file_location("derive_symbolically", _path)
assert _spec is not None and _spec.loader is not None
derive_symbolically = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(derive_symbolically)

D = torch.float64


def numbers(derivation, which: str, values: list[float]) -> torch.Tensor:
    matrix = getattr(derivation, which)
    function = sp.lambdify(derivation.arguments, list(matrix), "math")
    return torch.tensor(function(*values), dtype=D).reshape(matrix.shape)


@pytest.fixture(scope="module")
def barycentrics():
    return derive_symbolically.derive_barycentrics()


@pytest.fixture(scope="module")
def rotation():
    return derive_symbolically.derive_rotation()


def test_the_short_forms_are_the_derivatives_exactly_and_cost_less(barycentrics, rotation) -> None:
    for derivation in (barycentrics, rotation):
        assert derivation.difference.is_zero_matrix
        before, after = derivation.operations
        assert after < before


@pytest.mark.parametrize("which", ["raw", "short"])
def test_barycentrics(barycentrics, which: str) -> None:
    q = torch.tensor([[3.0, 1.0], [-2.0, 0.5], [0.7, -4.0]], dtype=D)
    corners = torch.cat([q, torch.ones(3, 1, dtype=D)], -1)
    library = closed_form.barycentrics(corners, torch.zeros(2, dtype=D))[..., :2]  # the pixel is the origin
    symbolic = numbers(barycentrics, which, q.flatten().tolist())
    torch.testing.assert_close(symbolic.reshape(3, 3, 2), library)


@pytest.mark.parametrize("which", ["raw", "short"])
def test_rotation(rotation, which: str) -> None:
    v, p = torch.tensor([0.4, -1.1, 0.3], dtype=D), torch.tensor([0.2, 0.9, -0.5], dtype=D)
    s = v.square().sum()
    a, b = s.sqrt().sin() / s.sqrt(), (1 - s.sqrt().cos()) / s
    symbolic = numbers(rotation, which, [*v.tolist(), *p.tolist(), a.item(), b.item(), s.item()])
    torch.testing.assert_close(symbolic, closed_form.rotation(v, (rotation_matrix(v) @ p)[None])[0])


def test_a_wrong_sign_would_not_be_zero(barycentrics) -> None:
    assert not (barycentrics.raw + barycentrics.short).applyfunc(sp.cancel).is_zero_matrix
