"""Contacts: closest points, smooth penalties, lips that are height fields to each other."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pipeline.deform.quasistatic import contact
from pipeline.deform.quasistatic.closest_point import closest_barycentric, nearest_triangle
from pipeline.deform.quasistatic.contact import (
    Obstacles,
    Touching,
    cleared,
    contact_energy,
    contact_gradient,
    contact_hessian,
)
from pipeline.deform.quasistatic.facing import Facing, Sheet, sheet_gap
from pipeline.deform.quasistatic.touching import find_lips

CORNERS = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    "point, closest",
    [
        ((0.2, 0.3, 5.0), (0.2, 0.3, 0.0)),
        ((0.4, -2.0, 1.0), (0.4, 0.0, 0.0)),
        ((-1.0, -1.0, 0.0), (0.0, 0.0, 0.0)),
        ((2.0, 2.0, -1.0), (0.5, 0.5, 0.0)),
        ((3.0, 0.1, 0.0), (1.0, 0.0, 0.0)),
    ],
)
def test_the_closest_point_is_inside_on_an_edge_or_at_a_corner(point: tuple, closest: tuple) -> None:
    weights = closest_barycentric(torch.tensor(point, dtype=torch.float64), CORNERS)
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    torch.testing.assert_close(weights @ CORNERS, torch.tensor(closest, dtype=torch.float64))


def test_no_other_point_of_random_triangles_is_closer_and_the_derivative_is_right() -> None:
    points, corners = some(40, 3), some(40, 3, 3, seed=1)
    weights = closest_barycentric(points, corners)
    distance = ((weights[:, None] @ corners)[:, 0] - points).norm(dim=-1)
    others = some(500, 1, 3, seed=2).exp()
    others = others / others.sum(-1, keepdim=True)
    tried = ((others[:, :, None, :] @ corners)[..., 0, :] - points).norm(dim=-1)
    assert (tried.min(0).values >= distance - 1e-12).all()
    few = points[:4].clone().requires_grad_(), corners[:4].clone().requires_grad_()
    assert gradcheck(closest_barycentric, few, check_forward_ad=True)
    which = nearest_triangle(points[:3, None], corners.expand(3, -1, -1, -1))
    each = closest_barycentric(points[:3, None].expand(3, 40, 3), corners)
    away = ((each[..., None, :] @ corners)[..., 0, :]
            - points[:3, None]).norm(dim=-1)  # fmt: skip
    assert (which[:, 0] == away.argmin(-1)).all()


def test_triangles_without_area_have_a_closest_point() -> None:
    line = CORNERS[[0, 1, 1]]
    torch.testing.assert_close(
        closest_barycentric(torch.tensor([0.3, 1.0, 0.0], dtype=torch.float64), line) @ line,
        torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64),
    )


def grid(height: Callable[[Tensor], Tensor], turned: bool) -> tuple[Tensor, np.ndarray]:
    """5 × 5 points 2 mm apart in x and z at a height (*, 2) → (*), and triangles that face up or down."""
    side = torch.arange(5.0, dtype=torch.float64) * 0.002
    flat = torch.cartesian_prod(side, side)
    points = torch.stack([flat[:, 0], height(flat), flat[:, 1]], -1)
    quads = [(5 * i + j, 5 * i + j + 1, 5 * i + j + 6, 5 * i + j + 5) for i in range(4) for j in range(4)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    return points, triangles[:, ::-1] if turned else triangles


def facing_sheets(gap: float) -> tuple[Tensor, Facing, Tensor]:
    """Two waves `gap` apart: all nodes, the lips of them, and their samples' normals."""

    def wave(p: Tensor) -> Tensor:
        return 0.002 * torch.sin(200 * p[:, 0]) + 0.3 * p[:, 1]

    upper, down = grid(lambda p: wave(p) + gap, turned=True)
    lower, above = grid(wave, turned=False)
    count = len(upper)
    sheets = [
        Sheet.sampled(np.arange(count) + first, triangles, np.full(len(triangles), 2e-6), np.full(count, 5.0))
        for first, triangles in ((0, down), (count, above))
    ]
    facing = Facing(sheets[0], sheets[1], np.array([0.0, 1.0, 0.0]))
    normals = []
    for sheet, points, sign in ((sheets[0], upper, -1.0), (sheets[1], lower, 1.0)):
        x = sheet.sample(points)[:, 0]
        slope = torch.stack([0.4 * torch.cos(200 * x), 0 * x - 1, 0 * x + 0.3], -1)
        normals.append(-sign * slope)
    return torch.cat([upper, lower]), facing, torch.cat(normals)


