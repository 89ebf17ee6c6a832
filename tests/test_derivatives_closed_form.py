"""Jacobians written by hand against automatic differentiation, at random and in the degenerate cases."""

import math
from dataclasses import replace

import pytest
import torch
from test_deform import tiny_rig
from torch import Tensor

from pipeline.deform.blendshapes import blend
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.skinning import rotation_matrix, skin
from pipeline.derivatives import closed_form
from pipeline.derivatives.automatic import jacobian
from pipeline.derivatives.closed_layers import closed_jacobian, has_closed_jacobian
from pipeline.derivatives.smoothing import soft_argmax
from pipeline.layer import Layer
from pipeline.render.camera import Camera
from pipeline.render.rasterize import barycentrics

D = torch.float64
# no rotation, nearly none, on both sides of the switch between series and quotient, half a turn, a full turn
ANGLES = (0.0, 1e-12, 1e-4, 0.4999, 0.5001, 1.0, math.pi, 2 * math.pi, 9.0)


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def test_blendshapes() -> None:
    basis, weights = some(4, 15), some(4, seed=1)
    automatic = torch.func.jacrev(lambda w: blend(w, basis))(weights)
    torch.testing.assert_close(closed_form.blendshapes(basis), automatic)


@pytest.mark.parametrize("angle", ANGLES)
def test_rotation(angle: float) -> None:
    axis = torch.nn.functional.normalize(some(3), dim=0)
    v, points = angle * axis, some(5, 3, seed=1)
    automatic = torch.func.jacfwd(lambda v: points @ rotation_matrix(v[None])[0].mT)(v)
    torch.testing.assert_close(
        closed_form.rotation(v, points @ rotation_matrix(v).mT), automatic, atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("angle", ANGLES)
def test_the_left_jacobian_is_precise_in_float32_and_differentiable(angle: float) -> None:
    v = angle * torch.nn.functional.normalize(some(3), dim=0)
    single = closed_form.left_jacobian(v.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), closed_form.left_jacobian(v.float().double()), atol=1e-6, rtol=0
    )
    assert torch.autograd.gradcheck(
        closed_form.left_jacobian, v.clone().requires_grad_(), check_forward_ad=True
    )


def test_projection() -> None:
    camera = Camera(
        torch.tensor(900.0, dtype=D),
        torch.tensor([130.0, 110.0], dtype=D),
        torch.tensor([[0.9, -0.1, 5.0], [0.1, 0.9, -3.0]], dtype=D),
    )
    points = some(2, 5, 3) * 0.1 - torch.tensor([0.0, 0.0, 1.0], dtype=D)
    matrix = camera.homogeneous(torch.eye(3, dtype=D)).mT
    found = closed_form.projection(matrix.expand(2, 3, 3), points)
    for b in range(2):
        automatic = torch.func.jacrev(camera.project)(points[b])
        torch.testing.assert_close(found[b], torch.einsum("ncnk->nck", automatic))


def test_points_at_the_edge_of_sight_have_large_finite_derivatives_and_those_in_the_camera_none() -> None:
    near, inside = torch.tensor([[0.0, 0.0, -1e-9]], dtype=D), torch.zeros(1, 3, dtype=D)
    matrix = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=D))
    assert closed_form.projection(matrix, near).isfinite().all()
    assert not closed_form.projection(matrix, inside).isfinite().all()


def test_skinning() -> None:
    x, weights = some(2, 4, 3), torch.softmax(some(4, 3, seed=1), -1)
    R, t = rotation_matrix(some(2, 3, 3, seed=2)), some(2, 3, 3, seed=3)
    by_vertex, by_transform = closed_form.skinning(x, weights, R)
    for b in range(2):
        automatic = torch.func.jacrev(lambda x, b=b: skin(x, weights, R[b], t[b]))(x[b])
        torch.testing.assert_close(by_vertex[b], torch.einsum("vavb->vab", automatic))
        turned = torch.func.jacrev(lambda R, b=b: skin(x[b], weights, R, t[b]))(R[b])  # [V, 3, J, 3, 3]
        moved = torch.func.jacrev(lambda t, b=b: skin(x[b], weights, R[b], t))(t[b])  # [V, 3, J, 3]
        for row in range(3):
            torch.testing.assert_close(by_transform[b, ..., :3], turned[:, row, :, row])
            torch.testing.assert_close(by_transform[b, ..., 3], moved[:, row, :, row])


