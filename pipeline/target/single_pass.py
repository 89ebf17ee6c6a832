"""One pass over a photo, as MediaPipe's image mode makes it: the reference for what `faces` does better.

MediaPipe looks at the whole photo once, four samples a pixel however small the photo becomes, and reads each
face in the region of its box. `find_faces` averages, and looks again where faces are small, large or turned;
`settle` reads again until the region no longer depends on the box.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.detect.blazeface import INPUT_SIZE, BlazeFace, merge
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.target.faces import Face


class Reading(NamedTuple):
    """A face as one pass reads it.

    Attributes:
        face: box, keypoints and score of the face finder.
        region: MediaPipe's region for that box, in which the landmarks are read.
        landmarks: (478, 3) x, y in pixels of the photo, z in the same scale.
        presence: probability that there is a face.
    """

    face: Face
    region: Region
    landmarks: Tensor
    presence: float


@torch.no_grad()
def single_pass(photo: Tensor, finder: BlazeFace, detector: FaceMesh) -> list[Reading]:
    """The faces of a photo, the surest first, whatever their presence.

    Args:
        photo: (H, W, 3) uint8 sRGB.
    """
    readings = []
    for face in _look(photo, finder):
        region = face.region()
        found = detector.forward_full(_crop(region, photo))
        readings.append(Reading(face, region, region.map_to_photo(found.landmarks), float(found.presence)))
    return readings


def _look(photo: Tensor, finder: BlazeFace) -> list[Face]:
    """The faces in a photo that is shown whole, in a black square."""
    height, width = photo.shape[:2]
    frame = 1  # pixel: a crop goes on with the last pixels, which are to be black
    middle = torch.tensor([width, height]) / 2 + frame + 0.5  # counted as the crop's pixels are
    square = Region(middle, torch.tensor(float(max(height, width))), torch.tensor(0.0), INPUT_SIZE)
    framed = F.pad(photo, (0, 0, frame, frame, frame, frame))
    boxes = merge(finder.detect(_crop(square, framed)[None])[0])

    def to_photo(points: Tensor) -> Tensor:  # (N, K, 2) of the network, which counts from pixel centres
        return square.map_to_photo(points.flatten(0, 1) * INPUT_SIZE + 0.5).view_as(points) - frame

    corners, keypoints = to_photo(boxes.box.view(-1, 2, 2)).flatten(1), to_photo(boxes.keypoints)
    return [Face(*values) for values in zip(corners, boxes.score.tolist(), keypoints, strict=True)]


def _crop(region: Region, photo: Tensor) -> Tensor:
    """(size, size, 3) float32 in [0, 1], in the 256 steps that OpenCV rounds to, halves up."""
    exact = region.to(torch.float64).crop(photo.double(), averaged=False)
    return ((exact + 0.5).floor() / 255).float()
