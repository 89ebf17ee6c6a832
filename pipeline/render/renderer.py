"""Layer 2: vertices X2 → pixels X3."""

import torch
from torch import Tensor

from pipeline.layer import Layer
from pipeline.render import srgb
from pipeline.render.camera import Camera, clip_from_pixels
from pipeline.render.lighting import Light, vertex_normals
from pipeline.render.rasterize import Fragments, rasterize, weigh
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
    triangles: Tensor
    uv: Tensor
    uv_triangles: Tensor
    part_of_triangle: Tensor
    texture: Tensor
    background: Tensor

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
        self._cached: Mipmaps | None = None

    @property
    def sampled_size(self) -> tuple[int, int]:
        """(height, width) of the grid of samples."""
        return self.camera.size[0] * self.samples, self.camera.size[1] * self.samples

    def forward(self, vertices: Tensor) -> Tensor:
        homogeneous = self._homogeneous(vertices)  # [*B, V, 3]
        batch = homogeneous.shape[:-2]
        light = self.light(vertex_normals(vertices, self.triangles)).expand_as(homogeneous)
        homogeneous, light = (x.reshape(-1, *x.shape[-2:]) for x in (homogeneous, light))
        fragments = self._rasterize(homogeneous)
        color = srgb.encode(self.albedo(fragments, homogeneous) * fragments.interpolate(light))  # [P, 3]
        empty = srgb.encode(self.background).to(color.dtype)
        # What the samples add to a picture of nothing.
        pixel = self._pixel_of_sample(fragments.size[0])
        picture = torch.zeros(len(pixel) // self.samples**2, 3, dtype=color.dtype, device=color.device)
        picture = picture.index_add(0, pixel.index_select(0, fragments.pixel), color - empty)
        if self.outlines:
            sample, zero = edge_term(fragments, homogeneous, self.part_of_triangle, color, empty)
            picture = picture.index_add(0, pixel.index_select(0, sample), zero)
        # A box filter from samples to pixels. It averages encoded values, as the photo's crop does: in linear
        # light the curve of the encoding would make the derivative depend on how far an outline has come
        # across its pixel, which few samples cannot tell.
        return (empty + picture / self.samples**2).view(*batch, *self.camera.size, 3)

    def fragments(self, vertices: Tensor) -> Fragments:
        """What every sample of the pictures of `(*B, V, 3)` vertices sees."""
        homogeneous = self._homogeneous(vertices)
        return self._rasterize(homogeneous.reshape(-1, *homogeneous.shape[-2:]))

    def albedo(self, fragments: Fragments, homogeneous: Tensor) -> Tensor:
        """Texture colours `(P, 3)` of fragments, at the mip level of each triangle on the screen."""
        corners = self.uv_triangles.index_select(0, fragments.triangle)
        uv = weigh(self.uv, corners, fragments.barycentric)
        level = self._level(homogeneous.detach()).flatten()
        level = level.index_select(0, fragments.item * len(self.triangles) + fragments.triangle)
        return self._mipmaps().sample(uv, level)

    def _mipmaps(self) -> Mipmaps:
        """Built anew only where the texture is another: its halvings cost more than a picture."""
        texture = self.texture
        if self._cached is None or self._cached.texture is not texture or texture.requires_grad:
            self._cached = Mipmaps(texture)
        return self._cached

    def _homogeneous(self, vertices: Tensor) -> Tensor:
        """Homogeneous coordinates `(*B, V, 3)` on the grid of samples."""
        scale = vertices.new_tensor([self.samples, self.samples, 1])
        return self.camera.homogeneous(vertices) * scale

    def _rasterize(self, homogeneous: Tensor) -> Fragments:
        clip = clip_from_pixels(homogeneous.detach(), self.sampled_size)
        return rasterize(homogeneous, clip, self.triangles, self.sampled_size)

    def _pixel_of_sample(self, count: int) -> Tensor:
        """Index of a sample's pixel in `count` flattened pictures, for every sample."""
        height, width = self.camera.size
        pixel = torch.arange(count * height * width, device=self.triangles.device).view(
            count, height, 1, width, 1
        )
        return pixel.expand(-1, -1, self.samples, -1, self.samples).flatten()

    def _level(self, homogeneous: Tensor) -> Tensor:
        """Mip level `(B, F)` int64 of every triangle."""
        screen = homogeneous[..., :2] / homogeneous[..., 2:]
        texels = self.uv * self.uv.new_tensor([self.texture.shape[1], self.texture.shape[0]])
        on_screen = _double_area(screen, self.triangles).clamp(min=1e-6)
        return level_of_detail(_double_area(texels, self.uv_triangles) / on_screen)


def _double_area(points: Tensor, triangles: Tensor) -> Tensor:
    """Twice the area of 2D triangles: `(*B, N, 2)`, `(F, 3)` → `(*B, F)`."""
    a, b, c = (points.index_select(-2, triangles[:, i]) for i in range(3))
    u, v = b - a, c - a
    return (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).abs()
