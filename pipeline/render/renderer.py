"""Layer 2: vertices X2 → pixels X3."""

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.layer import Layer
from pipeline.render import srgb
from pipeline.render.batching import Batched, is_batched
from pipeline.render.camera import Camera, clip_from_pixels
from pipeline.render.composite import composite
from pipeline.render.lighting import Light
from pipeline.render.material import Material, Shading, shade, unit
from pipeline.render.normal_map import bent_normals
from pipeline.render.rasterize import Fragments, rasterize, weigh
from pipeline.render.surface import Surface
from pipeline.render.texture import Mipmaps, level_of_detail


class Renderer(Layer):
    """A scanline renderer: `(*B, V, 3)` vertices in camera space → `(*B, H, W, 3)` sRGB.

    Differentiable in the vertices inside surfaces (shading, texture) and across outlines (`silhouette.py`),
    and in all parameters C2, which are modules and buffers, fixed while fitting.

    Args:
        surface: which vertices make triangles.
        material: how they reflect; of one texel where the surface has no texture coordinates.
        camera: where the picture is taken from, and its size.
        light: what falls on the surface.
        background: `(3,)` linear RGB behind the rig.
        samples: samples per pixel along each side (2 means 2×2).
        outlines: whether moving outlines carry gradients; only tests and the curious turn this off.
        rasterizer: who finds the triangle ids, see `ids.py`.

    Raises:
        ChainRigError: there is a texture, but no texture coordinates.
    """

    name = "render"
    input_axes = ("vertex", "xyz")
    output_axes = ("row", "column", "rgb")
    background: Tensor

    def __init__(
        self,
        surface: Surface,
        material: Material,
        camera: Camera,
        light: Light,
        background: Tensor | None = None,
        samples: int = 2,
        outlines: bool = True,
        rasterizer: str = "auto",
    ) -> None:
        super().__init__()
        if not surface.textured and (material.texture.shape[:2] != (1, 1) or material.normal_map is not None):
            raise ChainRigError(
                "This mesh has no texture coordinates: give it some, or a material of one texel, (1, 1, 4)."
            )
        self.surface = surface
        self.material = material
        self.camera = camera
        self.light = light
        self.register_buffer("background", torch.full((3,), 0.2) if background is None else background)
        self.samples = samples
        self.outlines = outlines
        self.rasterizer = rasterizer
        self._cached: Mipmaps | None = None

    def forward(self, vertices: Tensor) -> Tensor:
        return Batched.apply(self._draw, vertices) if is_batched(vertices) else self._draw(vertices)

    def _draw(self, vertices: Tensor) -> Tensor:
        homogeneous = self.homogeneous(vertices)  # [*B, V, 3]
        fragments = self.rasterize(homogeneous)
        # A box filter averages encoded values, as the photo's crop does: in linear light the curve of the
        # encoding would make the derivative depend on how far an outline has come across its pixel, which
        # few samples cannot tell.
        color = srgb.encode(self.shade(fragments, vertices, homogeneous).radiance)
        picture = composite(
            fragments,
            homogeneous.reshape(-1, *homogeneous.shape[-2:]),
            self.surface,
            color,
            srgb.encode(self.background).to(color.dtype),
            self.samples,
            self.outlines,
        )
        return picture.view(*homogeneous.shape[:-2], *self.camera.size, 3)

    def homogeneous(self, vertices: Tensor) -> Tensor:
        """Homogeneous coordinates `(*B, V, 3)` of vertices on the grid of samples."""
        self.surface.require_vertices(vertices)
        return self.camera.homogeneous(vertices) * vertices.new_tensor([self.samples, self.samples, 1])

    def rasterize(self, homogeneous: Tensor) -> Fragments:
        """What every sample of the pictures sees."""
        size = (self.camera.size[0] * self.samples, self.camera.size[1] * self.samples)
        flat = homogeneous.reshape(-1, *homogeneous.shape[-2:])
        clip = clip_from_pixels(flat.detach(), size)
        return rasterize(flat, clip, self.surface.triangles, size, self.rasterizer)

    def fragments(self, vertices: Tensor) -> Fragments:
        """What every sample of the pictures of `(*B, V, 3)` vertices sees."""
        return self.rasterize(self.homogeneous(vertices))

    def shade(self, fragments: Fragments, vertices: Tensor, homogeneous: Tensor) -> Shading:
        """The light that fragments of `(*B, V, 3)` vertices send to the camera."""
        position, normal = self.geometry(fragments, vertices, homogeneous.shape[:-2])
        to_eye = unit(-position)
        uv, level = self.texture_coordinates(fragments, homogeneous)
        if self.material.normal_map is not None:
            normal = bent_normals(
                self.surface, self.material.normal_map, fragments, vertices, normal, uv, level
            )
        texel = self._mipmaps().sample(uv, level)
        return shade(self.material, self.light, texel, normal, to_eye, fragments.item)

    def geometry(self, fragments: Fragments, vertices: Tensor, batch: torch.Size) -> tuple[Tensor, Tensor]:
        """Positions `(P, 3)` in camera space and unit normals `(P, 3)` of fragments."""
        attributes = torch.cat([vertices, self.surface.normals(vertices)], dim=-1)  # [*B, V, 6]
        attributes = attributes.expand(*batch, *attributes.shape[-2:])
        position, normal = fragments.interpolate(attributes.reshape(-1, *attributes.shape[-2:])).split(
            3, dim=-1
        )
        return position, unit(normal)

    def texture_coordinates(self, fragments: Fragments, homogeneous: Tensor) -> tuple[Tensor, Tensor]:
        """`(P, 2)` and mip levels `(P,)` of fragments, a level for each triangle on the screen."""
        surface, texture = self.surface, self.material.texture
        uv = weigh(
            surface.uv, surface.uv_triangles.index_select(0, fragments.triangle), fragments.barycentric
        )
        in_front = (homogeneous[..., 2:] > 0) & homogeneous.isfinite().all(-1, keepdim=True)
        screen = torch.where(in_front, homogeneous[..., :2], 0) / torch.where(
            in_front, homogeneous[..., 2:], 1
        )
        texels = surface.uv * surface.uv.new_tensor([texture.shape[1], texture.shape[0]])
        on_screen = _double_area(screen, surface.triangles).clamp(min=1e-6)
        level = level_of_detail(_double_area(texels, surface.uv_triangles) / on_screen).flatten()
        return uv, level.index_select(0, fragments.item * len(surface.triangles) + fragments.triangle)

    def _mipmaps(self) -> Mipmaps:
        """Built anew only where the texture is another: its halvings cost more than a picture."""
        texture = self.material.texture
        if self._cached is None or self._cached.texture is not texture or texture.requires_grad:
            self._cached = Mipmaps(texture)
        return self._cached


def _double_area(points: Tensor, triangles: Tensor) -> Tensor:
    """Twice the area of 2D triangles: `(*B, N, 2)`, `(F, 3)` → `(*B, F)`."""
    a, b, c = (points.index_select(-2, triangles[:, i]) for i in range(3))
    u, v = b - a, c - a
    return (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).abs()
