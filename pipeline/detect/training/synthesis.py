"""Pictures of random heads with exact labels: what a network can be trained on without a single photograph.

The labels are the rig's own landmark embedding, projected. Heads come in groups of one person in several
poses, expressions and lights, because a person's texture costs more than a picture.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.chain import build_renderer
from pipeline.controls import ControlSpace
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import LandmarkEmbedding
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.camera import Camera
from pipeline.render.composite import composite
from pipeline.render.head_texture import REGIONS, SKIN_TONES, HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer

Rng = np.random.Generator

SIZE = 192  # pixels of a side of a picture
AROUND = 1.35  # how much more than the detector's region a picture shows, so that crops can be jittered
FOCAL_PX = 1000.0  # of the imagined photo; what counts is the distance

# Combinations that faces make; one control alone is a sample of its own.
GRIMACES = (
    ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight"),
    ("mouthSmileLeft", "mouthSmileRight", "jawOpen", "mouthUpperUpLeft", "mouthUpperUpRight"),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("eyeSquintLeft", "eyeSquintRight", "browDownLeft", "browDownRight"),
    ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "eyeWideLeft", "eyeWideRight"),
    ("jawOpen",),
    ("mouthFrownLeft", "mouthFrownRight", "mouthShrugLower"),
    ("mouthPucker", "mouthFunnel"),
    ("mouthPressLeft", "mouthPressRight", "mouthRollLower", "mouthRollUpper"),
)


class Group(NamedTuple):
    """N pictures of one person.

    Attributes:
        pictures: `(N, SIZE, SIZE, 4)` uint8 sRGB on black with alpha (premultiplied).
        points: `(N, 478, 2)` float32 landmarks in pixels of the picture.
    """

    pictures: Tensor
    points: Tensor


@dataclass(frozen=True)
class Studio:
    """A rig, ready to be photographed: what all pictures share."""

    rig: Rig
    deform: Deformer
    weights: Tensor
    detail: Tensor

    @classmethod
    def of(cls, rig: Rig | None = None, texture: HeadTexture | None = None) -> "Studio":
        """The shipped head if no other is given.

        Raises:
            ChainRigError: the rig has no landmark embedding to take labels from.
        """
        rig, texture = rig or Rig.load(), texture or HeadTexture.load()
        if rig.landmark_triangle is None:
            raise ChainRigError(
                "The rig has no landmark embedding to take labels from: "
                "build one with scripts/build_embedding.py."
            )
        # Half the texture's resolution is what a picture of SIZE pixels shows.
        return cls(rig, Deformer(rig), texture.weights[:, ::2, ::2], texture.detail[::2, ::2])

    @torch.no_grad()
    def photograph(self, rng: Rng, count: int = 8) -> Group:
        """`count` pictures of a random person."""
        x = random_controls(self.rig.controls, rng, count)
        vertices = self.deform(x)
        assert self.rig.landmark_triangle is not None and self.rig.landmark_barycentric is not None
        corners = self.rig.triangles[self.rig.landmark_triangle]
        lens = Camera(torch.tensor(FOCAL_PX), torch.zeros(2))
        points = LandmarkEmbedding(corners, self.rig.landmark_barycentric, lens)(vertices)[..., :2]
        region = Region.around(points, SIZE)
        region = Region(region.centre, AROUND * region.side, region.rotation, SIZE)
        camera = Camera(torch.tensor(FOCAL_PX), torch.zeros(2), region.crop_from_photo(), (SIZE, SIZE))
        renderer = build_renderer(
            self.rig, camera, self.random_material(rng), random_light(rng, count), samples=1
        )
        return Group(_cut_out(renderer, vertices), region.map_to_crop(points))

    def random_material(self, rng: Rng) -> Material:
        """A skin of any colour and evenness; lips, brows, hair and eyes to go with it or not."""
        colours = random_colours(rng)
        texture = HeadTexture(self.weights, self.detail, colours)()
        blotches = _noise(rng, (len(self.detail), self.detail.shape[1]), channels=3)
        contrast = rng.uniform(0.0, 0.3)
        texture[..., :3] *= (contrast * (0.5 * blotches + blotches.mean(-1, keepdim=True))).exp()
        texture[..., 3] = (texture[..., 3] * rng.uniform(0.6, 1.4)).clamp(0.1, 1)
        return Material(
            texture.clamp(0, 1),
            specular=torch.tensor(rng.uniform(0.01, 0.07), dtype=torch.float32),
            wrap=torch.tensor(rng.uniform(0.2, 1.0), dtype=torch.float32),
        )


def random_controls(space: ControlSpace, rng: Rng, count: int) -> Tensor:
    """`(count, K)` float32: one person in several expressions and poses."""
    x = space.rest.float().expand(count, -1).clone()
    identity = space.groups["identity"]
    low, high = space.low[identity].numpy(), space.high[identity].numpy()
    draw = rng.normal(0, rng.uniform(0.2, 0.55), len(low))
    names = space.names[identity]
    for i, name in enumerate(names):
        if name.startswith("r-") and "l-" + name[2:] in names:  # faces are nearly symmetric
            draw[i] = draw[names.index("l-" + name[2:])] + rng.normal(0, 0.08)
        if name.startswith("head-"):  # the widest of all shapes
            draw[i] *= 0.6
        if name.endswith("-trans-out") and not name.startswith(("l-", "r-")):  # crooked
            draw[i] *= 0.25
    x[:, identity] = torch.from_numpy(np.clip(draw, low, high)).float()
    for shot in x:
        for name, value in _random_expression(space, rng).items():
            shot[space.index(name)] = value
        yaw = rng.normal(0, 0.12) if rng.random() < 0.4 else rng.uniform(-0.7, 0.7)
        turn = (
            rng.uniform(-0.35, 0.35) if rng.random() < 0.5 else rng.normal(0, 0.12),
            yaw,
            rng.normal(0, 0.1),
        )
        place = (
            rng.normal(0, 0.03),
            rng.normal(0, 0.03),
            -math.exp(rng.uniform(math.log(0.4), math.log(2.5))),
        )
        shot[space.groups["pose"]] = torch.tensor([*turn, *place], dtype=torch.float32)
    return x


def _random_expression(space: ControlSpace, rng: Rng) -> dict[str, float]:
    """Calm faces as often as others; then a grimace, some single controls, or both."""
    values: dict[str, float] = {}
    expressions = space.names[space.groups["expression"]]
    for name in rng.choice(expressions, 4, replace=False):  # nobody's face is exactly at rest
        values[str(name)] = rng.uniform(0, 0.15)
    gaze = rng.normal(0, 0.25, 2)
    for side, sign in (("Left", 1), ("Right", -1)):
        values[("eyeLookOut" if sign * gaze[0] > 0 else "eyeLookIn") + side] = min(1.0, abs(gaze[0]))
        values[("eyeLookUp" if gaze[1] > 0 else "eyeLookDown") + side] = min(1.0, abs(gaze[1]))
    if rng.random() < 0.55:
        if rng.random() < 0.8:
            strength = rng.uniform(0.1, 1.0)
            for name in GRIMACES[rng.integers(len(GRIMACES))]:
                values[name] = float(np.clip(strength * rng.uniform(0.7, 1.2), 0, 1))
        for name in rng.choice(expressions, rng.integers(0, 4), replace=False):
            values[str(name)] = rng.uniform(0, 0.8)
    return {name: value for name, value in values.items() if name in expressions}


def random_light(rng: Rng, count: int) -> Light:
    """`count` lights: from all around, from somewhere in front, and uneven surroundings."""
    ambient = np.exp(rng.uniform(-2.3, -0.4, (count, 1)) + rng.normal(0, 0.12, (count, 3)))
    key = np.exp(rng.uniform(-2.0, 0.5, (count, 1)) + rng.normal(0, 0.12, (count, 3)))
    direction = np.stack(
        [rng.normal(0, 0.9, count), rng.normal(0.3, 0.6, count), rng.uniform(0.1, 1.2, count)], -1
    )
    around = rng.normal(0, 0.5, (count, 9, 1)) + rng.normal(0, 0.15, (count, 9, 3))
    around *= rng.uniform(0, 0.8, (count, 1, 1)) * ambient[:, None]
    around[:, 0] = 0  # `ambient` is the mean
    return Light(*(torch.from_numpy(value).float() for value in (ambient, key, direction, around)))


def random_colours(rng: Rng) -> dict[str, tuple[float, ...]]:
    """Linear RGB for the regions of a `HeadTexture`."""
    tones = np.log(np.array(list(SKIN_TONES.values())))
    place = rng.uniform(-0.3, len(tones) - 0.8)
    first = int(np.clip(place, 0, len(tones) - 2))
    log_skin = tones[first] + (place - first) * (tones[first + 1] - tones[first])
    skin = np.clip(np.exp(log_skin + rng.normal(0, 0.12) + rng.normal(0, 0.06, 3)), 0.01, 0.9)
    hairs = np.array(
        [(0.006, 0.005, 0.005), (0.04, 0.025, 0.018), (0.16, 0.08, 0.04), (0.4, 0.27, 0.13), (0.5, 0.5, 0.48)]
    )
    hair = hairs[rng.integers(len(hairs))] * np.exp(rng.normal(0, 0.3))
    bald, thin = rng.random() < 0.35, rng.uniform(0, 0.9) if rng.random() < 0.5 else 0.0
    lip = np.array([0.78, 0.54, 0.66]) if rng.random() < 0.8 else np.array([0.8, 0.25, 0.3])
    fade = rng.uniform(0, 0.9)  # how far lips and cheeks take the skin's own colour
    iris = rng.choice([0.02, 0.08, 0.2]) * np.exp(rng.normal(0, 0.3, 3)) * (1.2, 1.0, rng.uniform(0.5, 1.8))
    colours = {
        "skin": skin,
        "flush": np.exp(rng.normal([0.08, -0.2, -0.25], 0.12) * rng.uniform(0, 1.4)),
        "lid": np.exp(rng.normal([-0.2, -0.3, -0.35], 0.25) * rng.uniform(0, 1.5)),
        "lip": (lip * np.exp(rng.normal(0, 0.1, 3))) ** (1 - fade),
        "brow": (1 - thin) * hair * np.exp(rng.normal(-0.2, 0.3)) + thin * skin,
        "hair": skin * rng.uniform(0.6, 1.0) if bald else hair,
        "sclera": np.clip(rng.uniform(0.3, 0.85) * np.exp(rng.normal(0, 0.05, 3)), 0, 1),
        "iris": iris,
        "lash": np.array([0.016, 0.011, 0.009]) * np.exp(rng.uniform(0, 2.5)),
        "teeth": np.array([0.66, 0.61, 0.50]) * rng.uniform(0.4, 1.2),
    }
    return {
        name: tuple(np.clip(value, 0, 1.5).tolist()) for name, value in colours.items() if name in REGIONS
    }


def _cut_out(renderer: Renderer, vertices: Tensor) -> Tensor:
    """`(N, H, W, 4)` uint8: the renderer's picture before black, and how much of each pixel it covers."""
    homogeneous = renderer.homogeneous(vertices)
    fragments = renderer.rasterize(homogeneous)
    colour = srgb.encode(renderer.shade(fragments, vertices, homogeneous).radiance).clamp(0, 1)
    colour = torch.cat([colour, torch.ones_like(colour[:, :1])], -1)
    picture = composite(
        fragments, homogeneous, renderer.surface, colour, colour.new_zeros(4), renderer.samples
    )
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def _noise(rng: Rng, size: tuple[int, int], channels: int) -> Tensor:
    """`(H, W, C)` about N(0, 1): octaves of random weight."""
    total, power = torch.zeros(1, channels, *size), 0.0
    for cells in (4, 12, 40, 128):
        weight = rng.uniform(0, 1)
        values = torch.from_numpy(rng.standard_normal((1, channels, cells, cells), dtype=np.float32))
        total += weight * functional.interpolate(values, size, mode="bilinear")
        power += weight**2
    return total[0].movedim(0, -1) / max(power, 1e-3) ** 0.5


def groups(seed: int, start: int = 0, studio: Studio | None = None, count: int = 8) -> Iterator[Group]:
    """Persons without end; the n-th is the same wherever one starts."""
    studio = studio or Studio.of()
    number = start
    while True:
        yield studio.photograph(np.random.default_rng((seed, number)), count)
        number += 1
