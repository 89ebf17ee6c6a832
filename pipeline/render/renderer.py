"""Layer 2: vertices X2 → pixels X3."""

from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.layer import Layer
from pipeline.render import srgb
from pipeline.render.batching import Batched, is_batched, is_differentiated
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
        ChainRigError: there is a texture, but no texture coordinates; when called, the vertices or the batch
            of lights do not fit.
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
        if samples < 1:
            raise ChainRigError(f"A pixel has at least one sample along each side, not {samples}.")
        one_texel = material.texture.shape[-3:-1] == (1, 1) and material.normal_map is None
        if not (surface.textured or one_texel):
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
        self._cached: dict[str, tuple[int, Mipmaps]] = {}

    def forward(self, vertices: Tensor) -> Tensor:
        parameters = [*self.parameters(), *self.buffers()]
        if any(is_batched(parameter) for parameter in parameters):
            raise ChainRigError(
                "The renderer cannot be mapped over its parameters by vmap: "
                "give camera and light a batch dimension."
            )
        if not is_batched(vertices):
            return self._draw(vertices)
        if any(is_differentiated(parameter) for parameter in parameters):
            raise ChainRigError(
                "Under vmap the renderer has derivatives by its vertices only: for those by camera, light, "
                "material or background give it the meshes as a batch, without vmap."
            )
        return Batched.apply(self._draw, vertices)

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
        position, normal, texel = self.touch(fragments, vertices, homogeneous)
        light = self.light.of_batch(homogeneous.shape[:-2])
        return shade(self.material, light, texel, normal, unit(-position), fragments.item)

    def touch(
        self, fragments: Fragments, vertices: Tensor, homogeneous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Positions `(P, 3)`, unit normals `(P, 3)` and texels `(P, 4)` of fragments."""
        batch = homogeneous.shape[:-2]
        position, normal = self.geometry(fragments, vertices, batch)
        points = vertices.expand(*batch, *vertices.shape[-2:]).reshape(-1, 3)
        uv, level = self.texture_coordinates(fragments, homogeneous)
        return position, *self.look_up(fragments, points, normal, uv, level)

    def look_up(
        self, fragments: Fragments, points: Tensor, normal: Tensor, uv: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Unit normals `(P, 3)`, bent by the normal map, and texels `(P, 4)`, for `(B·V, 3)` points."""
        material = self.material
        if material.normal_map is not None:
            bend = self._sample("normal_map", material.normal_map, fragments, uv, level)
            normal = bent_normals(self.surface, fragments, points, normal, bend)
        return normal, self._sample("texture", material.texture, fragments, uv, level)

    def _sample(self, name: str, texture: Tensor, fragments: Fragments, uv: Tensor, level: Tensor) -> Tensor:
        """Texels `(P, C)`, each of its own picture's texture where there are several."""
        maps, pictures = self._mipmaps(name, texture), fragments.size[0]
        if maps.count not in (1, pictures):
            raise ChainRigError(
                f"The material's {name} is a batch of {maps.count}, the pictures are {pictures}: "
                "give each picture its texture, or all the same."
            )
        return maps.sample(uv, level, fragments.item)

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
        surface = self.surface
        uv = weigh(
            surface.uv, surface.uv_triangles.index_select(0, fragments.triangle), fragments.barycentric
        )
        level = self.levels(homogeneous, surface.triangles, surface.uv_triangles).flatten()
        return uv, level.index_select(0, fragments.item * len(surface.triangles) + fragments.triangle)

    def levels(self, homogeneous: Tensor, triangles: Tensor, uv_triangles: Tensor) -> Tensor:
        """Mip levels `(*B, F)` of `(F, 3)` triangles of `(*B, V, 3)` points, and of the texture."""
        uv, texture = self.surface.uv, self.material.texture
        in_front = (homogeneous[..., 2:] > 0) & homogeneous.isfinite().all(-1, keepdim=True)
        screen = torch.where(in_front, homogeneous[..., :2], 0) / torch.where(
            in_front, homogeneous[..., 2:], 1
        )
        texels = uv * uv.new_tensor([texture.shape[-2], texture.shape[-3]])
        on_screen = _double_area(screen, triangles).clamp(min=1e-6)
        return level_of_detail(_double_area(texels, uv_triangles) / on_screen)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cached": {}}  # a copy makes its own: these may be of a transform's tensors

    def _mipmaps(self, name: str, texture: Tensor) -> Mipmaps:
        """Built anew only where the texture is another, or was changed: its halvings cost more than a
        picture.
        """
        if is_differentiated(texture) or torch.is_inference_mode_enabled():
            return Mipmaps(texture)
        version, kept = self._cached.get(name, (-1, None))
        if kept is None or kept.texture is not texture or version != texture._version:
            kept = Mipmaps(texture)
            self._cached[name] = texture._version, kept
        return kept


def _double_area(points: Tensor, triangles: Tensor) -> Tensor:
    """Twice the area of 2D triangles: `(*B, N, 2)`, `(F, 3)` → `(*B, F)`."""
    a, b, c = (points.index_select(-2, triangles[:, i]) for i in range(3))
    u, v = b - a, c - a
    return (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).abs()
