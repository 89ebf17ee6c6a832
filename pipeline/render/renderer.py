"""Layer 2: vertices X2 → pixels X3."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.layer import Layer
from pipeline.render import srgb
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light, vertex_normals
from pipeline.render.rasterize import Fragments, rasterize
from pipeline.render.silhouette import edge_term
from pipeline.render.texture import Mipmaps, level_of_detail


class Renderer(Layer):
    """A scanline renderer: `(*B, V, 3)` vertices in camera space → `(*B, H, W, 3)` sRGB.

    Differentiable in the vertices inside surfaces (shading, texture) and across outlines (`silhouette.py`).
    The parameters C2 (camera, light, texture, background) are modules and buffers, fixed while fitting.

    Args:
        triangles: `(F, 3)` int64 corners, counter-clockwise from outside.
        uv: `(T, 2)` texture coordinates, v up.
        uv_triangles: `(F, 3)` int64 into `uv`.
        part_of_triangle: `(F,)` int64; outlines between parts carry gradients whatever their depth.
        texture: `(Ht, Wt, 3)` linear RGB.
        camera: where the picture is taken from, and its size.
        light: what falls on the surface.
        background: `(3,)` linear RGB behind the rig.
        samples: samples per pixel along each side (2 means 2×2).
        outlines: whether moving outlines carry gradients; only tests and the curious turn this off.
    """

    name = "render"
    input_axes = ("vertex", "xyz")
    output_axes = ("row", "column", "rgb")

    def __init__(
        self,
        triangles: Tensor,
        uv: Tensor,
        uv_triangles: Tensor,
        part_of_triangle: Tensor,
        texture: Tensor,
        camera: Camera,
        light: Light,
        background: Tensor | None = None,
        samples: int = 2,
        outlines: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("triangles", triangles)
        self.register_buffer("uv", uv)
        self.register_buffer("uv_triangles", uv_triangles)
        self.register_buffer("part_of_triangle", part_of_triangle)
        self.register_buffer("texture", texture)
        self.register_buffer("background", torch.full((3,), 0.2) if background is None else background)
        self.camera = camera
        self.light = light
        self.samples = samples
        self.outlines = outlines

    @property
    def sampled_size(self) -> tuple[int, int]:
        """(height, width) of the grid of samples."""
        return self.camera.size[0] * self.samples, self.camera.size[1] * self.samples

    def forward(self, vertices: Tensor) -> Tensor:
        batch = vertices.shape[:-2]
        homogeneous = self._homogeneous(vertices)
        fragments = self.fragments(vertices)
        light = self.light(vertex_normals(vertices, self.triangles))
        light = light.expand_as(vertices).reshape(-1, *vertices.shape[-2:])
        surface = self.albedo(fragments, homogeneous) * fragments.interpolate(light)  # [P, 3]
        count, height, width = fragments.size
        empty = self.background.to(surface.dtype).expand(count * height * width, 3)
        samples = srgb.encode(empty.index_put((fragments.pixel,), surface)).view(count, height, width, 3)
        if self.outlines:
            samples = samples + edge_term(fragments, homogeneous, self.part_of_triangle, samples)
        return self._filter(samples).reshape(*batch, *self.camera.size, 3)

    def fragments(self, vertices: Tensor) -> Fragments:
        """What every sample of the pictures of `(*B, V, 3)` vertices sees."""
        clip = self.camera.clip(vertices).reshape(-1, vertices.shape[-2], 4)
        return rasterize(self._homogeneous(vertices), clip, self.triangles, self.sampled_size)

    def albedo(self, fragments: Fragments, homogeneous: Tensor) -> Tensor:
        """Texture colours `(P, 3)` of the fragments, from the mip level of each triangle's size on the screen."""
        corners = self.uv_triangles.index_select(0, fragments.triangle)
        weights = fragments.barycentric
        uv = sum(weights[:, i : i + 1] * self.uv.index_select(0, corners[:, i]) for i in range(3))
        level = self._level(homogeneous.detach()).flatten()
        item = fragments.pixel // (fragments.size[1] * fragments.size[2])
        return Mipmaps(self.texture).sample(uv, level[item * len(self.triangles) + fragments.triangle])  # type: ignore[arg-type]

    def _homogeneous(self, vertices: Tensor) -> Tensor:
        """Homogeneous coordinates `(B, V, 3)` on the grid of samples."""
        pixels = self.camera.homogeneous(vertices).reshape(-1, vertices.shape[-2], 3)
        return torch.cat([pixels[..., :2] * self.samples, pixels[..., 2:]], dim=-1)

    def _level(self, homogeneous: Tensor) -> Tensor:
        """Mip level `(B, F)` int64 of every triangle."""
        screen = homogeneous[..., :2] / homogeneous[..., 2:]
        texels = self.uv * self.uv.new_tensor([self.texture.shape[1], self.texture.shape[0]])
        on_screen = _double_area(screen, self.triangles).clamp(min=1e-6)
        return level_of_detail(_double_area(texels, self.uv_triangles) / on_screen)

    def _filter(self, samples: Tensor) -> Tensor:
        """Box filter from samples to pixels.

        It averages encoded values, as the photo's crop does. In linear light the curve of the encoding would make the
        derivative depend on how far an outline has come across its pixel, which few samples cannot tell.
        """
        if self.samples == 1:
            return samples
        return functional.avg_pool2d(samples.movedim(-1, 1), self.samples).movedim(1, -1)


def _double_area(points: Tensor, triangles: Tensor) -> Tensor:
    """Twice the area of 2D triangles: `(*B, N, 2)`, `(F, 3)` → `(*B, F)`."""
    a, b, c = (points.index_select(-2, triangles[:, i]) for i in range(3))
    u, v = b - a, c - a
    return (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).abs()
