"""Which point of a triangle a sample sees."""

import torch
from scenes import square_camera
from torch import Tensor

from pipeline.render.camera import clip_from_pixels
from pipeline.render.rasterize import Fragments, barycentrics, rasterize


def rays(size: int, focal: float) -> Tensor:
    """(H, W, 3) directions with z = −1 of the pixels of `square_camera`."""
    across = (torch.arange(size, dtype=torch.float64) + 0.5 - size / 2) / focal
    y, x = torch.meshgrid(-across, across, indexing="ij")
    return torch.stack([x, y, -torch.ones_like(x)], -1)


def intersect(corners: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentrics (..., 3) of rays from the origin on a triangle's plane, and the depth there."""
    weights = torch.linalg.solve(corners.mT, directions.unsqueeze(-1)).squeeze(-1)
    total = weights.sum(-1, keepdim=True)
    return weights / total, (1 / total).squeeze(-1)


def some_fragments(vertices: Tensor) -> Fragments:
    """Two overlapping triangles, steep in depth, on 12 × 12 pixels."""
    homogeneous = square_camera(12).homogeneous(vertices)[None]
    clip = clip_from_pixels(homogeneous, (12, 12))
    return rasterize(homogeneous, clip, torch.tensor([[0, 1, 2], [1, 3, 2]]), (12, 12))


STEEP = torch.tensor([[-0.5, -0.4, -0.6], [0.9, -0.5, -1.9], [-0.2, 0.6, -1.1], [0.8, 0.9, -1.6]]).double()


def test_barycentrics_are_those_of_rays_in_space() -> None:
    fragments = some_fragments(STEEP)
    assert fragments.triangle.unique().numel() == 2
    directions = rays(12, 12.0).flatten(0, 1)[fragments.pixel]
    expected, depth = intersect(STEEP[fragments.corners], directions)
    seen = fragments.interpolate(STEEP[None])
    torch.testing.assert_close(fragments.barycentric, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(seen, directions * depth[:, None], rtol=0, atol=1e-12)


def test_float32_barycentrics_are_good_to_a_thousandth_of_a_small_triangle() -> None:
    size, triangle = (512, 512), torch.tensor([[0, 1, 2]])
    vertices = torch.tensor([[0.1, 0.12, -1.0], [0.102, 0.12, -1.001], [0.1, 0.123, -1.002]]).double()
    camera = square_camera(512, 600.0)
    clip, homogeneous = camera.clip(vertices)[None], camera.homogeneous(vertices)[None]
    exact = rasterize(homogeneous, clip, triangle, size)
    found = rasterize(homogeneous.float(), clip, triangle, size)
    assert len(exact.pixel) >= 1
    torch.testing.assert_close(found.barycentric.double(), exact.barycentric, rtol=0, atol=1e-3)


def test_barycentrics_of_a_triangle_without_area_are_finite_and_uniform() -> None:
    corners = torch.ones(1, 3, 3, dtype=torch.float64).requires_grad_()
    found = barycentrics(corners, torch.zeros(1, 2, dtype=torch.float64))
    found.square().sum().backward()
    assert torch.equal(found, torch.full((1, 3), 1 / 3, dtype=torch.float64))
    assert corners.grad is not None and corners.grad.isfinite().all()
