"""The triangle-id buffer: every backend that is present, against each pixel tested against each triangle.

Triton's kernel can be tried without a GPU: TRITON_INTERPRET=1 pytest tests/test_ids.py
"""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import random, square_camera
from torch import Tensor

from pipeline.doctor import examine
from pipeline.errors import ChainRigError
from pipeline.render import ids
from pipeline.render.backends.cpu import SUBPIXEL
from pipeline.render.camera import NEAR_M, clip_from_pixels
from pipeline.render.ids import BACKENDS, triangle_ids

PLACES = [
    ("cpu", "cpu"),
    ("cpu", "cuda"),
    ("triton", "cpu"),
    ("triton", "cuda"),
    ("pytorch3d", "cpu"),
    ("pytorch3d", "cuda"),
    ("nvdiffrast", "cuda"),
]
SNAPPING_PX = {"cpu": 0.0, "triton": 0.0, "pytorch3d": 1 / 128, "nvdiffrast": 1 / 8}


class Place:
    """A backend on a device; called like `triangle_ids`."""

    def __init__(self, backend: str, device: str) -> None:
        self.backend, self.device = backend, device
        self.interpreted = backend == "triton" and device == "cpu"

    def __call__(self, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
        return triangle_ids(clip.to(self.device), triangles.to(self.device), size, self.backend).cpu()


def obstacle(backend: str, device: str) -> str | None:
    """Why a backend cannot be tested on a device of this machine."""
    if device == "cuda" and not torch.cuda.is_available():
        return "there is no CUDA GPU here"
    return ids.obstacle(backend, device)


PRESENT = [place for place in PLACES if obstacle(*place) is None]
EXACT = [place for place in PRESENT if place[0] in ("cpu", "triton")]  # the same snapping and arithmetic


@pytest.fixture(params=PRESENT, ids="-".join)
def find_ids(request: pytest.FixtureRequest) -> Place:
    reason = obstacle(*request.param)
    if reason is not None:
        pytest.skip(reason)
    return Place(*request.param)


everywhere = pytest.mark.parametrize("find_ids", PLACES, indirect=True, ids="-".join)
exactly = pytest.mark.parametrize("find_ids", EXACT, indirect=True, ids="-".join)


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


def random_mesh(seed: int, size: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    """Clip coordinates (40, 4) in front of the camera, and triangles; a few have two corners in common."""
    middle, spread = (
        torch.tensor([size[1] / 2, size[0] / 2, 1]),
        torch.tensor([0.8 * size[1], 0.8 * size[0], 0.5]),
    )
    clip = in_pixels(random(40, 3, seed=seed) * spread + middle, size)
    return clip, torch.randint(40, (count, 3), generator=torch.Generator().manual_seed(seed))


def shifted(clip: Tensor, x: float, y: float, size: tuple[int, int]) -> Tensor:
    """The same points, some pixels farther right and down."""
    move = torch.tensor([2 * x / size[1], -2 * y / size[0], 0, 0], dtype=clip.dtype)
    return clip + move * clip[..., 3:]


@exactly
@pytest.mark.parametrize("seed", range(3))
def test_ids_are_those_of_every_pixel_tested_against_every_triangle(find_ids: Place, seed: int) -> None:
    size = (19, 26) if find_ids.interpreted else (37, 52)
    clip, triangles = random_mesh(seed, size, 30 if find_ids.interpreted else 60)
    found = find_ids(clip, triangles, size)
    assert found.unique().numel() > 10
    assert np.array_equal(found.numpy(), reference_ids(clip, triangles, size))


@everywhere
def test_backends_agree_up_to_snapping(find_ids: Place) -> None:
    within = SNAPPING_PX[find_ids.backend]
    for seed, size in enumerate([(20, 25)] if find_ids.interpreted else [(120, 150), (150, 120), (128, 128)]):
        clip, triangles = random_mesh(seed, size, 25)
        clip[::5, 2] -= 1.01 * clip[::5, 3]  # across the near plane
        found = find_ids(clip, triangles, size)
        explained = torch.zeros(size, dtype=torch.bool)
        for x in (-within, 0, within):
            for y in (-within, 0, within):
                explained |= found == triangle_ids(shifted(clip, x, y, size), triangles, size, "cpu")
        same = found == triangle_ids(clip, triangles, size, "cpu")
        assert found.unique().numel() > 5
        assert same.float().mean() > (0.98 if within else 0.9999)
        assert explained.float().mean() > 0.9995


@exactly
def test_ids_where_edges_and_corners_run_through_pixel_centres(find_ids: Place) -> None:
    size = (16, 16)
    places = torch.randint(-1, 17, (30, 2), generator=torch.Generator().manual_seed(1)) + 0.5
    clip = in_pixels(torch.cat([places.double(), random(30, 1, low=0.5)], -1), size)
    triangles = torch.randint(30, (25, 3), generator=torch.Generator().manual_seed(2))
    assert np.array_equal(find_ids(clip, triangles, size).numpy(), reference_ids(clip, triangles, size))


@exactly
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1 / 512])
def test_triangles_that_share_edges_cover_each_pixel_exactly_once(
    find_ids: Place, dtype: torch.dtype, offset: float
) -> None:
    size = (10, 10)
    corners = torch.tensor([[2.0, 2], [8, 2], [8, 8], [2, 8]]) + offset
    middles = corners.mean(0) + random(2, 2, seed=3).float() * 2
    for middle in middles:
        points = torch.cat([torch.cat([corners, middle[None]]), torch.ones(5, 1)], -1).to(dtype)
        clip = in_pixels(points, size)
        fan = torch.tensor([[0, 1, 4], [2, 1, 4], [2, 3, 4], [0, 3, 4]])  # of both windings
        quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
        square = torch.zeros(size, dtype=torch.int64)
        square[2:8, 2:8] = 1
        for mesh in (fan, quad):
            covers = torch.stack([find_ids(clip, one[None], size) >= 0 for one in mesh])
            assert torch.equal(covers.sum(0), square)


