"""Contacts: closest points, smooth penalties, and lips that find each other."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pipeline.deform.quasistatic import contact
from pipeline.deform.quasistatic.closest_point import closest_barycentric, nearest_triangle
from pipeline.deform.quasistatic.contact import Planes, contact_gradient
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


def planes() -> Planes:
    """Node 0 on nodes 1 to 3, node 4 on a fixed plane."""
    normal = torch.nn.functional.normalize(some(2, 3, seed=3), dim=-1)
    return Planes(
        np.array([0, 4]),
        torch.tensor([[1, 2, 3], [4, 4, 4]]),
        torch.tensor([[0.2, 0.3, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64),
        normal,
        torch.tensor([1e-4, 5e-3], dtype=torch.float64),
        torch.tensor([3.0, 2.0], dtype=torch.float64),
    )


def test_pushes_are_slopes_of_the_energy_and_curvatures_slopes_of_pushes() -> None:
    p, x = planes(), 1e-3 * some(5, 3, seed=4).numpy()
    q = Planes(p.node, *(values.numpy() for values in p[1:]))
    along, h = some(5, 3, seed=5).numpy(), 1e-8

    def gradient(x: np.ndarray) -> np.ndarray:
        out = np.zeros_like(x)
        contact.add_gradient(q, contact.depth(q, x), out)
        return out

    s = contact.depth(q, x)
    assert 0 < s[0] < 2e-3 and s[1] > contact.EASE_M
    slope = (
        contact.energy(q, contact.depth(q, x + h * along))
        - contact.energy(q, contact.depth(q, x - h * along))
    ) / (2 * h)
    assert slope == pytest.approx((gradient(x) * along).sum(), rel=1e-5)
    np.testing.assert_allclose(gradient(x), contact_gradient(p, torch.from_numpy(x)), atol=1e-15)
    nodes, blocks = contact.hessian_blocks(q, s)
    change = np.zeros_like(x)
    for who, block in zip(nodes, blocks, strict=True):
        for i in range(4):
            for j in range(4):
                change[who[i]] += block[i, j] @ along[who[j]]
    np.testing.assert_allclose(
        change, (gradient(x + h * along) - gradient(x - h * along)) / (2 * h), atol=1e-5
    )


def test_a_contact_takes_hold_smoothly() -> None:
    s = np.linspace(-1e-4, 6e-4, 7001)
    none = np.zeros((1, 3))
    q = Planes(np.zeros(1, int), none, none, none, np.zeros(1), np.ones(1))
    energy = np.array([contact.energy(q, np.array([each])) for each in s])
    push = np.array([contact.push(q, np.array([each]))[0] for each in s])
    np.testing.assert_allclose(np.gradient(energy, s), push, atol=1e-7)
    assert np.abs(np.diff(push, 2)).max() < 1e-9  # a kink would be a jump of its slope times 1e-7
    assert energy[s <= 0].max() == 0


def test_lips_are_what_faces_across_a_gap_and_parts_with_the_jaw() -> None:
    """Two plates 2 mm apart, and two that stay together."""
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5), indexing="ij"), -1).reshape(-1, 2) * 0.002
    quads = [(5 * i + j, 5 * i + j + 1, 5 * i + j + 6, 5 * i + j + 5) for i in range(4) for j in range(4)]
    down = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])  # seen from below
    sheets, triangles = [], []
    for k, (x, y, faces) in enumerate(
        [(0, 0.002, down[:, ::-1]), (0, 0.0, down), (0.1, 0.002, down[:, ::-1]), (0.1, 0.0, down)]
    ):
        sheets.append(np.stack([grid[:, 0] + x, np.full(25, y), grid[:, 1]], -1))
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
