"""Rendering scenes and asking the detector, as a fit does: straight into the region that it wants to see."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import LandmarkEmbedding
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.render.camera import Camera
from pipeline.render.head_texture import REGIONS, HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.target.faces import find_faces
from pipeline.target.reading import converted
from pipeline.target.schemes import MEDIAPIPE478, SCHEMES, scheme

FOCAL_PX = 2000.0
SAMPLES = 2  # of a pixel, on each axis: what a fit renders with
COARSE = 1  # the same while the region is looked for: a third of the time
ROUNDS = 2  # of landmarks → region
AROUND = 2.0  # sides of the region that the face finder is shown


class Sight(NamedTuple):
    """What was seen of B renders; `(B, L, 2)` in the order of the detector's scheme.

    Attributes:
        errors: `(B, L, 2)` detected − embedded in % IOD, x to the right of the picture, y down, upright along
            the embedded eyes. NaN where the rig has no such point, or nothing was found.
        presence: `(B,)` FaceMesh's probability of a face.
        embedded: `(B, L, 2)` in pixels of the view that the detector saw.
    """

    errors: Tensor
    presence: Tensor
    embedded: Tensor


@dataclass(frozen=True)
class Observer:
    """A rig, and a detector that looks at it.

    Attributes:
        rig: with a landmark embedding of a shipped scheme.
        detector: it is asked.
        texture: of the rig.
    """

    rig: Rig
    detector: LandmarkDetector
    texture: HeadTexture

    @cached_property
    def scheme(self) -> str:
        """Name of the scheme of the rig's own landmarks."""
        return rig_scheme(self.rig)

    @cached_property
    def deform(self) -> Deformer:
        return Deformer(self.rig)

    @cached_property
    def mesh(self) -> FaceMesh:
        """It settles the region, whoever the detector is, and says whether there is a face."""
        return self.detector if isinstance(self.detector, FaceMesh) else FaceMesh.load()

    @property
    def mesh_shows_all(self) -> bool:
        """Whether the detector wants to see what FaceMesh does: then nobody needs the face finder's box."""
        return type(self.detector).region is LandmarkDetector.region

    @cached_property
    def _embedding(self) -> LandmarkEmbedding:
        assert self.rig.landmark_triangle is not None and self.rig.landmark_barycentric is not None
        corners = self.rig.triangles[self.rig.landmark_triangle]
        return LandmarkEmbedding(corners, self.rig.landmark_barycentric, camera())

    def material(self, colours: Tensor) -> Material:
        """The rig in colours `(M, 3)`."""
        named: dict[str, list[float]] = dict(zip(REGIONS, colours.tolist(), strict=True))
        return Material(HeadTexture(self.texture.weights, self.texture.detail, named)())

    def renderer(self, material: Material, light: Light, region: Region, samples: int = SAMPLES) -> Renderer:
        """Into the view of a region `(*B)`."""
        return build_renderer(self.rig, camera(region), material, light, samples=samples)

    def region(self, vertices: Tensor, material: Material, light: Light) -> Region:
        """The detector's own region `(B)`; NaN where it needs the face finder's box and there is none."""
        mesh = self.settle(vertices, material, light)
        return mesh if self.mesh_shows_all else self._own_region(vertices, material, light, mesh)

    def settle(self, vertices: Tensor, material: Material, light: Light) -> Region:
        """The region `(B)` of the photo that FaceMesh asks for, of heads `(B, V, 3)`."""
        region = first_region(self._embedding(vertices)[..., :2], self.scheme)
        for _ in range(ROUNDS):
            seen = self.mesh(self.renderer(material, light, region, COARSE)(vertices))
            region = Region.around(region.map_to_photo(seen))
        return region

    @torch.no_grad()
    def presence(self, controls: Tensor, material: Material, light: Light) -> Tensor:
        """`(B,)` FaceMesh's probability that controls `(B, K)` show a face."""
        vertices = self.deform(controls)
        region = self.settle(vertices, material, light)
        return self.mesh.presence(self.renderer(material, light, region)(vertices))

    def places(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Where the detector's landmarks lie on heads `(B, V, 3)`: `(B, L, 2)` pixels of the photo, and the
        vectors `(B, 2)` from the right to the left outer eye corner."""
        embedded = self._embedding(vertices)[..., :2]
        right, left = (embedded[:, i] for i in _outer_eyes(self.scheme))
        return converted(embedded, self.scheme, self.detector.scheme), left - right

    @torch.no_grad()
    def look(self, controls: Tensor, material: Material, light: Light) -> Sight:
        """Renders B heads and compares what is detected with what is embedded.

        Args:
            controls: `(B, K)`.
            light: one for all, or of the batch `(B)`.
        """
        vertices = self.deform(controls)
        places, eyes = self.places(vertices)
        region = self.settle(vertices, material, light)
        pictures = self.renderer(material, light, region)(vertices)
        seen = self.mesh.forward_full(pictures)
        landmarks = seen.landmarks
        if not self.mesh_shows_all:
            region = self._own_region(vertices, material, light, region)
            pictures = self.renderer(material, light, region)(vertices)
        if self.detector is not self.mesh:
            landmarks = self.detector(pictures)
        difference = region.map_to_photo(landmarks[..., :2]) - places
        return Sight(upright(difference, eyes), seen.presence, region.map_to_crop(places))

    def _own_region(self, vertices: Tensor, material: Material, light: Light, mesh: Region) -> Region:
        """The detector's `(B)`; NaN where it needs the face finder's box, and that finds no face."""
        wide = Region(mesh.centre, AROUND * mesh.side, torch.zeros_like(mesh.side), 2 * mesh.size)
        regions = []
        for i, picture in enumerate(self.renderer(material, light, wide)(vertices)):
            view = Region(wide.centre[i], wide.side[i], wide.rotation[i], wide.size)
            faces = find_faces(picture.clamp(0, 1))
            box = torch.full((4,), torch.nan)
            if faces:
                largest = max(faces, key=lambda face: face.area)
                box = view.map_to_photo(largest.box.view(2, 2)).flatten()
            own = Region(mesh.centre[i], mesh.side[i], mesh.rotation[i], mesh.size)
            regions.append(self.detector.region(box, own))
        return Region(
            torch.stack([one.centre for one in regions]),
            torch.stack([one.side for one in regions]),
            torch.stack([one.rotation for one in regions]),
            regions[0].size,
        )


def stacked(lights: Sequence[Light]) -> Light:
    """One light for each picture of a batch."""
    parts = ("ambient", "directional", "direction", "harmonics")
    return Light(*(torch.stack([getattr(light, part) for light in lights]) for part in parts))


def camera(region: Region | None = None) -> Camera:
    """That of all scenes, into the view of a region; of the photo if there is none."""
    lens = torch.tensor(FOCAL_PX), torch.zeros(2)
    if region is None:
        return Camera(*lens)
    return Camera(*lens, region.crop_from_photo(), (region.size, region.size))


def first_region(points: Tensor, of: str) -> Region:
    """FaceMesh's region for the embedded points `(B, R, 2)` of a scheme, the missing ones in their midst."""
    mesh = converted(points, of, MEDIAPIPE478.name)
    missing = mesh.isnan()
    return Region.around(torch.where(missing, mesh.nanmean(-2, keepdim=True), mesh))


def upright(difference: Tensor, eyes: Tensor) -> Tensor:
    """Differences `(B, L, 2)` in % of the length of `eyes` `(B, 2)`, turned so that these point along +x."""
    x, y = (eyes / eyes.square().sum(-1, keepdim=True) * 100).unsqueeze(-2).unbind(-1)  # [B, 1]
    along, across = difference.unbind(-1)
    return torch.stack([along * x + across * y, across * x - along * y], -1)


def rig_scheme(rig: Rig) -> str:
    """Name of the shipped scheme that has as many points as the rig has landmarks.

    Raises:
        ChainRigError: there is none.
    """
    count = 0 if rig.landmark_triangle is None else len(rig.landmark_triangle)
    for name, one in SCHEMES.items():
        if len(one) == count:
            return name
    raise ChainRigError(
        f"The rig has {count} landmarks, and no scheme has as many: build its landmark embedding with "
        "scripts/build_embedding.py."
    )


def _outer_eyes(name: str) -> tuple[int, int]:
    eyes = scheme(name).outer_eyes
    assert eyes is not None, "every shipped scheme has them"
    return eyes
