"""Finite differences have the order they promise, the V has its bottom where theory says, and it is drawn."""

import math
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives import automatic, finite_differences
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.drawing import Curve, chart, v_curve
from pipeline.derivatives.finite_differences import best_guess, difference, sweep
from pipeline.errors import ChainRigError

D = torch.float64
SINE = FunctionLayer(torch.sin, ("a",), ("b",))
X, ONE = torch.tensor([0.7], dtype=D), torch.ones(1, dtype=D)


@pytest.mark.parametrize("scheme, exact", [("forward", 1), ("backward", 1), ("central", 2), ("second", 2)])
def test_halving_the_step_divides_the_truncation_by_the_order(scheme: Any, exact: int) -> None:
    truth = -X.sin() if scheme == "second" else X.cos()
    errors = [(difference(SINE, X, ONE, h, scheme) - truth).abs().item() for h in (2e-2, 1e-2)]
    assert errors[0] / errors[1] == pytest.approx(2**exact, rel=0.05)


def test_forward_and_backward_err_to_opposite_sides() -> None:
    ahead, behind = (difference(SINE, X, ONE, 1e-3, scheme) - X.cos() for scheme in ("forward", "backward"))
    assert ahead.item() == pytest.approx(-behind.item(), rel=1e-2)
    assert ahead.item() == pytest.approx(-0.5e-3 * math.sin(0.7), rel=1e-2)  # h/2 · f″


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("scheme", ["forward", "backward", "central", "second"])
def test_the_bottom_of_the_v_is_near_the_guess(scheme: Any, dtype: torch.dtype) -> None:
    x, one = X.to(dtype), ONE.to(dtype)
    truth = -x.double().sin() if scheme == "second" else x.double().cos()
    curve = sweep(SINE, x, one, scheme, reference=truth)
    guess = best_guess(scheme, dtype)
    error = finite_differences.relative_error(difference(SINE, x, one, guess, scheme), truth)
    assert error <= 100 * max(curve.least_error, torch.finfo(dtype).eps)
    assert curve.errors[0] > 10 * curve.least_error  # truncation on one side,
    assert curve.errors[-1] > 10 * curve.least_error  # roundoff on the other


@pytest.mark.parametrize("scheme, order", [("forward", 1), ("central", 2), ("second", 2)])
def test_the_sweep_tells_the_order(scheme: Any, order: int) -> None:
    truth = -X.sin() if scheme == "second" else X.cos()
    assert sweep(SINE, X, ONE, scheme, reference=truth).order == pytest.approx(order, abs=0.1)


def test_without_a_reference_the_error_is_estimated_about_right() -> None:
    known = sweep(SINE, X, ONE, reference=X.cos())
    guessed = sweep(SINE, X, ONE)
    assert guessed.estimated and not known.estimated
    found = difference(SINE, X, ONE, guessed.best_step)
    assert (found - X.cos()).abs() <= 1e-8
    assert guessed.least_error <= 1e-8


def test_directions_along_a_batch() -> None:
    layer = FunctionLayer(lambda x: x.square().sum(-1, keepdim=True), ("a",), ("b",))
    x = torch.arange(6, dtype=D).reshape(2, 3)
    d = torch.ones(2, 3, dtype=D)
    torch.testing.assert_close(difference(layer, x, d), 2 * x.sum(-1, keepdim=True), atol=1e-8, rtol=0)
    torch.testing.assert_close(
        difference(layer, x, d, scheme="second"), torch.full((2, 1), 6.0).double(), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("scheme, allowed", [("forward", 1e-6), ("backward", 1e-6), ("central", 1e-8)])
def test_the_deformers_jacobian_by_differences(scheme: Any, allowed: float) -> None:
    deformer = Deformer(Rig.load().at_landmarks().to(dtype=D))
    x = deformer.controls.pack({"jawOpen": 0.4, "headRotationY": 0.3}, deformer.controls.rest)
    columns = {"control": ["jawOpen", "eyeLookUpLeft", "gender", "head*"]}
    slow = finite_differences.jacobian(deformer, x.expand(2, -1), scheme=scheme, columns=columns)
    fast = automatic.jacobian(deformer, x, columns=columns)
    assert slow.rows == fast.rows and slow.columns == fast.columns
    for item in slow.values:
        assert finite_differences.relative_error(item, fast.values) <= allowed


def test_the_step_that_was_taken_is_the_one_divided_by() -> None:
    """Near 1000 in float32, x + 1e-4 is x + 1.22e-4."""
    line = FunctionLayer(lambda x: x - 1000, ("a",), ("b",))
    x = torch.tensor([1000.0])
    assert finite_differences.jacobian(line, x, step=1e-4, scheme="forward").matrix.item() == 1
    assert difference(line, x, torch.ones(1), 1e-4, "forward").item() == pytest.approx(1.22, abs=0.01)


def test_misuse_is_refused_with_a_sentence() -> None:
    with pytest.raises(ChainRigError, match="positive step"):
        difference(SINE, X, ONE, 0.0)
    with pytest.raises(ChainRigError, match="no scheme middle: choose one of forward"):
        difference(SINE, X, ONE, scheme="middle")  # type: ignore[arg-type]
    with pytest.raises(ChainRigError, match="first derivatives"):
        finite_differences.jacobian(SINE, X, scheme="second")
    with pytest.raises(ChainRigError, match="2 steps for 1 columns"):
        finite_differences.jacobian(SINE, X, step=[1e-3, 1e-3])


def _shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{kind}")


def test_the_v_is_drawn_with_its_bottom_lowest() -> None:
    curve = sweep(SINE, X, ONE, reference=X.cos())
    svg = v_curve([("central", curve), ("forward & co", sweep(SINE, X, ONE, "forward", reference=X.cos()))])
    lines = _shapes(svg, "polyline")
    assert len(lines) == 2
    points = [tuple(map(float, point.split(","))) for point in lines[0].get("points", "").split()]
    assert len(points) == sum(error > 0 for error in curve.errors)
    lowest = max(range(len(points)), key=lambda i: points[i][1])  # SVG's y points down
    positive = [error for error in curve.errors if error > 0]
    assert positive[lowest] == min(positive)
    assert all(0 <= x <= 800 and 0 <= y <= 400 for x, y in points)


def test_a_sweep_without_a_useful_step_is_drawn_empty() -> None:
    useless = sweep(
        FunctionLayer(lambda x: 1e9 * (1e9 * x).sin(), ("a",), ("b",)), X, ONE, reference=1e-9 * ONE
    )
    assert not _shapes(v_curve([("useless", useless)]), "circle")


def test_numbers_that_cannot_be_drawn_are_left_out() -> None:
    svg = chart([Curve("a", [1, 2, 3, 4], [0.0, math.nan, 1.0, 10.0])], "t", "x", "y", log_x=False)
    assert len(_shapes(svg, "circle")) == 2
    assert len(_shapes(chart([Curve("a", [1], [0.0])], "t", "x", "y"), "circle")) == 0
