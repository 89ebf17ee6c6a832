"""How the picture changes when an outline moves, held to supersampled pictures."""

import pytest
import torch
from scenes import cap_on_a_wall, head_like, settings, two_balls
from torch import Tensor

from pipeline.render.renderer import Renderer


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
    return torch.eye(3, dtype=torch.float64)["xy".index(name)].expand_as(vertices)


@pytest.mark.parametrize("name", ["x", "y", "scale"])
def test_an_outline_against_the_background_moves_the_picture(name: str) -> None:
    renderer, vertices = head_like()
    check_outlines(renderer, vertices, moves(vertices, name), tolerance=0.05)


@pytest.mark.parametrize("name", ["x", "y"])
def test_an_outline_between_two_parts_moves_the_picture(name: str) -> None:
    renderer, vertices, small = two_balls()
    check_outlines(renderer, vertices, moves(vertices, name) * small[:, None], tolerance=0.1)


@pytest.mark.parametrize("name", ["x", "y"])
def test_an_outline_between_two_depths_of_a_part_moves_the_picture(name: str) -> None:
    renderer, vertices, cap = cap_on_a_wall()
    check_outlines(renderer, vertices, moves(vertices, name) * cap[:, None], tolerance=0.08)


def test_outlines_add_nothing_to_the_picture_itself() -> None:
    renderer, vertices, _ = two_balls(32)
    silent = Renderer(**{**settings(renderer), "outlines": False}).double()
    assert torch.equal(renderer(vertices), silent(vertices))
