"""What a fit aims at: the points of one face of a photo, read by a detector or placed by hand."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.region import Region
from pipeline.target.comparison import Comparison, own_points
from pipeline.target.faces import Face, Settled, settle
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo
from pipeline.target.reading import TRUST, Reading, read_through
from pipeline.target.schemes import MEDIAPIPE478, Agreement, scheme


@dataclass(frozen=True)
class Target:
    """The points of a face, and how those of the chain are compared with them. In pixels of the photo.

    Attributes:
        mesh: FaceMesh's reading of the face: where it is, how it is turned, whether there is one.
        region: the square that the chain's detector sees.
        landmarks: `(L, 2 or 3)` what that detector says of the photo.
        comparison: the M points that count, among the L.
        points: `(M, 2)` float64, the photo's.
        iod: the distance between the outer eye corners.
        reading: of the labels, where a person has placed the points.
    """

    mesh: Settled
    region: Region
    landmarks: Tensor
    comparison: Comparison
    points: Tensor
    iod: float
    reading: Reading | None = None

    @property
    def in_view(self) -> Tensor:
        """The M points in pixels of the view, `(M, 2)` float64."""
        return self.region.map_to_crop(self.points.to(self.region.side)).double()

    @property
    def iod_in_view(self) -> float:
        return self.iod * self.region.size / float(self.region.side)


def detected(photo: Photo, face: Face, mesh: FaceMesh, detector: LandmarkDetector) -> Target:
    """The face as FaceMesh and the detector see it; the detector's landmarks are the target.

    Args:
        mesh: may be `detector`.
    """
    settled = settle(photo.pixels, face, mesh)
    return seen_by(detector, settled, _read(photo, face, settled, detector))


def seen_by(detector: LandmarkDetector, mesh: Settled, read: tuple[Region, Tensor]) -> Target:
    """The target of landmarks `(L, 2 or 3)` that a detector has read in a region."""
    region, landmarks = read
    right, left = scheme(detector.scheme).outer_eyes or (0, 0)
    comparison = own_points(detector.scheme)
    return Target(
        mesh=mesh,
        region=region,
        landmarks=landmarks,
        comparison=comparison,
        points=comparison.detected(landmarks.double()),
        iod=float((landmarks[left, :2] - landmarks[right, :2]).norm()),
    )


def labelled(
    target: Target, labels: Labels, detector: LandmarkDetector, trust: Mapping[Agreement, float] = TRUST
) -> Target:
    """The same face with labels in place of what the detector says of the photo.

    Raises:
        ChainRigError: too few labels can be used, or they are not on this face.
    """
    reading = read_through(labels, detector.scheme, trust=trust)
    reading.require_face(target.mesh.landmarks)
    eyes = scheme(MEDIAPIPE478.name).outer_eyes
    assert eyes is not None
    apart = (target.mesh.landmarks[eyes[0], :2] - target.mesh.landmarks[eyes[1], :2]).norm()
    return Target(
        mesh=target.mesh,
        region=target.region,
        landmarks=target.landmarks,
        comparison=reading.comparison,
        points=reading.points,
        iod=labels.outer_eye_distance or float(apart),
        reading=reading,
    )


@torch.no_grad()
def _read(photo: Photo, face: Face, mesh: Settled, detector: LandmarkDetector) -> tuple[Region, Tensor]:
    if isinstance(detector, FaceMesh):
        return mesh.region, mesh.landmarks
    region = detector.region(face.box, mesh.region)
    return region, region.map_to_photo(detector(region.crop(photo.pixels)))
