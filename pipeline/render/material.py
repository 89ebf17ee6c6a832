"""How a surface reflects: Lambert with scattering, and a microfacet highlight.

A fragment of albedo a and roughness r, with normal n, seen from v under `light` L, sends out

    a · [L.environment(n) + L.directional · diffuse(n·l; wrap)]
      + L.directional · π · ggx(n, l, v; r) · max(n·l, 0)
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.render.lighting import Light, of_item
from pipeline.render.texture import Mipmaps

MIN_ROUGHNESS = 0.05  # a narrower highlight falls between samples


class Material(nn.Module):
    """Parameters C2 of a surface.

    Args:
        texture: `(*B, Ht, Wt, 4)`: linear RGB albedo in [0, 1] and GGX roughness in [0, 1]; sides are powers
            of two. With `*B` each picture has its own.
        specular: `()` reflectance at normal incidence (Fresnel's F0); about 0.04 for skin, 0 for none.
        wrap: `()` in [0, 1]: how far light scatters around the terminator; 0 is Lambert.
        normal_map: `(Hn, Wn, 3)` unit vectors in tangent space (x along u, y along v, z outwards), or None.

    Raises:
        ChainRigError: a side of a texture is not a power of two, or it has another number of channels.
    """

    texture: Tensor
    specular: Tensor
    wrap: Tensor
    normal_map: Tensor | None

    def __init__(
        self,
        texture: Tensor,
        specular: Tensor | None = None,
        wrap: Tensor | None = None,
        normal_map: Tensor | None = None,
    ) -> None:
        super().__init__()
        Mipmaps.require(texture, channels=4)
        if normal_map is not None:
            Mipmaps.require(normal_map, channels=3)
        self.register_buffer("texture", texture)
        self.register_buffer("specular", texture.new_tensor(0.04) if specular is None else specular)
        self.register_buffer("wrap", texture.new_tensor(1.0) if wrap is None else wrap)
        self.register_buffer("normal_map", normal_map)

    @classmethod
    def plain(cls, texture: Tensor) -> "Material":
        """A surface without highlights: `(Ht, Wt, 3)` linear RGB and wrapped diffuse light only."""
        rough = torch.ones_like(texture[..., :1])
        return cls(torch.cat([texture, rough], dim=-1), specular=texture.new_tensor(0.0))


@dataclass(frozen=True)
class Shading:
    """Light that fragments send out: `albedo · diffuse + specular`.

    Attributes:
        albedo: `(P, 3)` linear RGB.
        diffuse: `(P, 3)` incoming light, scattered.
        specular: `(P, 3)` the highlight.
    """

    albedo: Tensor
    diffuse: Tensor
    specular: Tensor

    @property
    def radiance(self) -> Tensor:
        """`(P, 3)` linear RGB, 1 for white paper in full light."""
        return self.albedo * self.diffuse + self.specular


def shade(
    material: Material, light: Light, texel: Tensor, normal: Tensor, to_eye: Tensor, item: Tensor
) -> Shading:
    """The light of P fragments.

    Args:
        texel: `(P, 4)` albedo and roughness.
        normal: `(P, 3)` unit normals in camera space.
        to_eye: `(P, 3)` unit vectors to the camera.
        item: `(P,)` int64: whose light, where lights differ between the pictures of a batch.
    """
    albedo, roughness = texel[:, :3], texel[:, 3:]
    to_light, directional = of_item(light.towards(), 1, item), of_item(light.directional, 1, item)
    cosine = dot(normal, to_light)
    diffuse = light.environment(normal, item) + directional * wrapped(cosine, material.wrap)
    highlight = ggx(normal, to_light, to_eye, roughness, material.specular) * cosine.clamp(min=0)
    return Shading(albedo, diffuse, directional * (math.pi * highlight))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products `(P, 1)` of `(P, 3)`."""
    return (a * b) @ a.new_ones(3, 1)  # a sum over so short an axis is slower


def unit(vectors: Tensor) -> Tensor:
    """Of length 1, or 0 where they are 0: `(P, 3)`."""
    return vectors * dot(vectors, vectors).clamp(min=1e-24).rsqrt()


def wrapped(cosine: Tensor, wrap: Tensor) -> Tensor:
    """Diffuse light around the terminator, of the same energy for every `wrap`: any shape.

    (2 + w) / (2 (1 + w)) · max((cos + w)/(1 + w), 0)^(1 + w): w = 0 is Lambert, w = 1 is ¾ ((1 + cos)/2)²,
    smooth everywhere (McAuley, "Extension to energy-conserving wrapped diffuse", 2011).
    """
    around = ((cosine + wrap) / (1 + wrap)).clamp(min=1e-8)
    return (2 + wrap) / (2 * (1 + wrap)) * around.pow(1 + wrap)


def ggx(normal: Tensor, to_light: Tensor, to_eye: Tensor, roughness: Tensor, specular: Tensor) -> Tensor:
    """The microfacet BRDF D·V·F, per steradian: `(P, 3)` unit vectors, `(P, 1)` roughness → `(P, 1)`.

    D is GGX with α = roughness² (Walter et al., "Microfacet models for refraction through rough surfaces",
    2007, eq. 33), V the height-correlated Smith term G/(4 n·l n·v) (Heitz, "Understanding the
    masking-shadowing function", 2014, eq. 99), F Schlick's Fresnel term, which fades with F0 below 0.02.
    Finite on the horizon and beyond, where it does not matter.
    """
    n_l, n_v = dot(normal, to_light).clamp(min=1e-3), dot(normal, to_eye).clamp(min=1e-3)
    # The half vector h is (l + v) / |l + v|, and |l + v|² = 2 + 2 l·v.
    length = (2 + 2 * dot(to_light, to_eye)).clamp(min=1e-6).sqrt()
    n_h, v_h = (dot(normal, to_light + to_eye) / length).clamp(min=0, max=1), 0.5 * length
    alpha2 = roughness.clamp(min=MIN_ROUGHNESS) ** 4
    distribution = alpha2 / (math.pi * ((1 - n_h * n_h) + n_h * n_h * alpha2).square())
    smith_l = n_v * (alpha2 + (1 - alpha2) * n_l * n_l).sqrt()
    smith_v = n_l * (alpha2 + (1 - alpha2) * n_v * n_v).sqrt()
    return distribution * 0.5 / (smith_l + smith_v) * fresnel(specular, v_h)


def fresnel(specular: Tensor, v_h: Tensor) -> Tensor:
    """Schlick's share of mirrored light, any shape; at grazing angles all, unless F0 is below 0.02."""
    return specular + ((50 * specular).clamp(max=1) - specular) * (1 - v_h) ** 5
