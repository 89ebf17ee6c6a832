"""What a renderer knows on its way to the picture, as pictures: one for each step, for people to look at."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.render import srgb
from pipeline.render.composite import composite, pixel_of_sample
from pipeline.render.rasterize import Fragments
from pipeline.render.renderer import Renderer
from pipeline.render.silhouette import edge_term

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
        flat, parts = homogeneous.reshape(-1, *homogeneous.shape[-2:]), renderer.surface.part_of_triangle
        dark, samples = color.new_full((3,), DARK), renderer.samples
        mean = composite(fragments, flat, parts, color.expand(-1, 3), dark, samples, outlines=False)
        return Pass(name, title, mean.view(size))

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
            _outlines(renderer, fragments, homogeneous, depth, srgb.encode(shading.radiance)).view(size),
        ),
    ]


@torch.no_grad()
def coverage(renderer: Renderer, vertices: Tensor) -> Tensor:
    """The share of every pixel that `(*B, V, 3)` vertices cover: `(*B, H, W)` in [0, 1]."""
    homogeneous = renderer.homogeneous(vertices)
    fragments = renderer.rasterize(homogeneous)
    flat, parts = homogeneous.reshape(-1, *homogeneous.shape[-2:]), renderer.surface.part_of_triangle
    one = fragments.barycentric.new_ones(len(fragments.pixel), 1)
    share = composite(fragments, flat, parts, one, one.new_zeros(1), renderer.samples, outlines=False)
    return share.view(*homogeneous.shape[:-2], *renderer.camera.size)


def _outlines(
    renderer: Renderer, fragments: Fragments, homogeneous: Tensor, depth: Tensor, color: Tensor
) -> Tensor:
    """Where moving outlines change the picture: colours `(B·H·W, 3)`.

    It is the renderer's own term, differentiated along a motion of everything by a sample to the right and a
    sample down. Hue is the direction from the nearer surface to what it hides, brightness how much they
    differ.
    """
    points = homogeneous.reshape(-1, *homogeneous.shape[-2:])
    values = torch.cat([depth, color], dim=-1)
    beyond = 2 * depth.amax(0) if len(depth) else depth.new_ones(1)
    behind = torch.cat([beyond, srgb.encode(renderer.background).to(values)])
    count, height, width = fragments.size
    samples = renderer.samples

    def changes(moved: Tensor) -> tuple[Tensor, Tensor]:
        sample, zero = edge_term(fragments, moved, renderer.surface.part_of_triangle, values, behind)
        return zero, sample

    sums = []
    for axis in (0, 1):
        motion = torch.zeros_like(points)
        motion[..., axis] = points[..., 2]  # homogeneous: one sample, whatever the depth
        derivative: Any = torch.func.jvp(changes, (points,), (motion,), has_aux=True)
        _, change, sample = derivative
        # `change` is half the difference of the left or upper surface and the right or lower one.
        shares = torch.cat([-change[:, :1].sign(), change[:, 1:].abs()], dim=-1)
        pixel = pixel_of_sample(sample, width, samples)
        sums.append(shares.new_zeros(count * height * width // samples**2, 4).index_add(0, pixel, shares))
    right, down = sums
    strength = ((right + down)[:, 1:].amax(-1, keepdim=True) / samples).clamp(max=1)
    color = _wheel(torch.atan2(-down[:, 0], right[:, 0])) * (0.5 + 0.5 * strength.sqrt())
    return torch.where(((right != 0) | (down != 0)).any(-1, keepdim=True), color, DARK)


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
