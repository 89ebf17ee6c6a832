"""Layer 2: what a sample sees, its colour, and how both change when the vertices move."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.camera import NEAR_M, Camera, clip_from_pixels
from pipeline.render.lighting import Light, vertex_normals
from pipeline.render.rasterize import Fragments, barycentrics, rasterize
from pipeline.render.renderer import Renderer
from pipeline.render.texture import Mipmaps, level_of_detail

Function = Callable[[Tensor], Tensor]


def random(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Uniform, float64."""
    draw = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * draw


def in_pixels(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip coordinates of (x px, y px, depth m)."""
    return clip_from_pixels(torch.cat([points[..., :2] * points[..., 2:], points[..., 2:]], -1), size)


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


# Barycentrics


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


# Derivatives of the parts


def jvp(function: Function, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """The value, and its derivative along a direction in forward mode."""
    value, along = torch.func.jvp(function, (x,), (direction,))[:2]
    return value, along


def vjp(function: Function, x: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the weighted sum, in reverse mode."""
    return torch.func.vjp(function, x)[1](weights)[0]


def check_derivative(function: Function, x: Tensor, step: float = 1e-6, tolerance: float = 1e-6) -> None:
    """Along random directions: forward mode against central differences, reverse by the adjoint identity."""
    for seed in range(3):
        direction = random(*x.shape, seed=100 + seed)
        value, along = jvp(function, x, direction)
        difference = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
        assert along.abs().max() > 0
        assert (along - difference).abs().max() <= tolerance * along.abs().max().clamp(min=1)
        weights = random(*value.shape, seed=200 + seed)
        left, right = (vjp(function, x, weights) * direction).sum(), (weights * along).sum()
        assert (left - right).abs() <= 1e-9 * (weights.norm() * along.norm()).clamp(min=1)


def parts() -> dict[str, tuple[Function, Tensor]]:
    """Each differentiable piece and a point."""
    camera = Camera(
        random(2, low=40, high=60),
        random(2, 2, low=10, high=20),
        torch.eye(2, 3, dtype=torch.float64) + 0.1 * random(2, 2, 3, seed=3),
    )
    points = random(2, 4, 3, seed=4) * 0.3 - torch.tensor([0, 0, 1.0], dtype=torch.float64)
    triangles = torch.tensor([[0, 1, 2], [1, 3, 2]])
    light = Light(random(3, seed=5), random(3, seed=6), random(3, seed=7))
    mipmaps = Mipmaps(random(8, 16, 3, seed=8))
    uv, level = random(7, 2, low=-0.1, high=1.1, seed=12), torch.tensor([0, 1, 2, 3, 0, 0, 9])
    fragments = some_fragments(STEEP)
    return {
        "homogeneous": (camera.homogeneous, points),
        "project": (camera.project, points),
        "clip": (camera.clip, points),
        "pixels_per_metre": (camera.pixels_per_metre, random(2, 5, low=0.5, seed=9)),
        "normals": (lambda x: vertex_normals(x, triangles), points),
        "light": (light, random(2, 5, 3, seed=10)),
        "barycentrics": (lambda x: some_fragments(x).barycentric, STEEP),
        "interpolate": (fragments.interpolate, random(1, 4, 3, seed=11)),
        "texture in uv": (lambda x: mipmaps.sample(x, level), uv),
        "texture in texels": (lambda x: Mipmaps(x).sample(uv, level), random(8, 4, 3, seed=13)),
        "encode dark": (srgb.encode, random(20, low=-0.01, high=0.02, seed=14)),
        "encode bright": (srgb.encode, random(20, low=0.1, high=2, seed=15)),
        "decode": (srgb.decode, random(40, low=0, high=1, seed=16)),
    }


@pytest.mark.parametrize(("function", "x"), parts().values(), ids=parts().keys())
def test_derivatives_of_the_parts_in_both_modes(function: Function, x: Tensor) -> None:
    assert gradcheck(function, (x.clone().requires_grad_(),), check_forward_ad=True)
    check_derivative(function, x)


# What the parts say


def test_the_camera_sees_up_as_up_and_its_axis_at_the_principal_point() -> None:
    camera = square_camera(100, 200.0)
    points = torch.tensor([[0.0, 0, -2], [0.1, 0, -2], [0, 0.1, -2]]).double()
    expected = torch.tensor([[50.0, 50], [60, 50], [50, 40]]).double()
    torch.testing.assert_close(camera.project(points), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(camera.pixels_per_metre(torch.tensor([2.0])), torch.tensor([100.0]).double())


def test_the_view_is_an_affine_map_after_the_photo() -> None:
    view = torch.tensor([[0.5, 0.1, 3.0], [-0.1, 0.5, 4.0]]).double()
    plain, seen = square_camera(100, 200.0), square_camera(100, 200.0)
    seen.view = view
    points = random(5, 3) - torch.tensor([0, 0, 2.0])
    torch.testing.assert_close(seen.project(points), plain.project(points) @ view[:, :2].T + view[:, 2])
    assert seen.pixels_per_metre(torch.ones(1).double()).item() == pytest.approx(200 * 0.26**0.5)


def test_clip_coordinates_lead_to_the_pixels_and_the_near_plane() -> None:
    camera = Camera(torch.tensor(50.0).double(), torch.tensor([20.0, 11]).double(), size=(24, 40))
    points = random(6, 3) - torch.tensor([0, 0, 2.0])
    clip = camera.clip(points)
    ndc = clip[:, :2] / clip[:, 3:]
    pixels = torch.stack([(ndc[:, 0] + 1) * 20, (1 - ndc[:, 1]) * 12], -1)
    torch.testing.assert_close(pixels, camera.project(points))
    near = camera.clip(torch.tensor([[0.3, 0.1, -NEAR_M]]).double())[0]
    assert near[2].item() == pytest.approx(-near[3].item())


def test_encoding_is_the_standard_curve_and_decoding_undoes_it() -> None:
    x = torch.linspace(-0.1, 1.5, 1000, dtype=torch.float64)
    torch.testing.assert_close(srgb.decode(srgb.encode(x)), x, rtol=0, atol=1e-6)
    assert srgb.encode(torch.tensor(0.18).double()).item() == pytest.approx(0.461356, abs=1e-6)
    assert srgb.encode(torch.tensor(1.0).double()).item() == pytest.approx(1)
    assert srgb.encode(torch.tensor(0.001).double()).item() == pytest.approx(0.01292)


def test_texels_lie_at_their_centres_and_levels_are_means() -> None:
    texture = random(4, 8, 3)
    centres = torch.tensor([[(2 + 0.5) / 8, 1 - (1 + 0.5) / 4]]).double()
    level = torch.tensor([0])
    torch.testing.assert_close(Mipmaps(texture).sample(centres, level)[0], texture[1, 2])
    corner = torch.tensor([[2 / 8, 1 - 2 / 4]]).double()  # where four texels meet
    four = texture[1:3, 1:3].mean((0, 1))
    torch.testing.assert_close(Mipmaps(texture).sample(corner, level)[0], four)
    block = torch.tensor([[(1 + 0.5) / 4, 1 - (0 + 0.5) / 2]]).double()  # a texel of the next level
    torch.testing.assert_close(Mipmaps(texture).sample(block, level + 1)[0], texture[0:2, 2:4].mean((0, 1)))
    beyond = torch.tensor([[-3.0, 7.0], [5.0, -2.0]]).double()
    torch.testing.assert_close(Mipmaps(texture).sample(beyond, torch.tensor([0, 0])), texture[[0, 3], [0, 7]])


def test_a_texture_of_one_texel_is_one_colour() -> None:
    texture = torch.tensor([[[0.1, 0.2, 0.3]]])
    found = Mipmaps(texture).sample(random(5, 2).float(), torch.tensor([0, 1, 2, 3, -1]))
    torch.testing.assert_close(found, texture[0].expand(5, 3))


def test_a_texture_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ChainRigError, match="48 x 32 texels.*power of two"):
        Mipmaps(torch.zeros(32, 48, 3))


def test_the_mip_level_is_where_a_texel_is_about_a_pixel() -> None:
    ratio = torch.tensor([0.0, 0.3, 1.0, 4.0, 16.0, 60.0, torch.nan])
    assert level_of_detail(ratio).tolist() == [0, 0, 0, 1, 2, 3, 0]


def test_normals_point_outwards_and_light_falls_on_the_side_that_faces_it() -> None:
    vertices, _, triangles, _ = sphere(20, 20, bumps=0)
    normals = vertex_normals(vertices, triangles)
    outward = torch.nn.functional.normalize(vertices, dim=-1)
    assert (normals * outward).sum(-1).min() > 0.98
    light = Light(torch.zeros(3), torch.ones(3), torch.tensor([0.0, 2.0, 0.0])).double()
    lit = light(normals)[:, 0]
    assert lit[vertices[:, 1].argmax()] > 0.95
    assert lit[vertices[:, 1].argmin()] < 0.05


# Scenes


def sphere(
    rings: int, sectors: int, radius: float = 0.09, bumps: float = 0.08
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vertices about the origin, UVs with a seam, and their triangles, counter-clockwise from outside."""
    theta = torch.linspace(0, torch.pi, rings + 1, dtype=torch.float64)[:, None]
    phi = torch.arange(sectors, dtype=torch.float64) / sectors * 2 * torch.pi
    length = radius * (1 + bumps * torch.sin(3 * theta).square() * torch.cos(3 * phi + 2 * theta))
    x, y, z = theta.sin() * phi.sin(), theta.cos() + 0 * phi, theta.sin() * phi.cos()
    vertices = (length[..., None] * torch.stack([x, y, z], -1)).flatten(0, 1)
    row, column = torch.meshgrid(torch.arange(rings + 1), torch.arange(sectors + 1), indexing="ij")
    uv = torch.stack([column / sectors, 1 - row / rings], -1).flatten(0, 1).double()

    def quads(width: int, wrap: int) -> Tensor:
        i, j = torch.meshgrid(torch.arange(rings), torch.arange(sectors), indexing="ij")
        a, b = (i * width + j).flatten(), (i * width + (j + 1) % wrap).flatten()
        return torch.cat([torch.stack([a, a + width, b], -1), torch.stack([b, a + width, b + width], -1)])

    return vertices, uv, quads(sectors, sectors), quads(sectors + 1, sectors + 1)


def stripes(height: int = 64, width: int = 128) -> Tensor:
    """A bright texture without a seam from its right to its left side."""
    v = (torch.arange(height, dtype=torch.float64)[:, None] + 0.5) / height
    u = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    waves = [
        torch.sin(2 * torch.pi * k * (u + 0.3)) * torch.sin(torch.pi * v) * torch.cos(3 * k * v)
        for k in (1, 2, 3)
    ]
    return 0.5 + 0.15 * torch.stack(waves, -1)


def grid(cells: int, side: float) -> tuple[Tensor, Tensor, Tensor]:
    """A square in the plane z = 0: vertices, UVs and triangles."""
    line = torch.linspace(0, 1, cells + 1, dtype=torch.float64)
    v, u = torch.meshgrid(line, line, indexing="ij")
    uv = torch.stack([u, v], -1).flatten(0, 1)
    vertices = torch.cat([(uv - 0.5) * side, torch.zeros(len(uv), 1).double()], -1)
    i, j = (t.flatten() for t in torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij"))
    a = i * (cells + 1) + j
    up = a + cells + 1
    return vertices, uv, torch.cat([torch.stack([a, a + 1, up], -1), torch.stack([a + 1, up + 1, up], -1)])


# Inside a surface


def wall(size: int = 16, cells: int = 6, **options) -> tuple[Renderer, Tensor]:
    """A bumpy wall that fills the view."""
    vertices, uv, triangles = grid(cells, 1.5)
    vertices = vertices + 0.18 / cells * random(*vertices.shape, seed=1) - torch.tensor([0, 0, 1.0])
    renderer = Renderer(
        triangles,
        uv,
        triangles,
        torch.zeros(len(triangles), dtype=torch.int64),
        stripes(64, 64),
        square_camera(size, 0.9 * size),
        Light.default(),
        **options,
    ).double()
    return renderer, vertices


@pytest.mark.parametrize("samples", [1, 2])
def test_derivatives_inside_a_surface_are_exact_in_both_modes(samples: int) -> None:
    renderer, vertices = wall(samples=samples)
    assert len(renderer.fragments(vertices).pixel) == (16 * samples) ** 2
    check_derivative(renderer, vertices, step=1e-7)


def test_jacfwd_and_jacrev_agree() -> None:
    renderer, vertices = wall(size=8)

    def moved(shift: Tensor) -> Tensor:
        return renderer(vertices + shift)

    shift = torch.zeros(3, dtype=torch.float64)
    forward = torch.func.jacfwd(moved)(shift)
    assert forward.shape == (8, 8, 3, 3)
    assert forward.abs().max() > 0.1
    torch.testing.assert_close(forward, torch.func.jacrev(moved)(shift))


def test_the_adjoint_identity_holds_across_outlines() -> None:
    renderer, vertices = head_like(size=32, rings=12)
    direction, weights = random(*vertices.shape, seed=1), random(32, 32, 3, seed=2)
    _, along = jvp(renderer, vertices, direction)
    left, right = (vjp(renderer, vertices, weights) * direction).sum(), (weights * along).sum()
    assert (left - right).abs() <= 1e-9 * weights.norm() * along.norm()
    silent = Renderer(**{**settings(renderer), "outlines": False}).double()
    assert not torch.allclose(jvp(silent, vertices, direction)[1], along)


# Outlines


def settings(renderer: Renderer) -> dict:
    """The arguments that make the same renderer again."""
    names = "triangles uv uv_triangles part_of_triangle texture camera light background samples outlines"
    return {name: getattr(renderer, name) for name in names.split()}


def head_like(size: int = 256, rings: int = 72, **options) -> tuple[Renderer, Tensor]:
    """A bumpy ball against the dark, 70 % of the view across."""
    vertices, uv, triangles, uv_triangles = sphere(rings, rings)
    renderer = Renderer(
        triangles,
        uv,
        uv_triangles,
        torch.zeros(len(triangles), dtype=torch.int64),
        stripes(),
        square_camera(size, 3.6 * size),
        Light.default(),
        background=torch.full((3,), 0.03),
        **options,
    ).double()
    return renderer, vertices - torch.tensor([0.003, -0.002, 1.0], dtype=torch.float64)


def two_balls(size: int = 128, **options) -> tuple[Renderer, Tensor, Tensor]:
    """A dark small ball, a part of its own, in front of a big one; and which vertices are the small one's."""
    big, uv, triangles, uv_triangles = sphere(40, 40)
    small = 0.3 * big + torch.tensor([0.02, 0.01, 0.11], dtype=torch.float64)
    renderer = Renderer(
        torch.cat([triangles, triangles + len(big)]),
        torch.cat([uv * torch.tensor([0.5, 1]), uv * torch.tensor([0.45, 1]) + torch.tensor([0.53, 0])]),
        torch.cat([uv_triangles, uv_triangles + len(uv)]),
        (torch.arange(2 * len(triangles)) >= len(triangles)).to(torch.int64),
        torch.cat([0.6 + 0 * stripes(64, 64), 0.05 + 0.1 * stripes(64, 64)], 1),
        square_camera(size, 3.6 * size),
        Light.default(),
        **options,
    ).double()
    vertices = torch.cat([big, small]) - torch.tensor([0, 0, 1.0], dtype=torch.float64)
    return renderer, vertices, torch.arange(len(vertices)) >= len(big)


def cap_on_a_wall(size: int = 128, **options) -> tuple[Renderer, Tensor, Tensor]:
    """A bright disc, 10 mm in front of a darker wall of the same part; and which vertices are the disc's."""
    plane, uv, triangles = grid(24, 0.5)
    disc, disc_uv, disc_triangles = grid(24, 0.1)
    square = disc[:, :2] / 0.05  # [−1, 1]²
    disc[:, :2] = 0.05 * square * (1 - square.flip(-1).square() / 2).sqrt()  # a square made round
    disc[:, 2] = 0.010
    renderer = Renderer(
        torch.cat([triangles, disc_triangles + len(plane)]),
        torch.cat(
            [uv * torch.tensor([0.45, 1]), disc_uv * torch.tensor([0.45, 1]) + torch.tensor([0.53, 0])]
        ),
        torch.cat([triangles, disc_triangles + len(uv)]),
        torch.zeros(len(triangles) + len(disc_triangles), dtype=torch.int64),
        torch.cat([0.1 + 0 * stripes(64, 64), 0.2 + 0.8 * stripes(64, 64)], 1),
        square_camera(size, 3.6 * size),
        Light.default(),
        **options,
    ).double()
    tilt = torch.tensor([[1.0, 0, 0], [0, 0.9, -0.4], [0, 0.4, 0.9]], dtype=torch.float64)
    vertices = torch.cat([plane, disc]) @ tilt.T - torch.tensor([0, 0, 1.0], dtype=torch.float64)
    return renderer, vertices, torch.arange(len(vertices)) >= len(plane)


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


# The whole renderer


def test_a_picture_is_the_mean_of_its_encoded_samples() -> None:
    renderer, vertices = head_like(size=16, rings=12)
    fine, _ = head_like(size=32, rings=12, samples=1)
    mean = fine(vertices).view(16, 2, 16, 2, 3).mean((1, 3))
    torch.testing.assert_close(renderer(vertices), mean, rtol=0, atol=1e-12)


def test_a_lit_surface_and_the_background_have_their_colours() -> None:
    renderer, vertices = wall()
    renderer.texture = torch.full((4, 4, 3), 0.25).double()
    renderer.light = Light(torch.tensor([0.4, 0.8, 1.2]), torch.zeros(3), torch.ones(3)).double()
    expected = srgb.encode(torch.tensor([0.1, 0.2, 0.3]).double())
    torch.testing.assert_close(renderer(vertices), expected.expand(16, 16, 3))
    away = renderer(vertices + torch.tensor([50.0, 0, 0]))
    torch.testing.assert_close(away, srgb.encode(renderer.background).expand(16, 16, 3))


def test_a_new_texture_shows_and_has_derivatives() -> None:
    renderer, vertices = wall()
    before = renderer(vertices)
    renderer.texture = (renderer.texture * 0.5).requires_grad_()
    for _ in range(2):  # the second backward pass finds nothing freed
        picture = renderer(vertices)
        (grad,) = torch.autograd.grad(picture.sum(), renderer.texture)
    assert (before - picture).min() > 0
    assert grad.min() >= 0
    assert grad.sum() > 0


def test_float32_draws_the_picture_of_float64() -> None:
    renderer, vertices = head_like(size=64, rings=24)
    exact = renderer(vertices)
    point = vertices.float().requires_grad_()
    found = renderer.float()(point)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert point.grad is not None and point.grad.dtype == torch.float32
    assert (found - exact).abs().mean() < 1e-4


def test_a_batch_is_its_pictures_each_with_its_own_camera() -> None:
    renderer, vertices = head_like(size=24, rings=12)
    both = torch.stack([vertices, vertices * torch.tensor([1.2, 0.8, 1.0]) + 0.01])
    weights = random(2, 24, 24, 3, seed=4)
    focal = torch.tensor([80.0, 95.0]).double()
    middle = torch.tensor([[12.0, 12], [10, 14]]).double()
    view = torch.eye(2, 3).double() + 0.1 * random(2, 2, 3, seed=5)
    shared = renderer.camera

    def pictures_and_gradient(points: Tensor, camera: Camera, by: Tensor) -> tuple[Tensor, Tensor]:
        renderer.camera = camera
        points = points.clone().requires_grad_()
        pictures = renderer(points)
        return pictures.detach(), torch.autograd.grad((pictures * by).sum(), points)[0]

    for own in (False, True):
        camera = Camera(focal, middle, view, (24, 24)) if own else shared
        pictures, gradient = pictures_and_gradient(both, camera, weights)
        assert not torch.allclose(pictures[0], pictures[1])
        for i in range(2):
            camera = Camera(focal[i], middle[i], view[i], (24, 24)) if own else shared
            picture, grad = pictures_and_gradient(both[i], camera, weights[i])
            torch.testing.assert_close(pictures[i], picture)
            torch.testing.assert_close(gradient[i], grad)
        torch.testing.assert_close(
            pictures_and_gradient(both[None], camera, weights)[0].shape, (1, 2, 24, 24, 3)
        )

    renderer.camera = Camera(focal, middle, view, (24, 24))  # one mesh, two cameras
    assert renderer(vertices).shape == (2, 24, 24, 3)


def test_an_empty_mesh_is_the_background() -> None:
    renderer, vertices = head_like(size=8, rings=6)
    none = torch.zeros(0, 3, dtype=torch.int64)
    empty = {**settings(renderer), "triangles": none, "uv_triangles": none, "part_of_triangle": none[:, 0]}
    picture = Renderer(**empty).double()(vertices.requires_grad_())
    torch.testing.assert_close(picture.detach(), srgb.encode(renderer.background).expand(8, 8, 3))


def test_a_vertex_that_is_not_a_number_darkens_only_its_own_triangles() -> None:
    renderer, vertices = wall(size=32, cells=12)
    whole = renderer(vertices)
    vertices[84] = torch.nan  # in the middle
    found = renderer(vertices)
    assert found.isfinite().all()
    far = torch.ones(32, 32, dtype=torch.bool)
    far[4:-4, 4:-4] = False  # its neighbours' normals change too
    torch.testing.assert_close(found[far], whole[far])
    assert not torch.allclose(found[16, 16], whole[16, 16])
