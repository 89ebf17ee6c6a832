"""Skinning against plain references, its derivatives in three ways, and what a twist does to a tube."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rigs_of_tests import with_correctives
from test_deform import some_controls, tiny_rig
from torch import Tensor
from torch.autograd import gradcheck

from pipeline.deform.deform import SKINNING, Deformer
from pipeline.deform.deform_jacobian import deform_jacobian
from pipeline.deform.skinning import joint_transforms, rotation_matrix
from pipeline.deform.skinning_jacobian import dual_quaternion_jacobian, linear_jacobian

_path = Path(__file__).parent.parent / "scripts" / "draw_skinning.py"
_spec = importlib.util.spec_from_file_location("draw_skinning", _path)
assert _spec is not None and _spec.loader is not None
draw_skinning = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(draw_skinning)
tube, twisted, volume = draw_skinning.tube, draw_skinning.twisted, draw_skinning.volume

CLOSED = {"linear": linear_jacobian, "dual quaternion": dual_quaternion_jacobian}
PARENTS = (-1, 0, 1, 0)


def arm(*batch: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """vertices (*B, 7, 3), weights (7, 4), rotation vectors and joints (*B, 4, 3): a tree with a fork."""
    g = torch.Generator().manual_seed(seed)
    weights = torch.rand(7, 4, generator=g, dtype=torch.float64) ** 3
    vertices, turns, joints = (
        torch.randn(*batch, count, 3, generator=g, dtype=torch.float64) for count in (7, 4, 4)
    )
    return vertices, weights / weights.sum(1, keepdim=True), turns, joints


def posed(kind: str, vertices: Tensor, weights: Tensor, turns: Tensor, joints: Tensor) -> Tensor:
    transforms = joint_transforms(rotation_matrix(turns), joints, PARENTS)
    return SKINNING[kind](vertices, weights, *transforms)


def world_matrices(turns: Tensor, joints: Tensor) -> list[np.ndarray]:
    """4 × 4 of each joint, multiplied down the tree as a textbook has it."""
    found: list[np.ndarray] = []
    for j, parent in enumerate(PARENTS):
        about = np.eye(4)
        about[:3, :3] = rotation_matrix(turns[j]).numpy()
        to, back = np.eye(4), np.eye(4)
        to[:3, 3], back[:3, 3] = joints[j], -joints[j]
        local = to @ about @ back
        found.append(local if parent < 0 else found[parent] @ local)
    return found


def hamilton(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of quaternions (w, x, y, z)."""
    return np.concatenate(
        [[a[0] * b[0] - a[1:] @ b[1:]], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])]
    )


def quaternion(R: np.ndarray) -> np.ndarray:
    """The eigenvector of Bar-Itzhack's matrix: another way than the code's."""
    K = np.empty((4, 4))
    K[1:, 1:] = R + R.T - np.trace(R) * np.eye(3)
    K[0, 1:] = K[1:, 0] = [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]
    K[0, 0] = np.trace(R)
    return np.linalg.eigh(K)[1][:, -1]


def reference(kind: str, x: np.ndarray, weights: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """One vertex."""
    if kind == "linear":
        return (np.einsum("j,jab->ab", weights, np.stack(matrices)) @ [*x, 1])[:3]
    real = [quaternion(M[:3, :3]) for M in matrices]
    strongest = real[int(weights.argmax())]
    q, p = np.zeros(4), np.zeros(4)
    for w, each, M in zip(weights, real, matrices, strict=True):
        sign = 1.0 if each @ strongest >= 0 else -1.0
        q += w * sign * each
        p += w * sign * 0.5 * hamilton(np.array([0, *M[:3, 3]]), each)
    norm = np.linalg.norm(q)
    q, p = q / norm, p / norm
    conjugate = q * [1, -1, -1, -1]
    return (hamilton(hamilton(q, np.array([0, *x])), conjugate) + 2 * hamilton(p, conjugate))[1:]


@pytest.mark.parametrize("kind", SKINNING)
def test_skinning_agrees_with_a_plain_reference(kind: str) -> None:
    for seed in range(5):
        vertices, weights, turns, joints = arm(seed=seed)
        matrices = world_matrices(turns, joints)
        found = posed(kind, vertices, weights, turns, joints).numpy()
        for v in range(len(vertices)):
            expected = reference(kind, vertices[v].numpy(), weights[v].numpy(), matrices)
            np.testing.assert_allclose(found[v], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", SKINNING)
def test_a_batch_is_its_items_and_a_stiff_part_moves_rigidly(kind: str) -> None:
    vertices, weights, turns, joints = arm(2, 3)
    together = posed(kind, vertices, weights, turns, joints)
    alone = posed(kind, vertices[1, 2], weights, turns[1, 2], joints[1, 2])
    torch.testing.assert_close(together[1, 2], alone, atol=1e-13, rtol=0)
    stiff = torch.eye(4, dtype=torch.float64)[[2] * 7]
    moved = posed(kind, vertices, stiff, turns, joints)
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(vertices, vertices))
    at_rest = posed(kind, vertices, weights, torch.zeros_like(turns), joints)
    torch.testing.assert_close(at_rest, vertices, atol=1e-14, rtol=0)


@pytest.mark.parametrize("kind", SKINNING)
def test_derivatives_by_pose_weights_and_shape_in_both_modes(kind: str) -> None:
    inputs = [value.requires_grad_() for value in arm(seed=1)]

    def function(*values: Tensor) -> Tensor:
        return posed(kind, *values)

    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True)
    vertices, weights, turns, joints = inputs
    still = torch.zeros_like(turns, requires_grad=True)
    assert gradcheck(lambda turns: function(vertices, weights, turns, joints), still, check_forward_ad=True)
    batched = torch.func.vmap(torch.func.jacrev(lambda x: posed(kind, x, *(v.detach() for v in inputs[1:]))))
    assert batched(torch.stack([vertices, 2 * vertices]).detach()).shape == (2, 7, 3, 7, 3)


