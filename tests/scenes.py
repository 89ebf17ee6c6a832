"""Small scenes with known answers, and the checks of derivatives that their tests share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

Function = Callable[[Tensor], Tensor]


def random(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Uniform, float64."""
    draw = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * draw


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


def square_camera(size: int, focal: float | None = None) -> Camera:
    """Looks straight ahead; a metre at 1 m spans the view, or `focal` px."""
    middle = torch.full((2,), size / 2, dtype=torch.float64)
    return Camera(torch.tensor(focal or float(size), dtype=torch.float64), middle, size=(size, size))


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


def glossy(texture: Tensor) -> Material:
    """(H, W, 3) linear RGB, rougher to the right."""
    rough = torch.linspace(0.3, 0.6, texture.shape[1], dtype=texture.dtype).expand(texture.shape[0], -1)
    return Material(torch.cat([texture, rough[..., None]], -1))


def wall(size: int = 16, cells: int = 6, **options) -> tuple[Renderer, Tensor]:
    """A bumpy wall that fills the view."""
    vertices, uv, triangles = grid(cells, 1.5)
    vertices = vertices + 0.18 / cells * random(*vertices.shape, seed=1) - torch.tensor([0, 0, 1.0])
    renderer = Renderer(
        Surface(triangles, uv),
        glossy(stripes(64, 64)),
        square_camera(size, 0.9 * size),
        Light.default(),
        **options,
    ).double()
    return renderer, vertices


def head_like(size: int = 256, rings: int = 72, **options) -> tuple[Renderer, Tensor]:
    """A bumpy ball against the dark, 70 % of the view across."""
    vertices, uv, triangles, uv_triangles = sphere(rings, rings)
    renderer = Renderer(
        Surface(triangles, uv, uv_triangles),
        glossy(stripes()),
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
        Surface(
            torch.cat([triangles, triangles + len(big)]),
            torch.cat([uv * torch.tensor([0.5, 1]), uv * torch.tensor([0.45, 1]) + torch.tensor([0.53, 0])]),
            torch.cat([uv_triangles, uv_triangles + len(uv)]),
            (torch.arange(2 * len(triangles)) >= len(triangles)).to(torch.int64),
        ),
        Material.plain(torch.cat([0.6 + 0 * stripes(64, 64), 0.05 + 0.1 * stripes(64, 64)], 1)),
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
        Surface(
            torch.cat([triangles, disc_triangles + len(plane)]),
            torch.cat(
                [uv * torch.tensor([0.45, 1]), disc_uv * torch.tensor([0.45, 1]) + torch.tensor([0.53, 0])]
            ),
            torch.cat([triangles, disc_triangles + len(uv)]),
        ),
        Material.plain(torch.cat([0.1 + 0 * stripes(64, 64), 0.2 + 0.8 * stripes(64, 64)], 1)),
        square_camera(size, 3.6 * size),
        Light.default(),
        **options,
    ).double()
    tilt = torch.tensor([[1.0, 0, 0], [0, 0.9, -0.4], [0, 0.4, 0.9]], dtype=torch.float64)
    vertices = torch.cat([plane, disc]) @ tilt.T - torch.tensor([0, 0, 1.0], dtype=torch.float64)
    return renderer, vertices, torch.arange(len(vertices)) >= len(plane)


def settings(renderer: Renderer) -> dict:
    """The arguments that make the same renderer again."""
    names = "surface material camera light background samples outlines"
    return {name: getattr(renderer, name) for name in names.split()}


def fit_document(values: dict[str, float], camera: Camera, landmarks: Tensor) -> dict[str, Any]:
    """The fit.json of a photo that is not there: through `camera`, it shows landmarks `(478, …)` of the view.

    Args:
        values: of all controls, by name.
    """
    groups = Rig.load().controls.groups
    names = list(values)
    pose = [values[name] for name in names[groups["pose"]]]
    back = torch.linalg.inv(camera.view[:, :2])
    x, y = camera.principal_point_px.tolist()
    return {
        "schema": "chainrig.fit/1",
        "photo": {"path": "gone.jpg", "sha256": "0" * 64, "width": 1000, "height": 1000},
        "controls": {name: values[name] for name in names[groups["expression"]]},
        "identity": {name: values[name] for name in names[groups["identity"]]},
        "pose": {"rotation_vector_rad": pose[:3], "translation_m": pose[3:]},
        "camera": {"focal_px": float(camera.focal_px), "principal_point_px": [x, y]},
        "landmarks": {"target": ((landmarks[:, :2] - camera.view[:, 2]) @ back.T).tolist()},
    }
