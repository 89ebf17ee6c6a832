"""Hessians of objectives: exact, symmetric, and what Gauss–Newton leaves out of them."""

import pytest
import torch
from torch import Tensor

from pipeline.chain import build_stand_in
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.second_order import compare_hessians, gauss_newton, gradient, hessian, hvp
from pipeline.derivatives.smoothing import rectifier
from pipeline.layer import Layer
from pipeline.render.camera import Camera

D = torch.float64


def rosenbrock(x: Tensor) -> Tensor:
    """(*B, 2) → (*B,)."""
    return (1 - x[..., 0]).square() + 100 * (x[..., 1] - x[..., 0].square()).square()


def by_hand(x: float, y: float) -> Tensor:
    return torch.tensor([[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200.0]], dtype=D)


POINTS = torch.tensor([[0.5, -1.0], [1.0, 1.0], [0.0, 0.0]], dtype=D)


@pytest.mark.parametrize("chunk", [1, 16])
def test_the_hessian_of_a_textbook_function(chunk: int) -> None:
    found = hessian(rosenbrock, POINTS, chunk)
    for H, point in zip(found, POINTS.tolist(), strict=True):
        torch.testing.assert_close(H, by_hand(*point))
    torch.testing.assert_close(hessian(rosenbrock, POINTS[0], chunk), found[0])


def test_an_hvp_is_the_hessian_times_the_vector_and_the_slope_of_the_gradient() -> None:
    d = torch.tensor([[0.3, -0.7]] * 3, dtype=D)
    found = hvp(rosenbrock, POINTS, d)
    torch.testing.assert_close(found, (hessian(rosenbrock, POINTS) @ d[..., None]).squeeze(-1))
    h = 1e-5
    difference = (gradient(rosenbrock, POINTS + h * d) - gradient(rosenbrock, POINTS - h * d)) / (2 * h)
    torch.testing.assert_close(found, difference, atol=1e-5, rtol=1e-6)


def test_gauss_newton_with_weights() -> None:
    A = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=D)
    line = FunctionLayer(lambda x: x @ A.mT, ("control",), ("residual",))
    x, w = torch.zeros(2, dtype=D), torch.tensor([1.0, 0.5, 2.0], dtype=D)
    torch.testing.assert_close(gauss_newton(line, x), A.mT @ A)
    torch.testing.assert_close(gauss_newton(line, x, w), A.mT @ w.diag() @ A)
    torch.testing.assert_close(gauss_newton(line, x, torch.tensor(3.0, dtype=D)), 3 * A.mT @ A)


def test_of_linear_residuals_gauss_newton_leaves_nothing_out() -> None:
    line = FunctionLayer(lambda x: torch.stack([x[..., 0] - 1, 2 * x[..., 1]], -1), ("a",), ("r",))
    found = compare_hessians(line, torch.tensor([3.0, 2.0], dtype=D))
    assert found.left_out < 1e-12 and found.angle < 1e-4 and found.asymmetry < 1e-12


def test_of_bent_residuals_it_leaves_out_the_bend_times_the_residual() -> None:
    """r = x² − c at x = 1: f̂″ = (2x)² + 2 r, so the missing part is 2r / (4 + 2r)."""
    for c, left_out in ((1.0, 0.0), (0.0, 1 / 3), (2.0, 1.0)):
        bowl = FunctionLayer(lambda x, c=c: x.square() - c, ("a",), ("r",))
        assert compare_hessians(bowl, torch.ones(1, dtype=D)).left_out == pytest.approx(left_out, abs=1e-12)
    # far inside, the full Hessian is negative, and Gauss–Newton's never is
    inside = compare_hessians(
        FunctionLayer(lambda x: x.square() - 10, ("a",), ("r",)), torch.ones(1, dtype=D)
    )
    assert inside.least_eigenvalue < 0 and "negative curvature" in inside.summary()


class Residual(Layer):
    """Pixels between the stand-in's landmarks and a target, over a few controls."""

    input_axes, output_axes = ("control",), ("landmark", "xyz")

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        rig = Rig.load().to(dtype=D)
        camera = Camera(torch.tensor(1000.0, dtype=D), torch.tensor([128.0, 118.0], dtype=D))
        self.chain = build_stand_in(rig, camera)
        self.base = rig.controls.pack({"headTranslationZ": -1.0}, rig.controls.rest)
        self.indices = [rig.controls.index(name) for name in names]
        self.target = self.chain(rig.controls.pack({"jawOpen": 0.6, "headRotationY": 0.3}, self.base))

    def forward(self, x: Tensor) -> Tensor:
        unit = torch.eye(len(self.base), dtype=x.dtype)[self.indices]
        return self.chain(self.base + x @ unit) - self.target


def test_of_the_rig_the_hessian_is_symmetric_and_gauss_newton_nearer_at_the_target() -> None:
    layer = Residual(["jawOpen", "headRotationY", "headTranslationX"])
    far = compare_hessians(layer, torch.zeros(3, dtype=D))
    close = compare_hessians(layer, torch.tensor([0.59, 0.29, 0.0], dtype=D))
    there = compare_hessians(layer, torch.tensor([0.6, 0.3, 0.0], dtype=D))
    assert max(far.asymmetry, close.asymmetry) < 1e-12
    assert far.left_out > 3 * close.left_out > 0
    assert there.left_out < 1e-9


def test_where_residuals_have_kinks_the_second_derivative_sees_none_and_a_smoothed_one_does() -> None:
    x = torch.full((1,), 1e-3, dtype=D)
    sharp = FunctionLayer(lambda x: rectifier(x) + 1, ("a",), ("r",))
    smooth = FunctionLayer(lambda x: rectifier(x, 0.1) + 1, ("a",), ("r",))
    assert compare_hessians(sharp, x).left_out == 0
    assert compare_hessians(smooth, x).left_out > 0.5
