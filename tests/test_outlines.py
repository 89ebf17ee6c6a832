"""How the picture changes when an outline moves, held to supersampled pictures."""

from collections.abc import Callable

import pytest
import torch
from scenes import cap_on_a_wall, grid, head_like, settings, sphere, square_camera, two_balls
from torch import Tensor

from pipeline.render.camera import clip_from_pixels
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.outlines import find_outlines
from pipeline.render.rasterize import rasterize
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface


def ramp(size: int) -> Tensor:
    """Smooth weights (H, W, 1): a picture's sum under them changes with its shifts and with its scale."""
    across = torch.linspace(-1, 1, size, dtype=torch.float64)
    y, x = across[:, None], across
    return (0.8 * x + 0.6 * y + 0.7 * (x * x + y * y))[..., None] / size


def derivative(renderer: Renderer, vertices: Tensor, direction: Tensor) -> float:
    """Of the weighted sum of the picture, backwards."""
    point = vertices.clone().requires_grad_()
    (renderer(point) * ramp(renderer.camera.size[0])).sum().backward()
    assert point.grad is not None
    return (point.grad * direction).sum().item()


def reference_derivative(renderer: Renderer, vertices: Tensor, direction: Tensor) -> float:
    """Central differences of an 8 × 8 supersampled picture; the two steps must agree to 3 %."""
    fine = Renderer(**{**settings(renderer), "samples": 8, "outlines": False}).double()
    weights = ramp(renderer.camera.size[0])
    found = []
    with torch.no_grad():
        for pixels in (0.25, 0.5):
            step = pixels / renderer.camera.focal_px.item()  # everything is about a metre away
            ahead, back = fine(vertices + step * direction), fine(vertices - step * direction)
            found.append((((ahead - back) * weights).sum() / (2 * step)).item())
    assert abs(found[0] - found[1]) < 0.03 * abs(found[0])
    return sum(found) / 2


def check_outlines(renderer: Renderer, vertices: Tensor, direction: Tensor, tolerance: float) -> None:
    """The derivative is the reference's to `tolerance`, and far from it if outlines do not count."""
    expected = reference_derivative(renderer, vertices, direction)
    error = abs(derivative(renderer, vertices, direction) / expected - 1)
    silent = Renderer(**{**settings(renderer), "outlines": False}).double()
    missing = abs(derivative(silent, vertices, direction) / expected - 1)
    print(f"expected {expected:.4f}, error {error:.2%}, without outlines {missing:.0%}")
    assert error < tolerance
    assert missing > 0.2


def moves(vertices: Tensor, name: str) -> Tensor:
    """Velocity of the vertices: about the size of a metre a unit."""
    if name == "scale":
        return (vertices - vertices.mean(0)) / 0.09
    if name == "turn":
        axis = torch.tensor([0.48, 0.64, 0.6], dtype=torch.float64)
        return torch.linalg.cross(axis.expand_as(vertices), (vertices - vertices.mean(0)) / 0.09)
    return torch.eye(3, dtype=torch.float64)["xy".index(name)].expand_as(vertices)


@pytest.mark.parametrize("name", ["x", "y", "scale"])
def test_an_outline_against_the_background_moves_the_picture(name: str) -> None:
    renderer, vertices = head_like(128)
    check_outlines(renderer, vertices, moves(vertices, name), tolerance=0.05)


@pytest.mark.parametrize("name", ["x", "y"])
def test_an_outline_between_two_parts_moves_the_picture(name: str) -> None:
    renderer, vertices, small = two_balls()
    check_outlines(renderer, vertices, moves(vertices, name) * small[:, None], tolerance=0.1)


@pytest.mark.parametrize("name", ["x", "y"])
def test_an_outline_between_two_depths_of_a_part_moves_the_picture(name: str) -> None:
    renderer, vertices, cap = cap_on_a_wall()
    check_outlines(renderer, vertices, moves(vertices, name) * cap[:, None], tolerance=0.08)


def supersampled(renderer: Renderer, vertices: Tensor) -> Tensor:
    """The picture of 12 × 12 samples a pixel."""
    fine = Renderer(**{**settings(renderer), "samples": 12, "outlines": False}).double()
    return fine(vertices)


@pytest.mark.parametrize("scene", [head_like, two_balls, cap_on_a_wall])
def test_one_sample_a_pixel_is_antialiased_at_outlines(scene: Callable[..., tuple]) -> None:
    renderer, vertices, *_ = scene(64, samples=1)
    jagged = Renderer(**{**settings(renderer), "outlines": False}).double()
    expected = supersampled(renderer, vertices)
    smooth_error = (renderer(vertices) - expected).square().mean()
    jagged_error = (jagged(vertices) - expected).square().mean()
    assert smooth_error < 0.15 * jagged_error


