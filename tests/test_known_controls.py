"""Renders whose controls are known: what is drawn, what a fit finds of it, and how that is told.

The figures, of a hundred renders, are benchmarks/known_controls.py's; here it is one.
"""

import json
import math
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from pipeline.config import Priors
from pipeline.controls import ControlSpace
from pipeline.deform.rig import Rig
from pipeline.evaluation.row import Row
from pipeline.face_prior import identity_stiffness
from pipeline.head_angles import yaw_pitch_roll

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import known_controls  # noqa: E402  # pyright: ignore[reportMissingImports]

RENDER = 5  # nothing about it is extreme, and its fit does not end in a wrong minimum
SEEDS = range(30)


@pytest.fixture(scope="module")
def space() -> ControlSpace:
    return Rig.load().controls


@pytest.fixture(scope="module")
def drawn() -> list[tuple[torch.Tensor, float]]:
    """Controls and focal lengths of many renders."""
    return [(x, focal) for x, _, _, focal in map(known_controls.draw, SEEDS)]


@pytest.fixture(scope="module")
def fitted() -> tuple[Row, float]:
    """A render of a known head, fitted with the default settings."""
    return known_controls.one(RENDER, [], "known", 0.0)


def test_a_fit_finds_the_expressions_and_the_head(fitted: tuple[Row, float]) -> None:
    row, yaw = fitted
    assert row.found is not None and row.truth is not None and row.truth.rotation_deg is not None
    shown = [name for name in row.truth.truth if name not in row.found.unobservable]
    truth, found = (
        torch.tensor([of[name] for name in shown]) for of in (row.truth.truth, row.found.controls)
    )
    assert (found - truth).abs().mean() < 0.6 * truth.abs().mean()  # 0.029, nothing found would be 0.067
    assert float(torch.corrcoef(torch.stack([truth, found]))[0, 1]) > 0.75
    assert found[truth == 0].mean() < 0.02  # what is at rest stays there
    assert row.truth.rotation_deg < 1 and row.found.yaw_pitch_roll_deg[0] == pytest.approx(yaw, abs=1)
    assert row.found.residual_final_percent < 0.4 and row.found.evaluations <= 20


def test_figures_are_means_over_what_a_photo_can_show(fitted: tuple[Row, float]) -> None:
    row, _ = fitted
    assert row.found is not None and row.truth is not None
    truth, found, unseen = row.truth.truth, row.found.controls, row.found.unobservable
    errors = {name: abs(found[name] - truth[name]) for name in truth if name not in unseen}
    assert "tongueOut" in unseen and len(errors) >= 45
    told = known_controls.summary([row, Row("6", "failed", "no face found")])
    assert (told["renders"], told["failed"]) == (2, 1)
    assert told["mean_absolute_error"] == pytest.approx(mean(errors.values()))
    assert told["of_active"] == pytest.approx(mean(e for name, e in errors.items() if truth[name]))
    assert told["of_quiet"] == pytest.approx(mean(e for name, e in errors.items() if not truth[name]))
    assert told["all_at_zero"] == pytest.approx(mean(truth[name] for name in errors))
    assert told["rotation_deg_mean"] == told["rotation_deg_most"] == row.truth.rotation_deg
    assert next(iter(told["worst_controls"])) == max(errors, key=lambda name: errors[name])


def test_a_record_is_enough_to_judge_by_later(fitted: tuple[Row, float]) -> None:
    row, yaw = fitted
    kept: dict[str, Any] = json.loads(json.dumps(known_controls.record(row, yaw)))
    assert kept["render"] == RENDER and kept["yaw_deg"] == yaw
    assert row.found is not None and row.truth is not None
    assert kept["truth"] == row.truth.truth and kept["found"] == row.found.controls
    assert set(kept["unobservable"]) <= kept["found"].keys() >= {"jawOpen"}  # no shape of the head
    lost = known_controls.record(Row("6", "failed", "no face found"), 3.0)
    assert lost == {"render": 6, "failed": "no face found"}


def test_renders_show_six_to_twelve_expressions_that_a_face_can_do(
    space: ControlSpace, drawn: list[tuple[torch.Tensor, float]]
) -> None:
    counts, largest, heads = set(), 0.0, []
    for x, _ in drawn:
        values = space.unpack(x)
        used = {name for name in space.names[space.groups["expression"]] if values[name]}
        counts.add(len(used))
        largest = max(largest, *(values[name] for name in used))
        assert not used & {"mouthClose", "tongueOut"}
        assert not [pair for pair in known_controls.EXCLUSIVE if set(pair) <= used]
        assert bool(((x >= space.low) & (x <= space.high)).all())
        heads.append(x[space.groups["identity"]])
    assert counts == set(range(6, 13)) and 0.7 < largest <= 0.8
    width = (Priors().identity_detail * identity_stiffness(Rig.load())).rsqrt()  # a fit's prior
    assert float((torch.stack(heads).std(0) / width).median()) == pytest.approx(1, abs=0.15)


def test_heads_turn_as_far_as_is_said_and_fill_the_same_part_of_the_picture(
    space: ControlSpace, drawn: list[tuple[torch.Tensor, float]]
) -> None:
    angles, sizes = [], []
    for x, focal in drawn:
        values = space.unpack(x)
        turn = x[space.groups["pose"]][:3].tolist()
        angles.append([math.degrees(angle) for angle in yaw_pitch_roll((turn[0], turn[1], turn[2]))])
        sizes.append(focal * 0.16 / -values["headTranslationZ"])
    most = torch.tensor(angles).abs().amax(0)
    assert bool((most <= torch.tensor([25.0, 15.0, 10.0])).all())
    assert bool((most > torch.tensor([20.0, 12.0, 8.0])).all())
    assert torch.tensor(sizes).std() < 1e-6 * known_controls.SIDE


def test_a_seed_is_a_picture() -> None:
    x, light, material, focal = known_controls.draw(RENDER)
    photo = known_controls.photograph(x, light, material, focal)
    again = known_controls.photograph(*known_controls.draw(RENDER))
    assert torch.equal(photo.pixels, again.pixels)
    grainy = known_controls.photograph(x, light, material, focal, noise=0.02, seed=1)
    middle = slice(200, 400)
    grain = (grainy.pixels[middle, middle].double() - photo.pixels[middle, middle]).std() / 255
    assert float(grain) == pytest.approx(0.02, rel=0.1)
    other = known_controls.photograph(*known_controls.draw(RENDER + 1))
    assert (other.pixels.double() - photo.pixels).abs().mean() > 5
