"""The triangle-id buffer: every backend that is present, against each pixel tested against each triangle."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.render.backends.cpu import SUBPIXEL
from pipeline.render.camera import NEAR_M, Camera, clip_from_pixels
from pipeline.render.ids import triangle_ids


def random(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Uniform, float64."""
    draw = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * draw


def in_pixels(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip coordinates of (x px, y px, depth m)."""
    return clip_from_pixels(torch.cat([points[..., :2] * points[..., 2:], points[..., 2:]], -1), size)


def reference_ids(clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> np.ndarray:
    """One triangle after the other, every pixel of the picture. All vertices are in front of the camera.

    A pixel's centre on an edge belongs to the triangle into which it falls when it moves right by an
    infinitesimal step and down by one smaller still: the top-left rule.
    """
    height, width = size
    c = clip.double().numpy()
    x = np.floor((c[:, 0] / c[:, 3] + 1) / 2 * width * SUBPIXEL + 0.5) / SUBPIXEL
    y = np.floor((1 - c[:, 1] / c[:, 3]) / 2 * height * SUBPIXEL + 0.5) / SUBPIXEL
    z = c[:, 2] / c[:, 3]
    px, py = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ids, nearest = np.full(size, -1), np.full(size, np.inf)
    for number, (i, j, k) in enumerate(triangles.tolist()):
        area = (x[j] - x[i]) * (y[k] - y[i]) - (x[k] - x[i]) * (y[j] - y[i])
        if area == 0:
            continue
        inside, depth = np.ones(size, bool), np.zeros(size)
        for a, b, opposite in ((j, k, i), (k, i, j), (i, j, k)):
            dx, dy = (x[b] - x[a]) * np.sign(area), (y[b] - y[a]) * np.sign(area)
            edge = dx * (py - y[a]) - dy * (px - x[a])
            inside &= (edge > 0) | ((edge == 0) & ((-dy > 0) | ((dy == 0) & (dx > 0))))
            depth += edge / abs(area) * z[opposite]
        seen = inside & (depth < nearest)
        ids[seen], nearest[seen] = number, depth[seen]
    return ids


@pytest.mark.parametrize("seed", range(4))
def test_ids_of_random_meshes_are_those_of_every_pixel_tested_against_every_triangle(seed: int) -> None:
    size = (37, 52)
    points = random(40, 3, seed=seed) * torch.tensor([40.0, 30.0, 0.5]) + torch.tensor([26.0, 18.0, 1.0])
    triangles = torch.randint(40, (60, 3), generator=torch.Generator().manual_seed(seed))  # some have no area
    clip = in_pixels(points, size)
    found = triangle_ids(clip, triangles, size)
    assert found.unique().numel() > 20
    assert np.array_equal(found.numpy(), reference_ids(clip, triangles, size))


def test_ids_where_edges_and_corners_run_through_pixel_centres() -> None:
    size = (16, 16)
    places = torch.randint(-1, 17, (30, 2), generator=torch.Generator().manual_seed(1)) + 0.5
    clip = in_pixels(torch.cat([places.double(), random(30, 1, low=0.5)], -1), size)
    triangles = torch.randint(30, (25, 3), generator=torch.Generator().manual_seed(2))
    found = triangle_ids(clip, triangles, size)
    assert np.array_equal(found.numpy(), reference_ids(clip, triangles, size))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1 / 512])
def test_triangles_that_share_edges_cover_each_pixel_exactly_once(dtype: torch.dtype, offset: float) -> None:
    size = (24, 24)
    corners = torch.tensor([[2.0, 2], [20, 2], [20, 20], [2, 20]]) + offset
    middles = corners.mean(0) + random(5, 2, seed=3).float() * 5
    for middle in middles:
        points = torch.cat([torch.cat([corners, middle[None]]), torch.ones(5, 1)], -1).to(dtype)
        clip = in_pixels(points, size)
        fan = torch.tensor([[0, 1, 4], [2, 1, 4], [2, 3, 4], [0, 3, 4]])  # of both windings
        quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
        square = torch.zeros(size, dtype=torch.int64)
        square[2:20, 2:20] = 1
        for mesh in (fan, quad):
            covers = torch.stack([triangle_ids(clip, one[None], size) >= 0 for one in mesh])
            assert torch.equal(covers.sum(0), square)


def test_the_nearest_triangle_wins_whatever_the_order_and_the_winding() -> None:
    points = torch.tensor([[0.0, 0, 1], [9, 0, 1], [0, 9, 1], [0, 0, 2], [9, 0, 2], [0, 9, 2]])
    clip = in_pixels(points.double(), (4, 4))
    for near, far in (([0, 1, 2], [3, 4, 5]), ([0, 2, 1], [3, 5, 4])):
        assert (triangle_ids(clip, torch.tensor([near, far]), (4, 4)) == 0).all()
        assert (triangle_ids(clip, torch.tensor([far, near]), (4, 4)) == 1).all()


def test_triangles_that_pierce_each_other_share_the_picture_where_they_cross() -> None:
    rising = torch.tensor([[-9.0, -9, 1], [30, 8, 9], [-9, 99, 1]])
    flat = torch.tensor([[-99.0, -99, 1.4], [199, -99, 1.4], [8, 199, 1.4]])
    clip = in_pixels(torch.cat([rising, flat]).double(), (16, 16))
    triangles = torch.arange(6).view(2, 3)
    found = triangle_ids(clip, triangles, (16, 16))
    assert set(found.unique().tolist()) == {0, 1}
    assert np.array_equal(found.numpy(), reference_ids(clip, triangles, (16, 16)))


def square_camera(size: int, focal: float | None = None) -> Camera:
    """Looks straight ahead; a metre at 1 m spans the view, or `focal` px."""
    middle = torch.full((2,), size / 2, dtype=torch.float64)
    return Camera(torch.tensor(focal or float(size), dtype=torch.float64), middle, size=(size, size))


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


@pytest.mark.parametrize("behind", [1, 2])
def test_a_triangle_through_the_camera_plane_covers_what_lies_in_front_of_the_near_plane(behind: int) -> None:
    around = torch.tensor([[-0.4, -0.3, -1.2], [0.5, -0.25, -1], [0.05, -0.02, -0.8]])
    corners = random(3, 3, seed=behind) * 0.05 + around
    corners[3 - behind :] *= torch.tensor([1, 1, -0.5])
    found = triangle_ids(square_camera(64).clip(corners), torch.tensor([[0, 1, 2]]), (64, 64)) >= 0
    weights, depth = intersect(corners, rays(64, 64))
    margin = torch.cat([weights, (depth - NEAR_M)[..., None]], -1).amin(-1)
    sure = margin.abs() > 2e-2
    assert sure.float().mean() > 0.8
    assert 50 < found.sum() < 64 * 64 - 50
    assert torch.equal(found[sure], (margin > 0)[sure])


def test_a_triangle_behind_the_camera_is_not_seen() -> None:
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [0, 1, 0.5]]).double()
    assert (triangle_ids(square_camera(8).clip(corners), torch.tensor([[0, 1, 2]]), (8, 8)) == -1).all()


def test_vertices_that_are_not_numbers_lose_only_their_own_triangles() -> None:
    size = (8, 8)
    points = torch.tensor([[0.0, 0, 1], [8, 0, 1], [8, 8, 1], [0, 8, 1]]).double()
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    whole = triangle_ids(in_pixels(points, size), triangles, size)
    for bad in (torch.nan, torch.inf, -torch.inf):
        clip = in_pixels(points, size)
        clip[1, 0] = bad
        found = triangle_ids(clip, triangles, size)
        assert torch.equal(found, torch.where(whole == 0, -1, whole))


def test_no_area_no_triangles_and_no_vertices_leave_the_picture_empty() -> None:
    clip = in_pixels(torch.tensor([[1.0, 1, 1], [5, 5, 1], [7, 7, 1]]).double(), (8, 8))
    assert (triangle_ids(clip, torch.tensor([[0, 1, 2], [0, 0, 1]]), (8, 8)) == -1).all()
    nothing = torch.zeros(0, 3, dtype=torch.int64)
    assert (triangle_ids(clip, nothing, (8, 8)) == -1).all()
    assert (triangle_ids(clip[:0], nothing, (8, 8)) == -1).all()


def test_a_picture_of_one_pixel() -> None:
    clip = in_pixels(torch.tensor([[0.0, 0, 1], [1.1, 0, 1], [0, 1.1, 1]]).double(), (1, 1))
    assert triangle_ids(clip, torch.tensor([[0, 1, 2]]), (1, 1)).tolist() == [[0]]


def test_ids_of_a_batch_and_under_vmap_are_those_of_the_singles() -> None:
    size = (20, 24)
    points = random(2, 3, 30, 3) * torch.tensor([20.0, 20, 0.5]) + torch.tensor([12.0, 10, 1])
    clip = in_pixels(points, size)
    triangles = torch.randint(30, (20, 3), generator=torch.Generator().manual_seed(0))
    batch = triangle_ids(clip, triangles, size)
    assert batch.shape == (2, 3, *size)
    assert not torch.equal(batch[0, 0], batch[1, 0])
    for i in range(2):
        for j in range(3):
            assert torch.equal(batch[i, j], triangle_ids(clip[i, j], triangles, size))
    one = torch.func.vmap(lambda c: triangle_ids(c, triangles, size))
    assert torch.equal(one(clip), batch)
    assert torch.equal(torch.func.vmap(one)(clip), batch)
    last = torch.func.vmap(lambda c: triangle_ids(c, triangles, size), in_dims=2)
    assert torch.equal(last(clip.permute(0, 2, 1, 3)), batch.transpose(0, 1))