@pytest.mark.parametrize("kind", SKINNING)
def test_closed_form_is_automatic_is_central_differences(kind: str) -> None:
    vertices, weights, turns, joints = arm(seed=2)
    R, t = joint_transforms(rotation_matrix(turns), joints, PARENTS)
    closed = CLOSED[kind](vertices, weights, R, t)
    own = torch.arange(len(vertices))
    functions: list[tuple[Tensor, Callable[[Tensor], Tensor], Tensor]] = [
        (closed.by_vertex, lambda x: SKINNING[kind](x, weights, R, t), vertices),
        (closed.by_weight, lambda w: SKINNING[kind](vertices, w, R, t), weights),
    ]
    for written, function, x in functions:
        automatic = torch.func.jacrev(function)(x)[own, :, own]  # [V, 3, 3 or J]
        torch.testing.assert_close(written, automatic, atol=1e-12, rtol=1e-12)
        assert_slopes(function, x, written, per_vertex=True)
    still = torch.zeros(4, 6, dtype=torch.float64)

    def of_twist(twist: Tensor) -> Tensor:
        """Joints that are turned and shifted further."""
        return SKINNING[kind](vertices, weights, rotation_matrix(twist[:, :3]) @ R, t + twist[:, 3:])

    torch.testing.assert_close(closed.by_twist, torch.func.jacfwd(of_twist)(still), atol=1e-12, rtol=1e-12)
    assert_slopes(of_twist, still, closed.by_twist, per_vertex=False)


def assert_slopes(f: Callable[[Tensor], Tensor], x: Tensor, written: Tensor, per_vertex: bool) -> None:
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    numeric = (f(x + 1e-5 * d) - f(x - 1e-5 * d)) / 2e-5
    along = (written @ d[..., None]).squeeze(-1) if per_vertex else (written * d).sum((-1, -2))
    assert (along - numeric).norm() <= 1e-6 * numeric.norm()


def test_closed_forms_take_batches() -> None:
    vertices, weights, turns, joints = arm(2, seed=3)
    R, t = joint_transforms(rotation_matrix(turns), joints, PARENTS)
    for closed in CLOSED.values():
        both, alone = closed(vertices, weights, R, t), closed(vertices[1], weights, R[1], t[1])
        for name in ("by_vertex", "by_weight", "by_twist"):
            torch.testing.assert_close(getattr(both, name)[1], getattr(alone, name))


def test_a_twist_of_170_degrees_keeps_its_volume_with_dual_quaternions_only() -> None:
    vertices, triangles = tube()
    whole = volume(vertices, triangles)
    linear, dual = (volume(twisted(vertices, kind, math.radians(170)), triangles) for kind in SKINNING)
    assert whole == pytest.approx(math.pi * 0.25**2 * 2, rel=0.03)
    assert dual > 0.97 * whole
    assert linear < 0.72 * whole
    middle = vertices[:, 0].abs() < 1e-9
    radius = twisted(vertices, "linear", math.radians(170))[middle, 1:].norm(dim=-1)
    assert radius.max() < 0.1 * 0.25  # the candy wrapper


def test_joints_that_have_come_around_do_not_tear_the_skin() -> None:
    """A quaternion of 200° is that of −160° with the other sign: blends must not jump between them."""
    vertices, _ = tube()
    angles = torch.linspace(2.9, 3.4, 26, dtype=torch.float64)
    frames = torch.stack([twisted(vertices, "dual quaternion", float(a), steps=3) for a in angles])
    assert (frames[1:] - frames[:-1]).norm(dim=-1).max() < 0.25 * 0.02 * 3.5 * 1.2


@pytest.mark.parametrize("kind", SKINNING)
def test_the_deformers_closed_form_knows_correctives_and_both_skinnings(kind: str) -> None:
    deformer = Deformer(with_correctives(tiny_rig(), kind))
    count = len(deformer.controls)
    for x in (some_controls(deformer, 2).abs(), torch.zeros(2, count, dtype=torch.float64)):
        written = deform_jacobian(deformer, x, torch.arange(count))
        automatic = torch.stack([torch.func.jacfwd(deformer)(item) for item in x])
        torch.testing.assert_close(written, automatic, atol=1e-12, rtol=1e-12)
    x = 0.3 + 0.1 * some_controls(deformer).clamp(-1, 1)
    d = some_controls(deformer, seed=8)
    numeric = (deformer(x + 1e-6 * d) - deformer(x - 1e-6 * d)) / 2e-6
    along = deform_jacobian(deformer, x, torch.arange(count)) @ d
    assert (along - numeric).norm() <= 1e-6 * numeric.norm()
    some = torch.tensor([count - 1, 0, count - 5, 3])
    torch.testing.assert_close(
        deform_jacobian(deformer, x, some), torch.func.jacfwd(deformer)(x)[..., some], atol=1e-12, rtol=1e-12
    )
    assert gradcheck(deformer, x[None].requires_grad_(), check_forward_ad=True, check_batched_grad=True)
