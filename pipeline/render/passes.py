"""What a renderer knows on its way to the picture, as pictures: one for each step, for people to look at."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.render import srgb
from pipeline.render.composite import composite, pixel_of_sample
from pipeline.render.outlines import find_outlines
from pipeline.render.rasterize import Fragments
from pipeline.render.renderer import Renderer

DARK = 0.1  # where there is nothing to show
_GOLDEN = 2.399963229728653  # radians


@dataclass(frozen=True)
class Pass:
    """One step of the renderer.

    Attributes:
        name: a short one, for a file.
        title: what the colours mean.
        picture: `(*B, H, W, 3)` sRGB.
    """

    name: str
    title: str
    picture: Tensor


@torch.no_grad()
def passes(renderer: Renderer, vertices: Tensor) -> list[Pass]:
    """The picture of `(*B, V, 3)` vertices, and the steps that the scanline renderer takes to it.

    Colours are averaged over the samples of a pixel, as the picture's are. Normals are those of the surface,
    before a normal map bends them.
    """
    homogeneous = renderer.homogeneous(vertices)
    fragments = renderer.rasterize(homogeneous)
    shading = renderer.shade(fragments, vertices, homogeneous)
    position, normal = renderer.geometry(fragments, vertices, homogeneous.shape[:-2])
    depth = -position[:, 2:]
    near, far = (float(depth.min()), float(depth.max())) if len(depth) else (0.0, 1.0)
    brightest, glossiest = _bright(shading.diffuse), _bright(shading.specular)
    size = (*homogeneous.shape[:-2], *renderer.camera.size, 3)

    def show(name: str, title: str, color: Tensor) -> Pass:
        return Pass(name, title, _mean(fragments, color.expand(-1, 3), renderer.samples).view(size))

    return [
        Pass("picture", "picture", renderer(vertices)),
        show("triangles", "triangle ids: a colour each", _hashed(fragments.triangle).to(depth)),
        show("barycentrics", "barycentrics of the corners: r, g, b", fragments.barycentric),
        show("normals", "normals: r right, g up, b to the camera", 0.5 + 0.5 * normal),
        show("albedo", "albedo", srgb.encode(shading.albedo)),
        show("diffuse", f"diffuse light: white is {brightest:.2g}", srgb.encode(shading.diffuse / brightest)),
        show("specular", f"specular: white is {glossiest:.2g}", srgb.encode(shading.specular / glossiest)),
        show(
            "depth",
            f"depth: {near:.2f} m white, {far:.2f} m dark",
            1 - (1 - 2 * DARK) * (depth - near) / max(far - near, 1e-9),
        ),
        Pass(
            "outlines",
            "outlines: hue is where they face",
            _outlines(renderer, fragments, homogeneous, srgb.encode(shading.radiance)).view(size),
        ),
    ]


@torch.no_grad()
def coverage(renderer: Renderer, vertices: Tensor, opacity: Tensor | None = None) -> Tensor:
    """The share of every pixel that `(*B, V, 3)` vertices cover: `(*B, H, W)` in [0, 1].

    Args:
        opacity: `(V,)` in [0, 1], what a vertex counts; 1 if omitted.
    """
    homogeneous = renderer.homogeneous(vertices)
    fragments, surface = renderer.rasterize(homogeneous), renderer.surface
    flat = homogeneous.reshape(-1, *homogeneous.shape[-2:])
    if opacity is None:
        color = flat.new_ones(len(fragments.pixel), 1)
    else:
        color = fragments.interpolate(opacity.to(flat)[:, None].expand(len(flat), -1, 1))
    share = composite(
        fragments, flat, surface, color, color.new_zeros(1), renderer.samples, renderer.outlines
    )
    return share.view(*homogeneous.shape[:-2], *renderer.camera.size)


def cut_out(renderer: Renderer, vertices: Tensor, rgb: Tensor, opacity: Tensor | None = None) -> Tensor:
    """A picture `(*B, H, W, 3)` of vertices without its background: `(*B, H, W, 4)` sRGB, straight alpha.

    Args:
        opacity: `(V,)` in [0, 1] of the vertices; they are opaque if omitted.
    """
    covered = coverage(renderer, vertices)[..., None]
    behind = srgb.encode(renderer.background)
    alpha = covered if opacity is None else coverage(renderer, vertices, opacity)[..., None]
    return torch.cat([(rgb - (1 - covered) * behind) / covered.clamp(min=1e-3), alpha], dim=-1)


def _mean(fragments: Fragments, color: Tensor, samples: int) -> Tensor:
    """Colours `(P, 3)` of fragments, averaged over the samples of a pixel: `(B·H·W, 3)`."""
    count, height, width = fragments.size
    pixel = pixel_of_sample(fragments.pixel, width, samples)
    picture = color.new_zeros(count * height * width // samples**2, 3)
    return DARK + picture.index_add(0, pixel, color - DARK) / samples**2


def _outlines(renderer: Renderer, fragments: Fragments, homogeneous: Tensor, color: Tensor) -> Tensor:
    """Where the renderer finds outlines: colours `(B·H·W, 3)`, for the colours `(P, 3)` of the fragments.

    Hue is the direction from the nearer surface to what it hides, brightness how much the two differ.
    """
    found = find_outlines(fragments, homogeneous.reshape(-1, *homogeneous.shape[-2:]), renderer.surface)
    color = torch.cat([color, srgb.encode(renderer.background).to(color)[None]])
    contrast = (color[found.front] - color[found.other]).abs().amax(-1, keepdim=True)
    direction = (found.other_sample - found.front_sample).sign()[:, None]
    axes = torch.eye(2, device=color.device)[found.axis]
    facing = torch.cat([direction * axes, contrast, torch.ones_like(contrast)], dim=-1).to(color)

    count, height, width = fragments.size
    pixel = pixel_of_sample(torch.cat([found.front_sample, found.other_sample]), width, renderer.samples)
    sums = facing.new_zeros(count * height * width // renderer.samples**2, 4)
    right, down, contrast, crossings = sums.index_add(0, pixel, facing.repeat(2, 1)).unbind(-1)
    strength = (contrast / crossings.clamp(min=1)).clamp(max=1).sqrt()
    hue = _wheel(torch.atan2(-down, right))
    return torch.where(crossings[:, None] > 0, hue * (0.5 + 0.5 * strength[:, None]), DARK)


def _hashed(number: Tensor) -> Tensor:
    """Colours `(N, 3)` of integers `(N,)`: by their squares, so that no fixed step keeps the hue."""
    return _wheel(number.double().square() * _GOLDEN)


def _wheel(angle: Tensor) -> Tensor:
    """Hues `(N, 3)` of angles `(N,)` in radians: red at 0, then yellow, green, blue, and back."""
    return 0.5 + 0.5 * torch.cos(angle[:, None] - angle.new_tensor([0, 1, 2]) * (2 * torch.pi / 3))


def _bright(values: Tensor) -> float:
    """What only a hundredth of the values exceed: a highlight should not darken all else."""
    if not values.numel():
        return 1.0
    flat = values.flatten()
    return max(float(flat.kthvalue(max(1, round(0.99 * len(flat)))).values), 1e-6)