@pytest.mark.parametrize("width", [1.0, 0.05])
def test_soft_argmax(width: float) -> None:
    scores, cells = some(2, 6), some(6, 2, seed=1)
    found = closed_form.soft_argmax(scores, cells, width)
    for b in range(2):
        automatic = torch.func.jacrev(lambda s: soft_argmax(s, cells, width))(scores[b])
        torch.testing.assert_close(found[b], automatic, atol=1e-12, rtol=1e-9)


def test_soft_argmax_of_a_clear_winner_has_no_derivative_and_no_nan() -> None:
    scores = torch.tensor([1e4, -1e4, 0.0])
    assert closed_form.soft_argmax(scores, torch.eye(3), 1e-3).abs().max() == 0


def test_barycentrics() -> None:
    corners = torch.cat([some(4, 3, 2) * 20 + 30, some(4, 3, 1, seed=1).abs() + 0.5], -1)
    pixel = some(4, 2, seed=2) * 5
    found = closed_form.barycentrics(corners, pixel)
    for p in range(4):
        automatic = torch.func.jacrev(lambda c, p=p: barycentrics(c[None], pixel[p : p + 1])[0])(corners[p])
        torch.testing.assert_close(found[p], automatic, atol=1e-12, rtol=1e-9)
    assert found.sum(-3).abs().max() < 1e-12  # weights always sum to 1


def test_barycentrics_of_a_triangle_seen_edge_on_are_constant() -> None:
    corners = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [2.0, 2.0, 1.0]]], dtype=D)
    pixel = torch.tensor([[1.0, 1.0]], dtype=D)
    assert closed_form.barycentrics(corners, pixel).abs().max() == 0
    automatic = torch.func.jacrev(lambda c: barycentrics(c, pixel))(corners)
    assert automatic.abs().max() == 0


@pytest.fixture(scope="module")
def deformer() -> Deformer:
    return Deformer(Rig.load().at_landmarks().to(dtype=D))


@pytest.mark.parametrize("where", ["rest", "posed"])
def test_the_deformer(deformer: Deformer, where: str) -> None:
    space = deformer.controls
    x = space.rest.expand(2, -1) if where == "rest" else 0.5 * some(2, len(space))
    found = closed_jacobian(deformer, x, torch.arange(len(space)))
    assert found is not None
    automatic = jacobian(deformer, x).values
    torch.testing.assert_close(found, automatic, atol=1e-12, rtol=1e-9)


def test_joints_that_turn_under_joints_that_turn() -> None:
    """In the shipped head no driven joint has a driven parent; in another rig it may."""
    nested = Deformer(replace(tiny_rig(), drivers=some(2, 2, 3, seed=4)))
    x = some(3, len(nested.controls))
    found = closed_jacobian(nested, x, torch.arange(len(nested.controls)))
    assert found is not None
    torch.testing.assert_close(found, jacobian(nested, x).values, atol=1e-12, rtol=1e-9)


def test_the_deformers_columns_in_any_order_and_number(deformer: Deformer) -> None:
    space, x = deformer.controls, 0.5 * some(len(deformer.controls))
    names = ["headTranslationY", "jawOpen", "headRotationZ", "gender", "eyeLookUpLeft"]
    automatic = jacobian(deformer, x, "columns").values
    for some_names in (names, names[:1], names[2:3], names[1:2], []):
        columns = torch.tensor([space.index(name) for name in some_names], dtype=torch.int64)
        found = closed_jacobian(deformer, x, columns)
        assert found is not None
        torch.testing.assert_close(found, automatic[..., columns], atol=1e-12, rtol=1e-9)


def test_the_deformer_in_float32(deformer: Deformer) -> None:
    single = Deformer(Rig.load().at_landmarks())
    x = 0.3 * some(len(single.controls)).float()
    found = closed_jacobian(single, x, torch.arange(52))
    assert found is not None and found.dtype == torch.float32
    exact = closed_jacobian(deformer, x.double(), torch.arange(52))
    assert exact is not None and (found - exact).abs().max() < 1e-6


def test_a_layer_that_nobody_wrote_down_says_so() -> None:
    assert not has_closed_jacobian(Layer())
    assert closed_jacobian(Layer(), torch.zeros(1), torch.zeros(1, dtype=torch.int64)) is None
