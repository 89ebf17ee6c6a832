"""A Gaussian cut off at the sides of a box: against closed forms and against a fine grid."""

import math

import pytest
import torch

from pipeline.truncated_gaussian import interval_moments, moments

INF = math.inf


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("precision", "pull", "low", "high", "mean", "variance"),
    [
        (4.0, 0.0, 0.0, INF, math.sqrt(2 / math.pi) / 2, (1 - 2 / math.pi) / 4),  # half a Gaussian
        (1e-9, -4.0, 0.0, INF, 1 / 4, 1 / 16),  # exponential
        (0.0, 0.0, 0.0, 2.0, 1.0, 4 / 12),  # uniform
        (1.0, -1e6, 0.0, 1.0, 1e-6, 1e-12),  # pressed against its side
        (9.0, 18.0, -INF, INF, 2.0, 1 / 9),  # not cut at all
    ],
)
def test_one_interval(
    precision: float, pull: float, low: float, high: float, mean: float, variance: float
) -> None:
    found = interval_moments(vector(precision), vector(pull), vector(low), vector(high))
    assert [float(value) for value in found] == pytest.approx([mean, variance], rel=1e-6)


def test_without_sides_it_is_the_gaussian() -> None:
    precision = torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    mean, covariance = moments(precision, vector(1.0, -2.0), vector(-INF, -INF), vector(INF, INF))
    torch.testing.assert_close(covariance, precision.inverse())
    torch.testing.assert_close(mean, precision.inverse() @ vector(1.0, -2.0))


def test_two_correlated_coordinates_in_a_box_agree_with_a_grid() -> None:
    precision = torch.tensor([[30.0, 26.0], [26.0, 30.0]], dtype=torch.float64)  # correlation −0.87
    pull, low, high = vector(2.0, -3.0), vector(0.0, -0.1), vector(1.0, 0.9)
    mean, covariance = moments(precision, pull, low, high)

    points = [
        torch.linspace(float(a), float(b), 801, dtype=torch.float64) for a, b in zip(low, high, strict=True)
    ]
    grid = torch.cartesian_prod(*points)
    mass = ((grid @ pull) - 0.5 * ((grid @ precision) * grid).sum(-1)).exp()
    mass /= mass.sum()
    exact = (mass[:, None] * grid).sum(0)
    spread = (mass[:, None] * (grid - exact).square()).sum(0).sqrt()
    assert ((mean - exact).abs() < 0.05 * spread).all()
    assert ((covariance.diagonal().sqrt() / spread - 1).abs() < 0.05).all()
    assert covariance[0, 1] < 0


def test_a_hundred_correlated_coordinates_stay_inside_their_box() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(60, 100, generator=generator, dtype=torch.float64)
    precision = mixing.T @ mixing + 0.5 * torch.eye(100, dtype=torch.float64)
    low, high = torch.zeros(100).double(), torch.ones(100).double()
    mean, covariance = moments(precision, torch.full((100,), -4.0).double(), low, high)
    assert ((mean > 0) & (mean < 1)).all()
    assert (covariance.diagonal().sqrt() < 0.5).all()
    assert torch.linalg.eigvalsh(covariance).min() > 0


def test_a_coordinate_of_which_nothing_is_said_is_uniform_in_its_box() -> None:
    mean, covariance = moments(torch.zeros(1, 1).double(), vector(0.0), vector(-1.0), vector(3.0))
    assert float(mean) == pytest.approx(1.0, abs=1e-6)
    assert float(covariance) == pytest.approx(16 / 12, rel=1e-4)