def test_the_picture_is_continuous_while_an_outline_crosses_its_samples() -> None:
    renderer, vertices = head_like(64, samples=1)
    step = 0.05 / renderer.camera.focal_px.item()  # of a pixel
    path = [renderer(vertices + i * step * moves(vertices, "x")) for i in range(40)]
    largest = max((after - before).abs().max().item() for before, after in zip(path, path[1:], strict=False))
    jump = (path[0].max() - path[0].min()).item()
    assert largest < 0.5 * jump  # a sample that flips jumps by the whole


@pytest.mark.parametrize("name", ["x", "y", "scale"])
def test_at_one_sample_a_pixel_the_derivative_is_that_of_the_picture_itself(name: str) -> None:
    renderer, vertices = head_like(64, samples=1)
    direction = moves(vertices, name)
    step = 0.25 / renderer.camera.focal_px.item()
    weights = ramp(64)
    differences, derivatives = [], []
    for place in range(8):  # along the way: what a step of differences sees is the mean of the slopes in it
        here = vertices + (place - 4) * step * direction
        ahead, back = renderer(here + step / 2 * direction), renderer(here - step / 2 * direction)
        differences.append(((ahead - back) * weights).sum().item() / step)
        derivatives.append(derivative(renderer, here, direction))
    assert sum(derivatives) == pytest.approx(sum(differences), rel=0.1)


@pytest.mark.parametrize("name", ["x", "y", "scale"])
def test_at_one_sample_a_pixel_outlines_move_as_those_of_a_supersampled_picture(name: str) -> None:
    renderer, vertices = head_like(128, samples=1)
    expected = reference_derivative(renderer, vertices, moves(vertices, name))
    assert derivative(renderer, vertices, moves(vertices, name)) == pytest.approx(expected, rel=0.1)


def test_a_ball_that_turns_keeps_its_outline() -> None:
    vertices, _, triangles, _ = sphere(72, 72, bumps=0)
    white = Material(torch.ones(1, 1, 4).double(), torch.tensor(0.0).double())
    light = Light(torch.ones(3), torch.zeros(3), torch.ones(3))
    renderer = Renderer(Surface(triangles), white, square_camera(128, 3.6 * 128), light, samples=1).double()
    vertices = vertices - torch.tensor([0, 0, 1.0]).double()
    turned = derivative(renderer, vertices, moves(vertices, "turn"))
    assert abs(turned) < 0.01 * abs(derivative(renderer, vertices, moves(vertices, "scale")))


def test_a_steep_surface_has_no_outline_within() -> None:
    plane, uv, triangles = grid(40, 0.3)
    tilt = torch.tensor([[0.05, 0, -1.0], [0, 1, 0], [1, 0, 0.05]]).double()  # seen almost edge on
    camera = square_camera(64, 3.6 * 64)
    homogeneous = camera.homogeneous(plane @ tilt.T - torch.tensor([0, 0, 1.0]).double())[None]
    surface = Surface(triangles, uv)
    fragments = rasterize(homogeneous, clip_from_pixels(homogeneous, (64, 64)), triangles, (64, 64))
    found = find_outlines(fragments, homogeneous, surface)
    assert len(found.front) > 50
    assert (found.other == len(fragments.pixel)).all()  # only against the background


def test_surfaces_that_pierce_each_other_have_an_outline_without_an_edge() -> None:
    plane, uv, triangles = grid(4, 0.2)
    tilted = plane @ torch.tensor([[1.0, 0, -0.5], [0, 1, 0], [0.5, 0, 1]]).double()
    vertices = torch.cat([plane, tilted]) - torch.tensor([0, 0, 1.0]).double()
    both = torch.cat([triangles, triangles + len(plane)])
    surface = Surface(both, part_of_triangle=(torch.arange(len(both)) >= len(triangles)).long())
    homogeneous = square_camera(64, 3.6 * 64).homogeneous(vertices)[None]
    fragments = rasterize(homogeneous, clip_from_pixels(homogeneous, (64, 64)), both, (64, 64))
    found = find_outlines(fragments, homogeneous, surface)
    inner = (found.other < len(fragments.pixel)) & (found.axis == 0)
    assert inner.sum() > 30
    assert (found.edge[inner] < 0).float().mean() > 0.8