def scene() -> tuple[Tensor, Obstacles, Touching]:
    """Two sheets 0.1 mm in each other and shaken, two nodes at planes, two at balls."""
    nodes, facing, normal = facing_sheets(-1e-4)
    nodes = nodes + 5e-5 * some(*nodes.shape, seed=4)
    first, second = nodes[:2], nodes[2:4]
    up = torch.nn.functional.normalize(some(2, 3, seed=3), dim=-1)
    side = torch.nn.functional.normalize(some(2, 3, seed=6), dim=-1)
    into = torch.tensor([1e-4, 2e-3], dtype=torch.float64)
    obstacles = Obstacles(
        up,
        (up * first).sum(-1) + into,
        torch.tensor([3.0, 2.0], dtype=torch.float64),
        second - 0.012 * side,
        0.012 + into,
        normal,
        torch.full((len(nodes),), 2e-4, dtype=torch.float64),
    )
    return nodes, obstacles, Touching(np.array([0, 1]), np.array([2, 3]), np.array([4.0, 5.0]), facing)


def test_pushes_are_slopes_of_the_energy_and_curvatures_slopes_of_pushes() -> None:
    x, obstacles, touching = scene()
    assert touching.lips is not None
    gap = sheet_gap(x, obstacles.lip_normal, touching.lips)[0]
    assert (obstacles.lip_keep - gap).max() > 2e-4
    assert gradcheck(
        lambda x: contact_energy(x, obstacles, touching), x.requires_grad_(), eps=1e-8, atol=1e-8
    )
    x = x.detach()
    slope = torch.func.grad(lambda x: contact_energy(x, obstacles, touching))(x)
    torch.testing.assert_close(contact_gradient(x, obstacles, touching), slope, atol=1e-13, rtol=1e-10)
    curvature = torch.func.hessian(lambda x: contact_energy(x, obstacles, touching))(x).permute(0, 2, 1, 3)
    nodes, blocks, lips = contact_hessian(x, obstacles, touching, projected=False)
    total = torch.from_numpy(lips.copy())
    for node, block in zip(nodes, blocks, strict=True):
        total[node, node] += torch.from_numpy(block)
    torch.testing.assert_close(total, curvature, atol=1e-9 * float(curvature.abs().max()), rtol=0)
    nodes, blocks, lips = contact_hessian(x, obstacles, touching, projected=True)
    assert np.linalg.eigvalsh(blocks).min() > -1e-12
    flat = lips.transpose(0, 2, 1, 3).reshape(3 * len(x), -1)
    assert np.linalg.eigvalsh(flat).min() > -1e-9 * np.abs(flat).max()


def test_forces_between_sheets_balance_and_move_smoothly_with_what_they_are_given() -> None:
    x, obstacles, touching = scene()
    none = np.empty(0, np.int64)
    lips_only, lone = Touching(none, none, np.empty(0), touching.lips), slice(0, 0)
    nothing = obstacles._replace(
        plane_normal=obstacles.plane_normal[lone], plane_offset=obstacles.plane_offset[lone],
        plane_stiffness=obstacles.plane_stiffness[lone], ball_centre=obstacles.ball_centre[lone],
        ball_radius=obstacles.ball_radius[lone],
    )  # fmt: skip
    push = contact_gradient(x, nothing, lips_only)
    assert push.norm() > 0 and push.sum(0).norm() < 1e-12 * push.norm()

    def by(*values: Tensor) -> Tensor:
        return (contact_gradient(x, Obstacles(*values), touching) * some(*x.shape, seed=8)).sum()

    given = tuple(obstacles)
    along = tuple(1e-3 * some(*value.shape, seed=20 + k) * value.abs().max() for k, value in enumerate(given))
    slope = float(torch.func.jvp(by, given, along)[1])
    gradients = torch.func.grad(by, argnums=tuple(range(len(given))))(*given)
    pairs = zip(gradients, along, strict=True)
    assert slope == pytest.approx(float(sum((g * a).sum() for g, a in pairs)), rel=1e-9)
    there, back = (by(*(v + sign * 1e-5 * a for v, a in zip(given, along, strict=True))) for sign in (1, -1))
    assert slope == pytest.approx(float(there - back) / 2e-5, rel=1e-4)
    two = Obstacles(*(torch.stack([value, value]) for value in obstacles))
    both = contact_gradient(torch.stack([x, x + 1e-5]), two, touching)
    torch.testing.assert_close(both[0], contact_gradient(x, obstacles, touching))