def test_the_nearest_triangle_wins_whatever_the_order_and_the_winding(find_ids: Place) -> None:
    points = torch.tensor([[0.0, 0, 1], [9, 0, 1], [0, 9, 1], [0, 0, 2], [9, 0, 2], [0, 9, 2]])
    clip = in_pixels(points.double(), (4, 4))
    for near, far in (([0, 1, 2], [3, 4, 5]), ([0, 2, 1], [3, 5, 4])):
        assert (find_ids(clip, torch.tensor([near, far]), (4, 4)) == 0).all()
        assert (find_ids(clip, torch.tensor([far, near]), (4, 4)) == 1).all()


def test_small_triangles_a_millimetre_behind_a_large_one_are_hidden(find_ids: Place) -> None:
    size, cells = (256, 256), 6 if find_ids.interpreted else 20
    at = torch.arange(cells + 1) / 2.0  # half a pixel apart
    y, x = (grid.flatten() for grid in torch.meshgrid(at + 0.1, at + 0.2, indexing="ij"))
    i, j = (
        grid.flatten() for grid in torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    )
    a, b = i * (cells + 1) + j, (i + 1) * (cells + 1) + j
    small = torch.cat([torch.stack([a, b, a + 1], -1), torch.stack([a + 1, b, b + 1], -1)])
    large = torch.tensor([[-1.0, -1, 1], [99, -1, 1], [-1, 99, 1]])
    points = torch.cat([torch.stack([x, y, torch.full_like(x, 1.001)], -1), large]).double()
    clip = in_pixels(points, size)
    assert (find_ids(clip, small, size) >= 0).sum() == (cells // 2) ** 2
    triangles = torch.cat([small, torch.tensor([[len(x), len(x) + 1, len(x) + 2]])])
    found = find_ids(clip, triangles, size)
    assert set(found.unique().tolist()) == {-1, len(small)}


@exactly
def test_triangles_that_pierce_each_other_share_the_picture_where_they_cross(find_ids: Place) -> None:
    rising = torch.tensor([[-9.0, -9, 1], [30, 8, 9], [-9, 99, 1]])
    flat = torch.tensor([[-99.0, -99, 1.4], [199, -99, 1.4], [8, 199, 1.4]])
    clip = in_pixels(torch.cat([rising, flat]).double(), (16, 16))
    triangles = torch.arange(6).view(2, 3)
    found = find_ids(clip, triangles, (16, 16))
    assert set(found.unique().tolist()) == {0, 1}
    assert np.array_equal(found.numpy(), reference_ids(clip, triangles, (16, 16)))


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
def test_a_triangle_through_the_camera_plane_covers_what_lies_in_front_of_the_near_plane(
    find_ids: Place, behind: int
) -> None:
    size = 24 if find_ids.interpreted else 64
    around = torch.tensor([[-0.4, -0.3, -1.2], [0.5, -0.25, -1], [0.05, -0.02, -0.8]])
    corners = random(3, 3, seed=behind) * 0.05 + around
    corners[3 - behind :] *= torch.tensor([1, 1, -0.5])
    clip = square_camera(size).clip(corners)
    weights, depth = intersect(corners, rays(size, size))
    margin = torch.cat([weights, (depth - NEAR_M)[..., None]], -1).amin(-1)
    sure = margin.abs() > 2e-2
    assert sure.float().mean() > 0.8
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1]):
        found = find_ids(clip, torch.tensor([order]), (size, size)) >= 0
        assert 0.01 < found.float().mean() < 0.99
        assert torch.equal(found[sure], (margin > 0)[sure])


