"""C2 from a photo: what light and which colours make the render look like the face?

The geometry stands still, so that what every pixel sees (regions, normals) is found once, and only the
shading is computed anew: sRGB(colours · light) on a coarse grid, compared with the photo inside the outline
of the face by a robust distance. `appearance_prior.py` tells light from paint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from pipeline.appearance_prior import LIMIT, UNKNOWNS, decode
from pipeline.detect.embedding import FACE_OVAL
from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.camera import Camera
from pipeline.render.head_texture import DEFAULT_COLOURS, REGIONS, HeadTexture, mixed_with_skin
from pipeline.render.lighting import Light
from pipeline.render.material import Material, shade
from pipeline.render.renderer import Renderer
from pipeline.render.texture import Mipmaps
from pipeline.solve import levenberg_marquardt
from pipeline.solve.priors import Prior

GRID = 128  # pixels along a side of the view in which light and colours are looked for
CELL = 2  # of these are averaged, so that pores and a line a pixel off do not count
CELLS_ALIKE = 12  # neighbouring pixels err together: so many tell as much as one
# (how well a cell should agree, beyond which difference it counts for less), sRGB. The priors lead at
# first, so that hair or a hand over the face does not.
ROUNDS = ((0.1, 0.5), (0.03, 0.25))
TEXELS = 4  # of the texture are averaged on each axis: the grid is too coarse to see more
FEWEST = 200  # pixels of the grid; a face has some five thousand
STEPS = 6  # of each round


@dataclass(frozen=True)
class Appearance:
    """What a fit may find of C2.

    Attributes:
        light: on the head.
        colours: of the regions, linear RGB, as `HeadTexture` takes them.
    """

    light: Light
    colours: Mapping[str, tuple[float, ...]]

    @classmethod
    def default(cls) -> "Appearance":
        return cls(Light.default(), DEFAULT_COLOURS)

    def material(self, texture: HeadTexture) -> Material:
        """The head's texture in these colours."""
        return Material(HeadTexture(texture.weights, texture.detail, self.colours)())


def face_mask(landmarks: Tensor, size: int) -> Tensor:
    """The pixels inside the outline of a face: `(478, ≥ 2)` pixels of a view → `(size, size)` bool."""
    oval = landmarks[list(FACE_OVAL), :2].double().cpu()
    around = oval - oval.mean(0)
    order = torch.atan2(around[:, 1], around[:, 0]).argsort()
    drawing = Image.new("1", (size, size))
    ImageDraw.Draw(drawing).polygon([tuple(point) for point in (oval[order] - 0.5).tolist()], fill=1)
    return torch.from_numpy(np.asarray(drawing).copy())


def photometric_error(picture: Tensor, photo: Tensor, mask: Tensor) -> float:
    """Mean absolute difference of `(H, W, 3)` sRGB pictures inside a mask `(H, W)`, values in [0, 1]."""
    return float((picture.clamp(0, 1) - photo)[mask].abs().mean())


def estimate(
    renderer: Renderer, texture: HeadTexture, vertices: Tensor, photo: Tensor, mask: Tensor
) -> Appearance:
    """Light and colours that make the render of vertices look like the photo.

    Minimises ½ Σ ρ(|render − photo|² / σ²) + ½ |θ|² over the means of small cells inside the mask, where
    ρ(s) = s / (1 + s σ²/c²) (Geman and McClure, "Bayesian image analysis", 1985) lets hair, glasses and cast
    shadows count for little, and θ are the parameters of `appearance_prior.py`.

    Args:
        renderer: in the view of the photo's crop.
        vertices: `(V, 3)` camera space.
        photo: `(S, S, 3)` sRGB, the crop.
        mask: `(S, S)` bool, see `face_mask`.

    Raises:
        ChainRigError: the vertices cover next to nothing of the mask.
    """
    seen = Seen.of(renderer, texture, vertices, photo, mask)
    theta = torch.zeros(UNKNOWNS, dtype=torch.float64)
    prior = Prior(theta, theta + 1, theta, theta - LIMIT, theta + LIMIT)
    for noise, width in ROUNDS:

        def residual(theta: Tensor, noise: float = noise, width: float = width) -> Tensor:
            difference = seen.shaded(*decode(theta)) - seen.photo  # [C, 3]
            shrunk = difference / (1 + difference.square().sum(-1, keepdim=True) / width**2).sqrt()
            return (shrunk / (noise * math.sqrt(3 * CELLS_ALIKE / CELL**2))).flatten()

        def twice(theta: Tensor) -> tuple[Tensor, Tensor]:
            value = residual(theta)
            return value, value

        def residual_and_jacobian(theta: Tensor) -> tuple[Tensor, Tensor]:
            jacobian, value = torch.func.jacfwd(twice, has_aux=True)(theta)
            return value, jacobian

        theta = levenberg_marquardt.minimize(
            residual_and_jacobian, residual, prior, theta, STEPS, tolerance=1e-4
        )
    light, colours = decode(theta)
    names = zip(REGIONS, colours.tolist(), strict=True)
    return Appearance(light.float(), {name: tuple(colour) for name, colour in names})