def test_what_is_cleared_is_out_of_balls_and_lips_and_moves_smoothly() -> None:
    x, obstacles, touching = scene()
    x = x.repeat(2, 1, 1) + torch.tensor([0.0, 1e-4]).double()[:, None, None] * some(*x.shape, seed=9)
    two = Obstacles(*(torch.stack([value, value]) for value in obstacles))
    there = cleared(x, two, touching)
    inside = two.ball_radius - (there[:, touching.ball_nodes] - two.ball_centre).norm(dim=-1)
    assert touching.lips is not None and inside.max() < 3e-4  # from 2 mm
    before, after = (two.lip_keep - sheet_gap(p, two.lip_normal, touching.lips)[0] for p in (x, there))
    assert before.median() > 2e-4 and after.median() < 1.5e-4  # balls push two of the nodes further

    def moved(x: Tensor, centre: Tensor) -> Tensor:
        return cleared(x, two._replace(ball_centre=centre), touching)

    given = (x, two.ball_centre)
    along = tuple(1e-3 * some(*value.shape, seed=30 + k) for k, value in enumerate(given))
    slope = torch.func.jvp(moved, given, along)[1]
    there, back = (moved(*(v + h * a for v, a in zip(given, along, strict=True))) for h in (1e-4, -1e-4))
    torch.testing.assert_close(slope, (there - back) / 2e-4, atol=1e-7 * float(slope.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("gap", [3e-3, 2e-4, -5e-3])
def test_a_sheets_height_is_that_of_its_surface_also_from_deep_below(gap: float) -> None:
    x, facing, normal = facing_sheets(gap)
    f = sheet_gap(x, normal, facing)[0].view(2, 5, 5)[:, 1:-1, 1:-1]
    assert (f - gap).abs().max() < 2e-4


def test_a_contact_takes_hold_smoothly() -> None:
    s = torch.linspace(-1e-4, 6e-4, 7001, dtype=torch.float64)
    energy, push, grip = contact._ease(s), contact._push(s), contact._grip(s)
    torch.testing.assert_close(torch.gradient(energy, spacing=(s,))[0], push, atol=1e-7, rtol=0)
    torch.testing.assert_close(torch.gradient(push, spacing=(s,))[0], grip, atol=1e-3, rtol=0)
    assert push.diff(n=2).abs().max() < 1e-9  # a kink would be a jump of its slope times 1e-7
    assert energy[s <= 0].max() == 0


def test_lips_are_what_faces_across_a_gap_and_parts_with_the_jaw() -> None:
    """Two plates 2 mm apart, and two that stay together."""
    plate = np.stack(np.meshgrid(np.arange(5), np.arange(5), indexing="ij"), -1).reshape(-1, 2) * 0.002
    quads = [(5 * i + j, 5 * i + j + 1, 5 * i + j + 6, 5 * i + j + 5) for i in range(4) for j in range(4)]
    down = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])  # seen from below
    sheets, triangles = [], []
    for k, (x, y, faces) in enumerate(
        [(0, 0.002, down[:, ::-1]), (0, 0.0, down), (0.1, 0.002, down[:, ::-1]), (0.1, 0.0, down)]
    ):
        sheets.append(np.stack([plate[:, 0] + x, np.full(25, y), plate[:, 1]], -1))
        triangles.append(faces + 25 * k)
    points, faces = np.concatenate(sheets), np.concatenate(triangles)
    normal = np.cross(*(points[faces[0]][1:] - points[faces[0]][0]))
    if normal[1] > 0:  # the upper plate must face down
        faces = faces[:, ::-1]
    opened = points.copy()
    opened[25:50, 1] -= 0.01
    lips = find_lips(points, faces, opened, np.ones(100, dtype=bool))
    assert lips is not None
    np.testing.assert_allclose(lips.up, [0, 1, 0], atol=1e-12)
    assert set(lips.upper) == set(range(25)) and set(lips.lower) == set(range(25, 50))
    assert find_lips(points, faces, points, np.ones(100, dtype=bool)) is None