@exactly
def test_triangles_that_share_an_edge_through_the_near_plane_have_no_pixel_twice_and_leave_no_gap(
    find_ids: Place,
) -> None:
    size = (12, 12) if find_ids.interpreted else (96, 96)
    for seed in range(2 if find_ids.interpreted else 20):
        around = torch.tensor([[-0.01, 0.03, -0.5], [0.01, -0.1, 0.3], [-9.0, -2, -0.9], [9.0, -2, -0.9]])
        points = random(4, 3, seed=seed) * torch.tensor([0.05, 0.05, 0.1]) + around
        clip = square_camera(size[0]).clip(points)
        left, right = (find_ids(clip, torch.tensor([t]), size) >= 0 for t in ([0, 1, 2], [1, 0, 3]))
        assert left.any() and right.any()
        assert not (left & right).any()
        seen = (left | right).int()
        assert ((seen.diff(dim=1) < 0).sum(1) <= 1).all()  # no row is left and entered again


def test_a_triangle_behind_the_camera_is_not_seen(find_ids: Place) -> None:
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [0, 1, 0.5]]).double()
    triangle = torch.tensor([[0, 1, 2]])
    assert (find_ids(square_camera(8).clip(corners), triangle, (8, 8)) == -1).all()
    assert (find_ids(torch.zeros(3, 4), triangle, (8, 8)) == -1).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("axis", range(4))
def test_vertices_that_are_not_numbers_lose_only_their_own_triangles(
    find_ids: Place, bad: float, axis: int
) -> None:
    size = (6, 8)
    points = torch.tensor([[0.0, 0, 1], [8, 0, 1], [8, 6, 1], [0, 6, 1]]).double()
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    clip = in_pixels(points, size)
    whole = find_ids(clip, triangles, size)
    assert set(whole.unique().tolist()) >= {0, 1}
    broken = clip.clone()
    broken[1, axis] = bad
    found = find_ids(torch.stack([broken, clip]), triangles, size)
    assert torch.equal(found, torch.stack([torch.where(whole == 0, -1, whole), whole]))


def test_vertices_far_outside_the_picture_do_no_harm(find_ids: Place) -> None:
    size = (6, 8)
    points = torch.tensor([[-1e9, -1e9, 1], [1e9, -1e9, 1], [0.3, 1e9, 1]]).double()
    found = find_ids(in_pixels(points, size), torch.tensor([[0, 1, 2]]), size)
    assert (found == 0).all()


def test_no_area_no_triangles_no_vertices_and_no_pictures(find_ids: Place) -> None:
    clip = in_pixels(torch.tensor([[1.0, 1, 1], [5, 5, 1], [7, 7, 1]]).double(), (8, 8))
    triangle, nothing = torch.tensor([[0, 1, 2]]), torch.zeros(0, 3, dtype=torch.int64)
    assert (find_ids(clip, torch.tensor([[0, 1, 2], [0, 0, 1]]), (8, 8)) == -1).all()
    assert (find_ids(clip, nothing, (8, 8)) == -1).all()
    assert (find_ids(clip[:0], nothing, (8, 8)) == -1).all()
    assert find_ids(clip.expand(0, 3, 4), triangle, (8, 8)).shape == (0, 8, 8)
    assert find_ids(clip.expand(2, 0, 3, 4), triangle, (8, 8)).shape == (2, 0, 8, 8)


def test_a_picture_of_one_pixel_one_row_or_one_column(find_ids: Place) -> None:
    for size in ((1, 1), (1, 5), (5, 1)):
        points = torch.tensor([[0.0, 0, 1], [11, 0, 1], [0, 11, 1]]).double()
        found = find_ids(in_pixels(points, size), torch.tensor([[0, 1, 2]]), size)
        assert torch.equal(found, torch.zeros(size, dtype=torch.int64))


