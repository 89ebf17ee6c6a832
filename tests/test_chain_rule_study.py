"""The study of docs/chain-rule.md measures what it says: softened networks, draws, and slopes."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline import assets
from pipeline.derivatives import automatic
from pipeline.detect.facemesh import FaceMesh
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import chain_rule_network as soft  # noqa: E402  # pyright: ignore[reportMissingImports]
from chain_rule_derivatives import jitters, scales, shifts  # noqa: E402  # pyright: ignore[reportMissingImports]
from chain_rule_slopes import Move, judged  # noqa: E402  # pyright: ignore[reportMissingImports]


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """`(256, 256, 3)` float64: a face."""
    photo = read_photo(assets.path("example.png"))
    left, top = (int(value) for value in find_faces(photo.pixels)[0].box[:2])
    return (photo.pixels[top : top + 256, left : left + 256] / 255).double()


def direction(picture: Tensor) -> Tensor:
    """A smooth change of it: brighter to one side."""
    return torch.linspace(-1, 1, 256).double()[None, :, None] * torch.ones_like(picture)


def test_soft_pools_leave_the_value_and_both_modes_agree(picture: Tensor) -> None:
    plain, pooled = FaceMesh.load().double(), soft.detector(0.0, pool=0.3).double()
    d = direction(picture)
    value, moved = automatic.jvp(pooled, picture, d)
    assert torch.allclose(value, plain(picture), atol=1e-9)
    assert float((moved - automatic.jvp(plain, picture, d)[1]).norm() / moved.norm()) > 0.02
    g = torch.ones_like(moved)
    pulled = automatic.vjp(pooled, picture)[1](g)
    assert abs(float((pulled * d).sum() / (g * moved).sum()) - 1) < 1e-9


def test_a_narrow_pool_is_the_network_itself(picture: Tensor) -> None:
    d = direction(picture)
    plain, pooled = FaceMesh.load().double(), soft.detector(0.0, pool=1e-7).double()
    sharp = automatic.jvp(plain, picture, d)[1]
    apart = automatic.jvp(pooled, picture, d)[1] - sharp
    assert apart.norm() < 0.01 * sharp.norm()  # even backgrounds have ties, which a soft pool shares out


def test_a_smooth_network_keeps_its_slope_over_a_step(picture: Tensor) -> None:
    d, h = direction(picture), 0.01

    def gap(network: FaceMesh) -> float:
        slope = automatic.jvp(network, picture, d)[1]
        step = (network(picture + h * d) - network(picture)) / h
        return float((step - slope).norm() / step.norm())

    smooth = soft.smooth_detector(0.1, picture.float()).double()
    assert gap(smooth) < 0.5 * gap(FaceMesh.load().double())


def test_draws_are_centred() -> None:
    assert max(abs(side) for draw in shifts(8, 1.0) for side in draw.shift) <= 1
    assert abs(sum(draw.shift[0] for draw in shifts(64, 1.0))) / 64 < 0.05
    assert abs(sum(draw.scale for draw in scales(4, 0.02)) / 4 - 1) < 1e-12
    assert [(draw.jitter, draw.seed) for draw in jitters(4, 0.5)] == [
        (0.5, 0),
        (-0.5, 0),
        (0.5, 1),
        (-0.5, 1),
    ]


def test_slopes_are_judged_by_direction_and_length() -> None:
    columns = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    here = columns.sum(1)
    made = [
        Move("c", "", large, k, 0.1 * (1 + large), 0.1 * (1 + large) * columns[:, k], 1.0)
        for large in (False, True)
        for k in range(3)
    ]
    right, short = judged(columns, here, made), judged(columns / 2, here, made)
    assert right["cosine"] == short["cosine"] == right["length"] == [1.0] * 6
    assert short["length"] == [0.5] * 6
    assert abs(right["gradient_small"] - 1) < 1e-9 and abs(short["gradient_length_large"] - 0.5) < 1e-9
    assert judged(-columns, here, made)["gradient_small"] < -0.99
