"""Finds where the detector's 478 landmarks lie on a head.

The rig is rendered from many sides with mild expressions and random identities, the detector reads each
picture, and every landmark is looked up on the surface. What it hit is carried back to the mean head; the
median over all pictures is the landmark's place, the median distance from it its spread. Irises are looked
for on the eyeballs, everything else on the skin outside the mouth; the inner lips only where the mouth is
open. At last the two halves of the face are averaged, where they mirror each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.render.camera import Camera
from pipeline.render.head_texture import REGIONS, HeadTexture
from pipeline.render.material import Material
from pipeline.rigs.paint import painted
from pipeline.rigs.texture import texture_of

LANDMARKS = 478
RIGHT_IRIS, LEFT_IRIS = range(468, 473), range(473, 478)
INNER_LIPS = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]
DISTANCE_M, SIDE_PX, EXTENT_M = 1.2, 256, 0.25
SAMPLES = 2  # of the look-up: half a pixel, or 0.4 mm
SKIN, EYE_LEFT, EYE_RIGHT, ELSEWHERE = range(4)
MIRROR = torch.tensor([-1.0, 1, 1, -1, 1, 1])
FIRST_LOOK = 30  # pictures that tell where to paint
ROUGH, DOUBTFUL_M = 3.0, 0.005  # times the median spread, and metres, from which on a point is doubtful

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Embedding:
    """Where the landmarks lie.

    Attributes:
        triangle: (478,) int64.
        barycentric: (478, 3).
        spread: (478,) metres, the median distance of what single pictures say.
        seen: in how many of the pictures the detector found a face.
        pictures: of how many.
        symmetric: whether the halves of the face were averaged.
    """

    triangle: Tensor
    barycentric: Tensor
    spread: Tensor
    seen: int
    pictures: int
    symmetric: bool

    def of(self, rig: Rig) -> Rig:
        """The rig with this embedding."""
        return replace(
            rig,
            landmark_triangle=self.triangle,
            landmark_barycentric=self.barycentric,
            landmark_spread=self.spread,
        )

    def doubtful(self) -> list[int]:
        """Landmarks that stray far, the worst first: fits should lean on the others."""
        limit = max(ROUGH * float(self.spread.median()), DOUBTFUL_M)
        order = self.spread.argsort(descending=True).tolist()
        return [i for i in order if self.spread[i] > limit]


@torch.no_grad()
def find_embedding(
    rig: Rig,
    texture: HeadTexture,
    detector: FaceMesh,
    pictures: int = 140,
    on_progress: Progress | None = None,
) -> Embedding:
    """Renders, detects and looks up; the random numbers are the same everywhere.

    Args:
        on_progress: called with (pictures done, of how many).

    Raises:
        ChainRigError: the detector sees no face in most of the pictures.
    """
    generator = torch.Generator().manual_seed(0)
    material = Material(texture())
    regions = _regions(rig, texture)
    owners = torch.full((LANDMARKS,), SKIN)
    if (regions == EYE_RIGHT).any() and (regions == EYE_LEFT).any():
        owners[list(RIGHT_IRIS)], owners[list(LEFT_IRIS)] = EYE_RIGHT, EYE_LEFT
    # A place is known by where it is on two heads, at rest and with the mouth open: there the lips are apart.
    opens = "jawOpen" in rig.expression_names
    wide = {"jawOpen": 1.0} if opens else {}
    heads = Deformer(rig)(torch.stack([rig.controls.pack({}), rig.controls.pack(wide)]))
    surface = torch.cat(list(heads), dim=-1)[rig.triangles]  # [F, 3, 6]

    places, weights = [], []
    for picture in range(pictures):
        controls, open_mouth = _draw(rig, generator)
        found = _look(rig, detector, material, controls, regions, owners)
        if on_progress is not None:
            on_progress(picture + 1, pictures)
        if found is None:
            continue
        weight = torch.ones(LANDMARKS)
        if opens and not open_mouth:
            weight[INNER_LIPS] = 0
        places.append(_points(surface, *found))
        weights.append(weight)
    if len(places) < pictures / 2:
        raise ChainRigError(
            f"The detector sees a face in only {len(places)} of {pictures} pictures of the rig: check its "
            "frame and "
            "unit with chainrig rig inspect, and that it has eyes, brows and lips to see."
        )

    hits, weight = torch.stack(places), torch.stack(weights)  # [N, 478, 6], [N, 478]
    place = _weighted_median(hits, weight[..., None].expand_as(hits))
    place = _points(surface, *_nearest(surface, regions, place, owners))
    twin = _twins(place)
    if twin is not None:
        place = (place + place[twin] * MIRROR) / 2
    triangle, barycentric = _nearest(surface, regions, place, owners)
    place = _points(surface, triangle, barycentric)
    spread = _weighted_median((hits - place)[..., :3].norm(dim=-1), weight)
    if twin is not None:
        spread = (spread + spread[twin]) / 2
    return Embedding(triangle, barycentric, spread, len(places), pictures, twin is not None)


def _regions(rig: Rig, painted: HeadTexture) -> Tensor:
    """(F,) SKIN, EYE_LEFT, EYE_RIGHT or ELSEWHERE. No landmark lies inside the mouth, skin though it is."""
    part = {name: rig.part_of_triangle == i for i, name in enumerate(rig.part_names)}
    nowhere = torch.zeros_like(rig.part_of_triangle, dtype=torch.bool)
    mouth = painted.weights[REGIONS.index("mouth")]
    size = mouth.new_tensor([mouth.shape[1], mouth.shape[0]], dtype=rig.uv.dtype)
    u, v = rig.uv[rig.uv_triangles].mean(1).unbind(-1)
    column, row = (torch.stack([u, 1 - v], -1) * size).long().unbind(-1)
    inside = mouth[row.clamp(0, len(mouth) - 1), column.clamp(0, mouth.shape[1] - 1)] > 127
    regions = torch.full_like(rig.part_of_triangle, ELSEWHERE)
    regions[part["skin"] & ~inside] = SKIN
    regions[part.get("eye_left", nowhere)] = EYE_LEFT
    regions[part.get("eye_right", nowhere)] = EYE_RIGHT
    return regions


def _draw(rig: Rig, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Controls of a picture, and whether its mouth is open enough to show the inner lips."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    open_mouth = uniform(0, 1) < 0.4
    values = {
        "headRotationX": uniform(-0.25, 0.25),
        "headRotationY": uniform(-0.5, 0.5),
        "headRotationZ": uniform(-0.1, 0.1),
        "headTranslationY": 0.035,
        "headTranslationZ": -DISTANCE_M,
        "jawOpen": uniform(0.25, 0.6) if open_mouth else 0.0,
    }
    smile = uniform(-0.5, 0.5)
    values |= {"mouthSmileLeft": max(smile, 0), "mouthSmileRight": max(smile, 0)}
    brows = max(uniform(-0.4, 0.4), 0)
    values |= {name: brows for name in ("browInnerUp", "browInnerUpLeft", "browInnerUpRight")}
    x = rig.controls.pack({name: value for name, value in values.items() if name in rig.controls.names})
    x[rig.controls.groups["identity"]] += 0.25 * torch.randn(len(rig.identity_names), generator=generator)
    return x, open_mouth


def _look(
    rig: Rig, detector: FaceMesh, material: Material, controls: Tensor, regions: Tensor, owners: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Triangle (478,) and barycentrics (478, 3) under each landmark, or None if the picture shows no face."""
    vertices = Deformer(rig)(controls[None])
    focal, middle = torch.tensor(DISTANCE_M * SIDE_PX / EXTENT_M), torch.full((2,), SIDE_PX / 2)
    camera = Camera(focal, middle)
    region = Region(middle + 0.5, torch.tensor(float(SIDE_PX)), torch.tensor(0.0))
    for again in (True, True, False):  # as on a photo, the region follows the landmarks
        renderer = build_renderer(rig, camera, material)
        renderer.outlines = False
        seen = detector.forward_full(renderer(vertices))
        if again:
            region = Region.around(region.map_to_photo(seen.landmarks[0]))
            camera = Camera(focal, middle, region.crop_from_photo())
    if float(seen.presence) < 0.5:
        return None
    lashes = torch.tensor([name.startswith("lashes") for name in rig.part_names])
    kept = (~lashes[rig.part_of_triangle]).nonzero().squeeze(-1)  # lashes hide the lids that they grow on
    bare = replace(
        rig,
        triangles=rig.triangles[kept],
        uv_triangles=rig.uv_triangles[kept],
        part_of_triangle=rig.part_of_triangle[kept],
    )
    fragments = build_renderer(bare, camera, material, samples=SAMPLES).fragments(vertices)
    width = fragments.size[2]
    triangle = kept[fragments.triangle]
    landmarks = SAMPLES * seen.landmarks[0, :, :2]
    hit = torch.zeros(LANDMARKS, dtype=torch.long)
    for owner in owners.unique():
        own = (regions[triangle] == owner).nonzero().squeeze(-1)  # fragments
        pixel = fragments.pixel[own]
        slot = torch.full((width * width,), -1).index_put((pixel,), own)
        wanted = (owners == owner).nonzero().squeeze(-1)
        column, row = landmarks[wanted].long().clamp(0, width - 1).unbind(-1)
        hit[wanted] = slot[row * width + column]
        missed = wanted[hit[wanted] < 0]  # beside the outline, or on a tooth: the nearest sample will do
        centres = torch.stack([pixel % width, pixel // width], -1) + 0.5
        hit[missed] = own[torch.cdist(landmarks[missed], centres).argmin(-1)]
    return triangle[hit], fragments.barycentric[hit]


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Along the first axis: the smallest value up to which half of the weight lies. (N, ...) both."""
    values, order = values.sort(0)
    reached = weights.gather(0, order).cumsum(0)
    index = (reached >= reached[-1] / 2).to(torch.uint8).argmax(0, keepdim=True)
    return values.gather(0, index).squeeze(0)


def _points(surface: Tensor, triangle: Tensor, barycentric: Tensor) -> Tensor:
    """(L, 6) places of the points on both heads."""
    return (barycentric[..., None] * surface[triangle]).sum(-2)


def _nearest(surface: Tensor, regions: Tensor, places: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """The triangle of the owner's region nearest to each place (L, 6), and that point's barycentrics."""
    steps = torch.linspace(0, 1, 33)
    grid = torch.tensor([[a, b, 1 - a - b] for a in steps for b in steps if a + b <= 1 + 1e-6])  # [G, 3]
    triangles, weights = [], []
    for place, owner in zip(places, owners, strict=True):
        own = (regions == owner).nonzero().squeeze(-1)
        close = own[(surface[own].mean(1) - place).norm(dim=-1).topk(16, largest=False).indices]
        best = int((grid @ surface[close] - place).norm(dim=-1).argmin())  # of [16, G]
        triangles.append(close[best // len(grid)])
        weights.append(grid[best % len(grid)].clamp(min=0))
    return torch.stack(triangles), torch.stack(weights)


def _twins(places: Tensor) -> Tensor | None:
    """(L,) each landmark's counterpart on the other half of the face, from the places (L, 6) themselves; None
    if the halves are too different to be paired.
    """
    distance = torch.cdist(places, places * MIRROR)
    twin = torch.from_numpy(linear_sum_assignment((distance + distance.T).numpy())[1])
    paired = bool((twin[twin] == torch.arange(len(twin))).all())
    return twin if paired else None


def embedded(
    rig: Rig, detector: FaceMesh, pictures: int = 140, on_progress: Progress | None = None
) -> tuple[Rig, Embedding]:
    """The rig with its embedding; one that ChainRig paints is painted by a first look, then looked at again.

    Raises:
        ChainRigError: the detector sees no face in most of the pictures.
    """
    if rig.paint is not None:
        first = find_embedding(rig, texture_of(rig), detector, min(FIRST_LOOK, pictures), on_progress)
        rig = painted(first.of(rig))
    found = find_embedding(rig, texture_of(rig), detector, pictures, on_progress)
    return found.of(rig), found