def test_a_picture_of_16_million_pixels(find_ids: Place) -> None:
    size = (4096, 4096)
    near, far = (
        torch.tensor([[3.2, 2.1], [19.2, 2.3], [3.4, 24.1]]),
        torch.tensor([[3.0, 2.0], [4.2, 2.2], [3.1, 4.6]]),
    )
    if not find_ids.interpreted:
        far = torch.tensor([[-1.0, -1.0], [9999, -1.0], [-1.0, 9999]])
    corner = 4096 - near  # at the bottom right
    depth = torch.tensor([1.0, 1, 1, 1, 1, 1, 2, 2, 2])[:, None]
    clip = in_pixels(torch.cat([torch.cat([near, corner, far]), depth], -1).double(), size)
    triangles = torch.arange(9).view(3, 3)
    found = find_ids(clip, triangles, size)
    assert torch.equal((found == 0).sum(), (found == 1).sum())
    assert found[3, 4] == 0 and found[4092, 4091] == 1
    assert 150 < (found == 0).sum() < 200
    if not find_ids.interpreted:
        assert (found == 2).sum() > 4000 * 4096


@exactly
def test_ids_of_a_batch_and_under_vmap_are_those_of_the_singles(find_ids: Place) -> None:
    size = (8, 9)
    points = random(2, 3, 30, 3) * torch.tensor([8.0, 7, 0.5]) + torch.tensor([5.0, 4, 1])
    clip = in_pixels(points, size)
    triangles = torch.randint(30, (6, 3), generator=torch.Generator().manual_seed(0))
    batch = find_ids(clip, triangles, size)
    assert batch.shape == (2, 3, *size)
    assert not torch.equal(batch[0, 0], batch[1, 0])
    for i in range(2):
        for j in range(3):
            assert torch.equal(batch[i, j], find_ids(clip[i, j], triangles, size))
    one = torch.func.vmap(lambda c: find_ids(c, triangles, size))
    assert torch.equal(one(clip), batch)
    assert torch.equal(torch.func.vmap(one)(clip), batch)
    last = torch.func.vmap(lambda c: find_ids(c, triangles, size), in_dims=2)
    assert torch.equal(last(clip.permute(0, 2, 1, 3)), batch.transpose(0, 1))


# nvdiffrast, as far as it goes without a GPU


@pytest.mark.parametrize("offset", [0, 30 << 24])  # a multiple of the number of triangles
def test_the_conversion_to_nvdiffrasts_conventions(monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    """A stand-in with its interface: meshes as ranges of triangles, row 0 at y = −1, corners out of range
    skipped, clipping at the far plane, number + 1 as a float, beyond 2²⁴ in its bits."""
    many = 1 << 24

    def rasterize(context, positions, corners, size, ranges):
        assert positions.dtype == torch.float32 and corners.dtype == ranges.dtype == torch.int32
        assert positions.is_contiguous() and corners.is_contiguous()
        assert not ((positions[..., 2] > positions[..., 3]) & (positions[..., 3] > 0)).any()
        pictures = []
        for first, count in ranges.tolist():
            mine = corners[first : first + count].long()
            numbers = torch.arange(first, first + count)[(mine >= 0).all(-1)]
            found = triangle_ids(positions, mine[(mine >= 0).all(-1)], size, "cpu").flip(0)
            pictures.append(torch.where(found < 0, 0, numbers[found.clamp(min=0)] + 1 + offset))
        number = torch.stack(pictures)
        coded = torch.where(number <= many, number.float(), (number + 0x4A800000).int().view(torch.float32))
        return torch.stack([coded] * 4, -1), None

    package, ours = types.ModuleType("nvdiffrast"), types.ModuleType("nvdiffrast.torch")
    ours.__dict__.update(
        rasterize=rasterize,
        RasterizeCudaContext=lambda device: None,
        ops=types.ModuleType("nvdiffrast.torch.ops"),
    )
    package.__dict__["torch"] = ours
    monkeypatch.setitem(sys.modules, "nvdiffrast", package)
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", ours)
    monkeypatch.delitem(sys.modules, "pipeline.render.backends.nvdiffrast", raising=False)
    backend = importlib.import_module("pipeline.render.backends.nvdiffrast")
    monkeypatch.delitem(sys.modules, "pipeline.render.backends.nvdiffrast")

    size = (21, 34)
    clips, triangles = zip(*(random_mesh(seed, size, 30) for seed in range(3)), strict=True)
    clip = torch.stack(clips).float()
    clip[1, 3] = torch.nan
    clip[2, ::5, 2] -= 1.01 * clip[2, ::5, 3]
    expected = triangle_ids(clip, triangles[0], size, "cpu")
    found = backend.ids(clip, triangles[0], size)
    assert found.dtype == torch.int64
    assert found.unique().numel() > 10
    assert (found == expected).double().mean() > 0.99  # pixel centres on edges fall otherwise upside down


# The choice


def test_ids_have_no_derivative_and_do_not_stop_others() -> None:
    clip, triangles = random_mesh(0, (8, 8), 5)

    def depth_of_seen(clip: Tensor) -> Tensor:
        found = triangle_ids(clip, triangles, (8, 8))
        return clip[..., 2][triangles[found.clamp(min=0)]].sum()

    value, slope = torch.func.jvp(depth_of_seen, (clip,), (torch.ones_like(clip),))[:2]
    assert slope == 3 * 64
    assert torch.func.grad(depth_of_seen)(clip).sum() == 3 * 64


def test_without_a_wish_a_mesh_on_the_cpu_is_rasterized_there() -> None:
    assert ids.choose("cpu") == "cpu"


def test_on_a_gpu_the_free_backends_come_before_the_research_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []
    monkeypatch.setattr(ids, "obstacle", lambda name, device: None if name in there else "absent")
    for name in ("cpu", "nvdiffrast", "pytorch3d", "triton"):
        there.append(name)
        ids.choose.cache_clear()
        assert ids.choose("cuda") == name
    ids.choose.cache_clear()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("opengl", "There is no rasterizer 'opengl': choose auto, cpu, triton, pytorch3d, nvdiffrast."),
        (
            "nvdiffrast",
            "The rasterizer nvdiffrast needs a mesh on a CUDA GPU, and .*; choose auto to take",
        ),
    ],
)
def test_a_backend_that_cannot_run_says_so(name: str, words: str) -> None:
    clip, triangles = random_mesh(0, (8, 8), 5)
    with pytest.raises(ChainRigError, match=words):
        triangle_ids(clip, triangles, (8, 8), name)
    with pytest.raises(ChainRigError, match=words):
        torch.func.vmap(lambda c: triangle_ids(c, triangles, (8, 8), name))(clip[None])


