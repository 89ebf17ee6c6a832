"""What the renderers draw: meshes with a colour at each vertex."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.render import srgb
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.surface import Surface
from pipeline.render.texture import Mipmaps

SIZE = 256
AXIS = (0.48, 0.64, 0.6)  # of the rotation, unit length: turns in the picture and in depth


@dataclass(frozen=True)
class Scene:
    """A mesh with a colour at each vertex, which every renderer can draw: no light, no texture, no sRGB.

    Attributes:
        name: one word.
        vertices: `(V, 3)` float64 in camera space, metres.
        triangles: `(F, 3)` int64, counter-clockwise from outside.
        part_of_triangle: `(F,)` int64.
        colors: `(V, 3)` float64.
        background: `(3,)` float64.
        camera: float64, looks straight ahead at SIZE² pixels.
    """

    name: str
    vertices: Tensor
    triangles: Tensor
    part_of_triangle: Tensor
    colors: Tensor
    background: Tensor
    camera: Camera

    def moved(self, vertices: Tensor, motion: Tensor) -> Tensor:
        """Vertices `(V, 3)` after a motion `(4,)` in pixels, differentiable in it."""
        x, y, scale, angle = motion.unbind()
        middle = self.vertices.mean(0)
        metre = -middle[2] / self.camera.focal_px  # of a pixel
        radius = (self.vertices - middle)[:, :2].norm(dim=-1).max() / metre
        axis = motion.new_tensor(AXIS)
        around = torch.linalg.cross(axis.expand_as(vertices), vertices - middle)
        twice = torch.linalg.cross(axis.expand_as(vertices), around)
        turned = vertices - middle + (angle / radius).sin() * around + (1 - (angle / radius).cos()) * twice
        shift = torch.stack([x, y, torch.zeros_like(x)]) * metre
        return middle + (1 + scale / radius) * turned + shift

    def poses(self, count: int) -> list[Tensor]:
        """Variations of the vertices: moved by some pixels and turned by up to 15°."""
        draw = torch.rand(count, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return [self.moved(self.vertices, m) for m in (2 * draw - 1) * torch.tensor([4.0, 4.0, 4.0, 25.0])]


def camera(focal: float) -> Camera:
    middle = torch.full((2,), SIZE / 2, dtype=torch.float64)
    return Camera(torch.tensor(focal, dtype=torch.float64), middle, size=(SIZE, SIZE))


def bumpy_ball() -> Scene:
    """10,080 triangles, a metre away, 70 % of the view across; closed, with folds that hide one another."""
    rings, sectors = 71, 72
    theta = torch.linspace(0, torch.pi, rings + 1, dtype=torch.float64)[1:-1, None]
    phi = torch.arange(sectors, dtype=torch.float64) / sectors * 2 * torch.pi
    length = 0.09 * (1 + 0.08 * torch.sin(3 * theta).square() * torch.cos(3 * phi + 2 * theta))
    x, y, z = theta.sin() * phi.sin(), theta.cos() + 0 * phi, theta.sin() * phi.cos()
    belt = (length[..., None] * torch.stack([x, y, z], -1)).flatten(0, 1)
    poles = torch.tensor([[0.0, 0.09, 0.0], [0.0, -0.09, 0.0]], dtype=torch.float64)
    vertices = torch.cat([belt, poles])
    i, j = torch.meshgrid(torch.arange(rings - 2), torch.arange(sectors), indexing="ij")
    a, b = (i * sectors + j).flatten(), (i * sectors + (j + 1) % sectors).flatten()
    around = torch.arange(sectors)
    after, last = (around + 1) % sectors, (rings - 2) * sectors
    north, south = torch.full_like(around, len(belt)), torch.full_like(around, len(belt) + 1)
    triangles = torch.cat(
        [
            torch.stack([a, a + sectors, b], -1),
            torch.stack([b, a + sectors, b + sectors], -1),
            torch.stack([north, around, after], -1),
            torch.stack([south, last + after, last + around], -1),
        ]
    )
    waves = torch.stack(
        [torch.sin(60 * vertices[:, k] + 2 * vertices[:, k - 1] / 0.09 + k) for k in range(3)], -1
    )
    tilt = torch.tensor([[0.936, 0.352, 0.0], [-0.331, 0.880, -0.342], [-0.120, 0.320, 0.940]]).double()
    return Scene(
        "ball",
        vertices @ tilt.T - torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64),
        triangles,
        torch.zeros(len(triangles), dtype=torch.int64),
        0.5 + 0.3 * waves,
        torch.tensor([0.05, 0.08, 0.12], dtype=torch.float64),
        camera(3.6 * SIZE),
    )


def head() -> Scene:
    """The default head in the detector's view, the mouth a little open; its texture, lit, at the vertices."""
    rig = Rig.load()
    controls = rig.controls.pack({"headTranslationZ": -1.0, "headTranslationY": 0.01, "jawOpen": 0.2})
    vertices = Deformer(rig)(controls).double()
    corner, where = rig.triangles.flatten(), rig.uv_triangles.flatten()
    uv = rig.uv[
        where[torch.empty_like(corner).new_zeros(len(vertices)).scatter(0, corner, torch.arange(len(corner)))]
    ]
    albedo = Mipmaps(HeadTexture.load()()).sample(uv, torch.full((len(uv),), 2.0))[:, :3].double()
    surface = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle)
    light = 0.3 + 0.7 * surface.normals(vertices)[:, 2:].clamp(min=0)
    return Scene(
        "head",
        vertices,
        rig.triangles,
        rig.part_of_triangle,
        srgb.encode(albedo * light),
        torch.full((3,), 0.5, dtype=torch.float64),
        camera(1000.0),
    )
