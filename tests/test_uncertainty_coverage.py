"""How benchmarks/uncertainty.py finds out whether ± is right: what it draws, what it adds, what it counts.

The figures, of 200 fits, are the benchmark's; here problems are linear, and one render is read.
"""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.calibrate import largest_face
from pipeline.config import load_config
from pipeline.solve import levenberg_marquardt
from pipeline.solve.priors import Prior, alike

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import uncertainty as bench  # noqa: E402  # pyright: ignore[reportMissingImports]
from known_controls import draw, photograph  # noqa: E402  # pyright: ignore[reportMissingImports]


def unit(precision: list[float], sparsity: list[float], coupling: Tensor | None) -> Prior:
    """Of controls in [0, 1]."""
    size = len(precision)
    zero, one = torch.zeros(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64)
    return Prior(zero, torch.tensor(precision).double(), torch.tensor(sparsity).double(), zero, one, coupling)


def test_truths_come_from_the_prior_with_its_coupling() -> None:
    prior = unit([0.2, 0.2, 0.0], [4.0, 4.0, 0.0], alike([(0, 1)], 16.0, 3))
    noise = torch.Generator().manual_seed(0)
    drawn = torch.stack([bench.from_prior(prior, slice(0, 3), noise, sweeps=8) for _ in range(600)])
    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="ij")
    density = (-prior.value(torch.stack([a, b, 0 * a], -1))).exp()
    density = density / density.sum()
    mean, apart = float((density * a).sum()), float((density * (a - b).abs()).sum())
    assert mean == pytest.approx(0.2, abs=0.03) and apart < 0.17  # without the coupling 0.21
    assert float(drawn[:, 0].mean()) == pytest.approx(mean, rel=0.1)
    assert float((drawn[:, 0] - drawn[:, 1]).abs().mean()) == pytest.approx(apart, rel=0.1)
    assert float(drawn[:, 2].mean()) == pytest.approx(0.5, abs=0.04)  # smiles are anywhere
    assert float(drawn[:, 2].var()) == pytest.approx(1 / 12, rel=0.15)


def test_sds_of_coupled_controls_hold_the_truth_as_often_as_promised() -> None:
    """Linear problems: left and right alike, hardly seen apart; the fit and ± know both."""
    noise = torch.Generator().manual_seed(5)
    size = 10
    pairs = [(k, k + 1) for k in range(0, size, 2)]
    coupled = unit([0.2] * size, [4.0] * size, alike(pairs, 16.0, size))
    ratios = []
    for _ in range(60):
        jacobian = 3 * torch.randn(12, size, generator=noise).double()
        truth = bench.from_prior(coupled, slice(0, size), noise, sweeps=8)
        seen = jacobian @ truth + torch.randn(12, generator=noise).double()

        def residual(x: Tensor, jacobian: Tensor = jacobian, seen: Tensor = seen) -> Tensor:
            return jacobian @ x - seen

        def both(x: Tensor, jacobian: Tensor = jacobian, seen: Tensor = seen) -> tuple[Tensor, Tensor]:
            return jacobian @ x - seen, jacobian

        x = levenberg_marquardt.minimize(both, residual, coupled, 0 * truth, tolerance=1e-9)
        known = uncertainty.posterior(jacobian, residual(x), coupled, x)
        ratios.append((truth - x).abs() / known.sd)
    ratio = torch.cat(ratios)
    assert 0.64 < float((ratio <= 1).double().mean()) < 0.76
    assert float(ratio.square().mean().sqrt()) == pytest.approx(1, abs=0.08)


def test_errors_that_are_added_are_those_that_sds_suppose() -> None:
    x, light, material, focal = draw(5)
    photo = photograph(x, light, material, focal)
    face = largest_face(photo)[1]
    fit = bench.Misread(load_config(None, [f"camera.focal_px={focal}"]))
    clean = fit.target(photo, face)
    fit.seed, fit.kind = 1, "by landmark"
    wrong = fit.target(photo, face)
    camera = fit.camera(photo, clean)
    objective = fit.objective(clean, camera)
    moved = objective.residual(x.clone())  # anywhere: only the target differs
    objective.target = fit.objective(wrong, camera).target
    moved = objective.residual(x.clone()) - moved
    weight = uncertainty.whitening(objective, fit.spread, len(moved))
    steady = moved * weight
    assert float(steady.std()) == pytest.approx(1, abs=0.08) and abs(float(steady.mean())) < 0.1
    quarter = objective.per_pixel.argsort()  # steady landmarks have small errors, in the same measure
    for part in quarter.tensor_split(4):
        assert float(steady[part].std()) == pytest.approx(1, abs=0.2)
    fit.seed = 2
    assert not torch.equal(fit.target(photo, face).points, wrong.points)


def row(names: str, truth: list[float], found: list[float], sd: list[float], unseen: str = "") -> dict:
    return {
        "render": 0,
        "names": names.split(),
        "truth": truth,
        "estimate": found,
        "sd": sd,
        "unobservable": unseen.split(),
    }


def test_shares_are_counted_by_group_and_by_size() -> None:
    names = "jawOpen jawLeft mouthSmileLeft headRotationX age"
    rows = [
        row(names, [0.5, 0, 0.4, 0.1, 0], [0.4, 0.3, 0.4, 0.1, 1], [0.2, 0.1, 0.04, 0.01, 0.5]),
        row(names, [0.5, 0, 0.4, 0.1, 0], [0.1, 0, 0.4, 0.2, 0], [0.25, 0.1, 0.04, 0.01, 0.5], "jawLeft"),
    ]
    found = bench.coverage(rows)
    assert found["jaw"]["controls"] == 3 and found["jaw"]["within_1_sd"] == pytest.approx(1 / 3)
    assert found["jaw"]["within_2_sd"] == pytest.approx(2 / 3)
    assert found["jaw"]["rms_ratio"] == pytest.approx(((0.5**2 + 3**2 + 1.6**2) / 3) ** 0.5)
    assert found["mouth"]["within_1_sd"] == 1 and found["head"]["within_1_sd"] == 0.5
    assert found["expression"]["controls"] == 5 and found["all but identity"]["controls"] == 7
    assert found["identity"]["controls"] == 2 and found["identity"]["mean_sd"] == 0.5
    assert found["± 0.0 to 0.05"]["controls"] == 2 and found["± 0.2 to 0.3"]["controls"] == 2
    assert "brow" not in found


def test_a_control_that_moves_nothing_and_is_not_named_is_told() -> None:
    one = row("jawOpen tongueOut", [0, 0], [0, 0], [1, 1], "tongueOut") | {"chain_range_px": [0.1, 3.0]}
    found = bench.blind_spots([one, row("jawOpen tongueOut", [0, 0], [0, 0], [1, 1])])
    assert found["renders"] == 1 and found["still_for_the_chain"] == 1
    assert found["of_them_not_named"] == [[0, "jawOpen"]]
    assert found["named_though_they_move"] == ["tongueOut"]