def test_a_package_that_is_missing_or_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clip, triangles = random_mesh(0, (8, 8), 5)
    ids._load.cache_clear()
    monkeypatch.delitem(sys.modules, "pipeline.render.backends.pytorch3d", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "pytorch3d"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(ChainRigError, match=r"pytorch3d needs the Python package pytorch3d \(build it"):
        triangle_ids(clip, triangles, (8, 8), "pytorch3d")

    broken = types.ModuleType("pipeline.render.backends.pytorch3d")
    monkeypatch.setitem(sys.modules, broken.__name__, broken)
    for ids_of, reason in (
        (lambda clip, triangles, size: 1 / 0, "division by zero"),
        (
            lambda clip, triangles, size: torch.full((1, *size), -1),
            "misses a triangle that fills the picture",
        ),
    ):
        broken.__dict__["ids"] = ids_of
        ids._load.cache_clear()
        with pytest.raises(ChainRigError, match=f"pytorch3d does not run here: .*{reason}"):
            triangle_ids(clip, triangles, (8, 8), "pytorch3d")
    ids._load.cache_clear()


def test_what_is_called_verified_on_a_gpu_has_a_recorded_check() -> None:
    results = Path(__file__).parent.parent / "benchmarks" / "results"
    recorded = [json.loads(path.read_text())["parity"] for path in results.glob("gpu_check_*.json")]
    for name, backend in BACKENDS.items():
        checks = [check for parity in recorded for check in parity.get(name, {}).values()]
        passed = bool(checks) and all(check["passed"] for check in checks)
        assert ("cuda" in backend.verified) == passed


def test_doctor_names_every_rasterizer_its_licence_and_what_nobody_has_run() -> None:
    checks = {check.name: check for check in examine()["Rasterizers"]}
    assert list(checks) == list(BACKENDS)
    assert checks["cpu"].usable and checks["cpu"].essential
    assert "research licence, not for commercial use" in checks["nvdiffrast"].note
    for name, check in checks.items():
        assert check.usable == (ids.obstacle(name, "cuda" if torch.cuda.is_available() else "cpu") is None)
        assert ("unverified" in check.note) == ("cuda" not in BACKENDS[name].verified)
        assert check.usable or BACKENDS[name].install in check.note or "does not run here" in check.note
