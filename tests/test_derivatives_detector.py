"""The library on the detector, a deep network of rectifiers; few passes, as each takes a while."""

import pytest
import torch
from torch import Tensor

from pipeline import assets
from pipeline.derivatives.automatic import jacobian, jvp
from pipeline.derivatives.dropout import GradientNoise, unit_dropout
from pipeline.derivatives.finite_differences import difference, relative_error
from pipeline.derivatives.smoothness import smoothness
from pipeline.derivatives.trust import adjoint_gap, random_direction
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.rectifier import Rectifier
from pipeline.target.photo import read_photo

D = torch.float64


@pytest.fixture(scope="module")
def detector() -> FaceMesh:
    return FaceMesh.load().double()


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """The middle of the example photo, where the face is."""
    pixels = read_photo(assets.path("example.png")).pixels.double()
    return pixels[:256, :256].clone()


def test_forward_and_reverse_mode_are_adjoint_in_float64(detector: FaceMesh, picture: Tensor) -> None:
    assert adjoint_gap(detector, picture) < 1e-9


def test_the_derivative_is_the_slope_over_a_tiny_step(detector: FaceMesh, picture: Tensor) -> None:
    """Over 1e-6 of the range; over more, the network's kinks come in."""
    d = random_direction(picture)
    slope = jvp(detector, picture, d)[1]
    best = min(relative_error(difference(detector, picture, d, h), slope) for h in (1e-6, 1e-7, 1e-8))
    assert best < 1e-5
    assert relative_error(difference(detector, picture, d, 1e-1), slope) > 0.01


def test_rows_by_name_are_vjps(detector: FaceMesh, picture: Tensor) -> None:
    J = jacobian(detector, picture, rows={"landmark": [1], "xyz": ["x", "y"]})
    assert J.values.shape == (1, 2, 256, 256, 3)
    d = random_direction(picture)
    torch.testing.assert_close(
        torch.einsum("abhwc,hwc->ab", J.values, d),
        jvp(detector, picture, d)[1][[1], :2],
        atol=1e-9,
        rtol=1e-9,
    )


def test_between_two_pictures_it_has_kinks_that_second_derivatives_do_not_see(
    detector: FaceMesh, picture: Tensor
) -> None:
    single = detector.float()
    found = smoothness(single, picture.float(), random_direction(picture).float(), length=0.02, intervals=2)
    detector.double()
    assert found.first < 0.3
    assert found.second > 0.9


def test_dropping_units_scatters_the_gradient(detector: FaceMesh, picture: Tensor) -> None:
    samples = unit_dropout(
        detector.float(), lambda y: y[1, 0], picture.float(), (Rectifier,), rate=0.002, samples=3
    )
    detector.double()
    noise = GradientNoise.of(samples.flatten(1))
    assert noise.spread.norm() > 0.01 * noise.mean.norm()
    assert samples.isfinite().all()
