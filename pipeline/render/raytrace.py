"""Layer 2 by ray tracing: soft shadows, ambient occlusion and reflections, and their derivatives.

A ray tracer is a renderer that asks another question: not which triangle covers a pixel, but which triangle a
ray meets. Mitsuba 3 answers it (`raycast.py`). What follows from the answer is the rasterizer's own torch
code, so the two share every formula of camera, texture, material and light.

A point of albedo a seen from v, under a directional light l and an environment L, sends out

    directional · visible(l) · [a · diffuse(n·l) + π · ggx(n, l, v) · max(n·l, 0)]
    + ∫ [a/π + ggx(n, ω, v)] · L(ω) · max(n·ω, 0) dω

The directional light is a disk of radius `softness`, sampled uniformly. The integral has two terms: the first
is known in closed form under the open sky, and rays drawn ∝ n·ω correct it where they meet the mesh; rays of
the second are mirrored in the microfacets that the eye sees.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.render import srgb
from pipeline.render.camera import Camera
from pipeline.render.composite import pixel_of_sample
from pipeline.render.lighting import Light, harmonics_basis, of_item
from pipeline.render.material import MIN_ROUGHNESS, Material, fresnel, ggx, shade, wrapped
from pipeline.render.rasterize import Fragments
from pipeline.render.ray_edges import HORIZON, moving_outlines, moving_shadows
from pipeline.render.ray_sampling import cosine_lobe, disk, even, frame, turned, visible_microfacet
from pipeline.render.ray_scene import RayScene, lifted
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface


class RayTracer(Renderer):
    """A ray tracer: `(*B, V, 3)` vertices in camera space → `(*B, H, W, 3)` sRGB.

    Takes the place of a `Renderer` and differentiates like it, forward and in reverse, in the vertices and in
    all parameters C2. Outlines and the edges of cast shadows carry derivatives; outlines in reflections and
    in the occlusion of the environment do not. The samples are those of `seed` at every call and in every
    picture of a batch. They are averaged in linear light and then encoded, the other way round than the
    rasterizer's: their noise must not darken the picture. Mitsuba is asked once for each picture of a batch,
    and not under `torch.func.vmap`.

    Args:
        surface, material, camera, light: as for `Renderer`.
        background: `(3,)` linear RGB behind the rig; only the camera sees it, it gives no light.
        samples: samples per pixel along each side (4 means 16 camera rays).
        outlines: whether moving outlines and shadows carry gradients.
        bounces: 1 for shadows, occlusion and reflections of surfaces that see the bare light; one more for
            each further surface on the light's way. 0: camera rays only, the rasterizer's shading.
        softness: radius of the directional light in radians, as the surface sees it; 0 for hard shadows.
        seed: of the samples.

    Raises:
        ChainRigError: there is a texture, but no texture coordinates; when called, Mitsuba or its LLVM is
            missing.
    """

    def __init__(
        self,
        surface: Surface,
        material: Material,
        camera: Camera,
        light: Light,
        background: Tensor | None = None,
        samples: int = 4,
        outlines: bool = True,
        bounces: int = 1,
        softness: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__(
            surface, material, camera, light, background=background, samples=samples, outlines=outlines
        )
        self.bounces = bounces
        self.softness = softness
        self.seed = seed

    def forward(self, vertices: Tensor) -> Tensor:
        homogeneous = self.homogeneous(vertices)  # [*B, V, 3]
        batch = homogeneous.shape[:-2]
        meshes = vertices.expand(*batch, *vertices.shape[-2:])
        meshes, homogeneous = (x.reshape(-1, *x.shape[-2:]) for x in (meshes, homogeneous))
        scene = RayScene(self.surface, self.camera, meshes, homogeneous, self.samples)
        background = self.background.to(homogeneous.dtype)
        fragments, _ = scene.seen(*self._samples(scene))
        # What the samples and the moving boundaries add to a picture of nothing.
        shares = [(fragments.pixel, self.radiance(scene, fragments) - background)]
        if self.outlines:
            shares.append(moving_outlines(scene, self._colors, self._generator(1)))
            if self.bounces > 0:
                shares.append(moving_shadows(scene, self, self._generator(2)))
        picture = homogeneous.new_zeros(len(meshes) * math.prod(self.camera.size), 3)
        for sample, share in shares:
            picture = picture.index_add(0, self._pixel(sample), share / self.samples**2)
        return srgb.encode(background + picture).view(*batch, *self.camera.size, 3)

    def radiance(
        self, scene: RayScene, fragments: Fragments, to_eye: Tensor | None = None, bounces: int | None = None
    ) -> Tensor:
        """Linear RGB `(P, 3)` that fragments send to the camera, or along unit vectors `to_eye` `(P, 3)`."""
        bounces = self.bounces if bounces is None else bounces
        position, normal, texel = self.touch(fragments, scene.vertices, scene.homogeneous)
        to_eye = functional.normalize(-position, dim=-1) if to_eye is None else to_eye
        item, light, material = fragments.item, self.light, self.material
        if bounces == 0:
            return shade(material, light, texel, normal, to_eye, item).radiance
        draws = self._draws(fragments, bounces)
        albedo, roughness = texel[:, :3], texel[:, 3:]

        to_light = self.sun(item, draws[0])
        start = lifted(position, normal)
        visible = ~scene.blocked(item, start, above_horizon(to_light, normal))
        color = albedo * light.environment(normal, item)
        color = color + visible * self.direct(fragments, normal, texel, to_eye, to_light)

        def arriving(direction: Tensor, under_open_sky: Tensor) -> tuple[Tensor, Tensor]:
            """Rays that meet the mesh `(Q,)`, and what arrives along them instead of the sky's light."""
            triangle = scene.first(item, start, direction)
            which = (triangle >= 0).nonzero().squeeze(-1)
            met = scene.met(fragments, start, direction, triangle, which)
            back = -direction.index_select(0, which)
            return which, self.radiance(scene, met, back, bounces - 1) - under_open_sky.index_select(0, which)

        axes = frame(normal)
        scattered = turned(cosine_lobe(draws[1]), axes.detach())
        which, change = arriving(scattered, sky(light, scattered, item))
        cosine = (normal * scattered).sum(-1, keepdim=True)
        weight = albedo * cosine / cosine.detach()
        color = color.index_add(0, which, weight.index_select(0, which) * change)

        mirrored, weight = self.mirrored(axes, to_eye, roughness, draws[2])
        open_sky = sky(light, mirrored, item)
        which, change = arriving(mirrored, open_sky)
        return (color + weight * open_sky).index_add(0, which, weight.index_select(0, which) * change)

    def direct(
        self, fragments: Fragments, normal: Tensor, texel: Tensor, to_eye: Tensor, to_light: Tensor
    ) -> Tensor:
        """Linear RGB `(P, 3)` of the directional light alone, unshadowed, coming from `to_light` `(P, 3)`."""
        cosine = (normal * to_light).sum(-1, keepdim=True)
        highlight = ggx(normal, to_light, to_eye, texel[:, 3:], self.material.specular) * cosine.clamp(min=0)
        reflected = texel[:, :3] * wrapped(cosine, self.material.wrap) + math.pi * highlight
        return of_item(self.light.directional, 1, fragments.item) * reflected

    def mirrored(
        self, axes: Tensor, to_eye: Tensor, roughness: Tensor, dice: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Directions `(P, 3)` from which microfacets mirror light to the eye, and its share `(P, 1)` in [0,
        1].

        The share is ggx · n·ω over the density of the directions, D·G₁/(4 n·v) (Heitz, "Sampling the GGX
        distribution of visible normals", 2018, eq. 17).
        """
        alpha = roughness.clamp(min=MIN_ROUGHNESS) ** 2
        alpha2 = alpha * alpha
        local = (axes @ to_eye[:, :, None]).squeeze(-1)
        n_v = local[:, 2:].clamp(
            min=1e-3
        )  # as `ggx` has it, where interpolated normals turn away from the eye
        local = functional.normalize(torch.cat([local[:, :2], n_v], dim=-1), dim=-1)
        facet = visible_microfacet(dice, local, alpha)
        v_h = (local * facet).sum(-1, keepdim=True).clamp(min=0)
        out = 2 * v_h * facet - local
        n_l = out[:, 2:].clamp(min=0)
        smith_v = (alpha2 + (1 - alpha2) * n_v * n_v).sqrt()
        smith_l = (alpha2 + (1 - alpha2) * n_l * n_l).sqrt()
        shadowing = n_l * (n_v + smith_v) / (n_v * smith_l + n_l * smith_v)  # G₂/G₁
        return turned(out, axes), shadowing * fresnel(self.material.specular, v_h)

    def sun(self, item: Tensor, dice: Tensor) -> Tensor:
        """Unit vectors `(N, 3)` to points of the directional light's disk in pictures `item`."""
        offset = self.softness * disk(dice)
        local = torch.cat([offset, torch.ones_like(offset[:, :1])], dim=-1)
        middle = of_item(self.light.towards(), 1, item).expand(len(item), 3).to(dice.dtype)
        return functional.normalize(turned(local, frame(middle)), dim=-1)

    def _colors(self, scene: RayScene, item: Tensor, sample: Tensor, at: Tensor) -> Tensor:
        """What the camera sees at points `(N, 2)` of the grids: linear RGB `(N, 3)`."""
        fragments, which = scene.seen(item, sample, at)
        background = self.background.to(at.dtype).expand(len(at), 3)
        return background.index_copy(0, which, self.radiance(scene, fragments))

    def _samples(self, scene: RayScene) -> tuple[Tensor, Tensor, Tensor]:
        """All samples: their pictures, their indices, and a random place in each one's cell of the grid."""
        count, height, width = scene.size
        sample = torch.arange(count * height * width, device=scene.vertices.device)
        item = torch.div(sample, height * width, rounding_mode="floor")
        row, column = torch.div(sample, width, rounding_mode="floor") % height, sample % width
        jitter = self._uniform(0, height * width, scene.vertices).repeat(count, 1)
        return item, sample, torch.stack([column, row], dim=-1) + jitter

    def _draws(self, fragments: Fragments, bounces: int) -> list[Tensor]:
        """Three sets of dice `(P, 2)`, which the samples of a pixel throw evenly."""
        width = fragments.size[2]
        row, column = torch.div(fragments.pixel, width, rounding_mode="floor"), fragments.pixel % width
        index = (row % self.samples) * self.samples + column % self.samples
        count = self.camera.size[0] * self.camera.size[1]
        pixel = self._pixel(fragments.pixel) % count
        streams = (self._uniform(10 * bounces + k, count, fragments.barycentric) for k in range(3))
        return [even(index, shift.index_select(0, pixel)) for shift in streams]

    def _pixel(self, sample: Tensor) -> Tensor:
        """Flat indices `(N,)` of the pixels of samples, given by theirs."""
        return pixel_of_sample(sample, self.camera.size[1] * self.samples, self.samples)

    def _uniform(self, stream: int, count: int, like: Tensor) -> Tensor:
        """`(count, 2)` in [0, 1), of the precision and on the device of `like`."""
        return torch.from_numpy(self._generator(stream).random((count, 2))).to(like)

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream))  # torch's own refuse to draw inside `jacfwd`'s vmap


def above_horizon(direction: Tensor, normal: Tensor) -> Tensor:
    """Directions `(P, 3)` of shadow rays, those that point too low bent up."""
    missing = (HORIZON - (normal * direction).sum(-1, keepdim=True)).clamp(min=0)
    return functional.normalize(direction + missing * normal, dim=-1)


def sky(light: Light, direction: Tensor, item: Tensor) -> Tensor:
    """Radiance `(P, 3)` of the environment from unit vectors `(P, 3)`."""
    basis = harmonics_basis(direction)
    if light.harmonics.dim() == 2:
        return of_item(light.ambient, 1, item) + basis @ light.harmonics
    varied = (basis[:, None] @ of_item(light.harmonics, 2, item)).squeeze(1)
    return of_item(light.ambient, 1, item) + varied
