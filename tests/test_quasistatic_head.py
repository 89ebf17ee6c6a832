"""The default head with flesh."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from winding import inside_themselves

from pipeline.deform.deform import Deformer
from pipeline.deform.quasistatic.deformer import QuasistaticDeformer
from pipeline.deform.quasistatic.facing import sheet_gap
from pipeline.deform.rig import Rig
from pipeline.layer import Pipeline

LIPS_IN_EACH_OTHER = {"jawOpen": 0.25, "mouthClose": 1.0}


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def layer(rig: Rig) -> QuasistaticDeformer:
    return QuasistaticDeformer(rig)


def controls(rig: Rig, **values: float) -> Tensor:
    return rig.controls.pack(values, rig.controls.rest)


def tetrahedra(layer: QuasistaticDeformer, x: Tensor) -> np.ndarray:
    """(T,) volumes at the latest equilibrium, that of x."""
    driven = layer.drive(x, torch.eye(3, dtype=torch.float64))[1].driven.numpy()
    assert layer.solver.last is not None
    corners = np.concatenate([layer.solver.last.x, driven])[layer.drive.flesh.tets]
    edges = corners[:, 1:] - corners[:, :1]
    return np.einsum("ti,ti->t", edges[:, 0], np.cross(edges[:, 1], edges[:, 2])) / 6


def test_the_shell_has_its_size_and_its_thickness(layer: QuasistaticDeformer, rig: Rig) -> None:
    shell = layer.drive.shell
    assert len(shell.tets) >= 20_000
    assert shell.thickness.max() <= 0.0121
    at = rig.rest.numpy()[shell.vertices]
    cheek = (np.abs(np.abs(at[:, 0]) - 0.045) < 0.01) & (np.abs(at[:, 1] + 0.045) < 0.01) & (at[:, 2] > 0)
    assert cheek.any() and np.median(shell.thickness[cheek]) > 0.003
    eye = rig.joint_rest[rig.joint_names.index("eye_left")].numpy()
    eyes = np.minimum(*(np.linalg.norm(at - eye * [side, 1, 1], axis=1) for side in (1, -1)))
    assert np.percentile(shell.thickness[eyes < 0.018], 25) < 0.0015
    mouth, nose = (
        np.linalg.norm((at - place) / [wide, 1, 1], axis=1)
        for place, wide in (((0, -0.067, 0.03), 1.6), ((0, -0.035, 0.045), 1.0))
    )
    elsewhere = (eyes > 0.022) & (mouth > 0.022) & (nose > 0.03)
    assert (shell.thickness[elsewhere] > 0.003).mean() > 0.95


def test_the_upper_and_lower_lip_share_no_flesh(layer: QuasistaticDeformer, rig: Rig) -> None:
    lips = layer.drive.contacts.lips
    assert lips is not None and len(lips.upper) > 30 and len(lips.lower) > 30
    shell = layer.drive.shell
    vertex = np.tile(shell.vertices, len(shell.depth))[shell.tets]
    both = np.isin(vertex, lips.upper).any(1) & np.isin(vertex, lips.lower).any(1)
    assert both.mean() < 5e-3
    assert (
        np.abs(rig.rest.numpy()[vertex[both], 0]).min() > 0.015
    )  # only where they meet, at the mouth's corners


def test_at_rest_the_head_is_the_blendshape_head(layer: QuasistaticDeformer, rig: Rig) -> None:
    x = controls(rig, headRotationY=0.3, headTranslationZ=-0.6)
    torch.testing.assert_close(layer(x), Deformer(rig)(x), atol=1e-9, rtol=0)


def test_flesh_keeps_its_volume_and_lips_keep_apart_where_blendshapes_do_not(
    layer: QuasistaticDeformer, rig: Rig
) -> None:
    layer(controls(rig))
    before = tetrahedra(layer, controls(rig))
    x = controls(rig, **LIPS_IN_EACH_OTHER)
    plain = Deformer(rig)(x)
    vertices = layer(x)
    assert layer.solver.last is not None and layer.solver.last.residual <= 1e-8
    after = tetrahedra(layer, x)
    assert abs(after.sum() / before.sum() - 1) < 0.02 and (after > 0).mean() > 0.999
    contacts = layer.drive.contacts
    obstacles, lips = contacts(plain, rig.rest), contacts.touching.lips
    assert lips is not None

    def nearest(vertices: Tensor) -> float:
        """The least gap between lips, metres; negative where one is inside the other."""
        return float(sheet_gap(vertices[layer.drive.skin], obstacles.lip_normal, lips)[0].min())

    assert nearest(plain) < -0.001
    assert nearest(vertices) > -0.0001
    skin = rig.triangles[rig.part_of_triangle == rig.part_names.index("skin")].numpy()
    sheets = layer.drive.contacts.lips
    assert sheets is not None
    of_lips = np.union1d(sheets.upper, sheets.lower)
    crossed = [int(inside_themselves(v.numpy(), skin, of_lips).sum()) for v in (plain, vertices)]
    assert crossed[0] > 50 and crossed[1] == 0
    others = torch.ones(len(rig.rest), dtype=torch.bool)
    others[layer.drive.skin] = False
    others[layer.followers[0]] = False
    torch.testing.assert_close(vertices[others], plain[others], atol=1e-12, rtol=0)  # eyes, teeth, tongue


def test_the_derivative_is_the_slope_in_both_modes_and_in_a_chain(
    layer: QuasistaticDeformer, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer.solver, "tolerance", 1e-11)
    chain = Pipeline([layer])
    x = controls(rig, jawOpen=0.2, mouthSmileLeft=0.2, gender=0.1, headRotationX=0.1)
    g = torch.Generator().manual_seed(0)
    along = 0.1 * torch.randn(len(x), generator=g, dtype=torch.float64)
    weights = torch.randn(len(rig.rest), 3, generator=g, dtype=torch.float64)
    pushed = torch.func.jvp(chain, (x,), (along,))[1]
    leaf = x.clone().requires_grad_()
    pulled = torch.autograd.grad((chain(leaf) * weights).sum(), leaf)[0]
    slope = float((pushed * weights).sum())
    assert slope == pytest.approx(float((pulled * along).sum()), rel=1e-8)
    h = 1e-4
    difference = ((layer(x + h * along) - layer(x - h * along)) * weights).sum() / (2 * h)
    assert slope == pytest.approx(float(difference), rel=1e-5)


def test_gravity_hangs_on_the_heads_pose(rig: Rig) -> None:
    layer = QuasistaticDeformer(rig, gravity=True)
    upright = layer(controls(rig))
    torch.testing.assert_close(upright, Deformer(rig)(controls(rig)), atol=1e-9, rtol=0)
    face_down = controls(rig, headRotationX=np.pi / 2)
    sag = layer(face_down) - Deformer(rig)(face_down)
    assert -1e-3 < sag[layer.drive.skin, 1].mean() < -1e-6  # down, in the camera's frame


def test_a_copy_solves_alike(layer: QuasistaticDeformer, rig: Rig) -> None:
    x = controls(rig, browInnerUp=0.1)
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x), atol=1e-9, rtol=0)


def test_single_precision_in_and_out_and_a_batch(layer: QuasistaticDeformer, rig: Rig) -> None:
    x = controls(rig, browInnerUp=0.1).float()[None].repeat(2, 1)
    x[1, rig.controls.index("browInnerUp")] = 0.15
    y = layer(x)
    assert y.shape == (2, len(rig.rest), 3) and y.dtype == torch.float32
    torch.testing.assert_close(y[1], layer(x[1].double()).float(), atol=1e-6, rtol=0)