@dataclass(frozen=True)
class Seen:
    """What the pixels of the face see, whatever the light and the colours are; P pixels in C cells.

    Attributes:
        shares: `(P, M)` of the regions, times detail.
        roughness: `(P, 1)`.
        normal, to_eye: `(P, 3)`.
        cell: `(P,)` int64 the cell of a pixel.
        count: `(C, 1)` pixels of a cell.
        photo: `(C, 3)` mean sRGB.
        material: for what is not estimated.
    """

    shares: Tensor
    roughness: Tensor
    normal: Tensor
    to_eye: Tensor
    cell: Tensor
    count: Tensor
    photo: Tensor
    material: Material

    @classmethod
    @torch.no_grad()
    def of(
        cls, renderer: Renderer, texture: HeadTexture, vertices: Tensor, photo: Tensor, mask: Tensor
    ) -> "Seen":
        camera, shrink = renderer.camera, photo.shape[0] // GRID
        view = camera.view / shrink
        small = Camera(camera.focal_px, camera.principal_point_px, view, (GRID, GRID))
        coarse = Renderer(renderer.surface, renderer.material, small, renderer.light, samples=1)
        homogeneous = coarse.homogeneous(vertices)
        fragments = coarse.rasterize(homogeneous)
        position, normal = coarse.geometry(fragments, vertices, vertices.shape[:-2])
        uv, level = coarse.texture_coordinates(fragments, homogeneous)
        maps = Mipmaps(_shares_and_roughness(texture))
        shares, roughness = maps.sample(uv, level - math.log2(TEXELS)).split([len(REGIONS), 1], dim=-1)

        pooled = functional.avg_pool2d(photo.movedim(-1, 0)[None], shrink)[0].movedim(0, -1).flatten(0, 1)
        inside = functional.avg_pool2d(mask[None].float(), shrink).flatten() == 1
        kept = inside[fragments.pixel] & (shares[:, REGIONS.index("hair")] < 0.5)
        pixel = fragments.pixel[kept]
        if len(pixel) < FEWEST:
            raise ChainRigError(
                "The fitted head does not cover the face in the photo, so that light and colours cannot be "
                "read there: fit with --no-appearance."
            )
        row, column = pixel // GRID, pixel % GRID
        cells, cell, count = torch.unique(
            row // CELL * GRID + column // CELL, return_inverse=True, return_counts=True
        )
        mean = pooled.new_zeros(len(cells), 3).index_add(0, cell, pooled[pixel]) / count[:, None]
        return cls(
            shares[kept].double(),
            roughness[kept].double(),
            normal[kept].double(),
            functional.normalize(-position[kept], dim=-1).double(),
            cell,
            count[:, None].double(),
            mean.double(),
            renderer.material,
        )

    def shaded(self, light: Light, colours: Tensor) -> Tensor:
        """Mean sRGB `(C, 3)` of the cells under a light, the regions having colours `(M, 3)`."""
        texel = torch.cat([self.shares @ mixed_with_skin(colours), self.roughness], dim=-1)
        radiance = shade(self.material, light, texel, self.normal, self.to_eye, self.cell * 0).radiance
        mean = radiance.new_zeros(self.photo.shape).index_add(0, self.cell, srgb.encode(radiance))
        return mean / self.count


def _shares_and_roughness(texture: HeadTexture) -> Tensor:
    """`(H, W, M + 1)`: the regions' shares times detail, and the roughness, means of a few texels."""
    maps = torch.cat([texture.weights, texture.grey_detail()[None]]).float()
    maps = functional.avg_pool2d(maps[None], TEXELS)[0].movedim(0, -1)
    shares, detail = maps[..., :-1] / 255, maps[..., -1:] / 160
    return torch.cat([shares * detail, shares @ texture.roughness[:, None]], dim=-1)
