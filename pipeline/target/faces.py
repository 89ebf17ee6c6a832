"""The faces of a photo: finding them, and settling the region in which the detector reads one."""

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.detect.blazeface import INPUT_SIZE, BlazeFace, merge, same_face
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import MARGIN, Region

SURE = 0.9  # BlazeFace's score above which FaceMesh is not asked, too
MIN_PRESENCE = 0.5  # below it, FaceMesh sees no face in what BlazeFace took for one
NO_DOUBT = 0.99  # FaceMesh's presence; a face on its side can be taken for an upright one with less
ZOOMS = (1.0, 2.0, 4.0, 8.0)  # of the views
SMALLEST_VIEW = 300  # pixels: faces that only a smaller view shows are too small to read
AT_ONCE = 16  # views, for speed: more leave the processor's cache
HUGE = 25_000_000  # pixels: of larger photos, faces are looked for in a smaller copy
STRIP = 512  # rows of a huge photo that are averaged at once
STILL = 2e-3  # of the region's side (and radians): smaller changes of the region don't matter


@dataclass(frozen=True)
class Face:
    """A face found in a photo, coordinates in pixels of the photo.

    Attributes:
        box: (4,) left, top, right, bottom, from the brows to the chin.
        score: probability of a face.
        keypoints: (6, 2) the subject's right eye, left eye, nose tip, mouth centre, right ear, left ear.
    """

    box: Tensor
    score: float
    keypoints: Tensor

    @property
    def area(self) -> float:
        """Of the box, px²."""
        return float((self.box[2:] - self.box[:2]).prod())

    def region(self) -> Region:
        """MediaPipe's first guess of the landmarks' region: 1.5 × the long side, upright along the eyes."""
        centre = (self.box[:2] + self.box[2:]) / 2
        across = self.keypoints[1] - self.keypoints[0]
        rotation = torch.atan2(across[1], across[0])
        return Region(centre, MARGIN * (self.box[2:] - self.box[:2]).amax(), rotation)


class Settled(NamedTuple):
    """A face that the detector has read.

    Attributes:
        region: the region that the landmarks themselves ask for.
        landmarks: (478, 3) x, y in pixels of the photo, z in the same scale.
        presence: probability that there is a face.
    """

    region: Region
    landmarks: Tensor
    presence: float


@cache
def _networks() -> tuple[BlazeFace, FaceMesh]:
    return BlazeFace.load(), FaceMesh.load()


@torch.no_grad()
def find_doubtful_face(photo: Tensor) -> tuple[Face, float] | None:
    """What BlazeFace takes for a face and FaceMesh does not, upright and largest first, with its presence.

    Args:
        photo: (H, W, 3) sRGB, uint8 or float in [0, 1].
    """
    small, shrunk = _smaller(photo)
    seen = [face for zoom in ZOOMS[:2] for face in _look(small, zoom)]
    if not seen:
        return None
    best = max(seen, key=lambda face: face.score)
    return _scaled(best, shrunk), _presence(small, best)


@torch.no_grad()
def find_faces(photo: Tensor) -> list[Face]:
    """The faces of a photo, left to right; an empty list if there is none.

    BlazeFace sees upright faces wider than about a sixth of its view. It is shown the whole photo and, for
    smaller faces, overlapping views of half the size. While nothing is found: the photo in a black frame (for
    a face that fills it), then views of a quarter and an eighth of the size. If there still is nothing, or
    nothing beyond doubt, all of it again with the photo on its side and upside down.

    Args:
        photo: (H, W, 3) sRGB, uint8 or float in [0, 1].

    Raises:
        ValueError: the photo has another shape.
    """
    if photo.ndim != 3 or photo.shape[-1] != 3:
        raise ValueError(f"A photo is (H, W, 3), got {tuple(photo.shape)}.")
    small, shrunk = _smaller(photo)
    faces, doubtful = _upright_faces(small, SURE)
    for quarters in (1, 3, 2):  # a photo is rather on its side than upside down
        if not doubtful:
            break
        turned = small.rot90(quarters)
        there, doubtful = _upright_faces(turned, sure=1.0)
        if not doubtful:
            faces = _distinct([_turned_back(face, turned, quarters) for face in there] + faces)
    faces = [_scaled(face, shrunk) for face in faces]
    return sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))


def _upright_faces(photo: Tensor, sure: float) -> tuple[list[Face], bool]:
    """The faces of a photo (H, W, 3) in [0, 1], the surest first, and whether all are in doubt.

    Those of a score above `sure` are not; about others, FaceMesh is asked.
    """
    zooms = [zoom for zoom in ZOOMS if zoom == 1 or max(photo.shape[:2]) >= zoom * SMALLEST_VIEW]
    for attempt in (zooms[:2], [2 / 3], *([zoom] for zoom in zooms[2:])):
        seen = [face for zoom in attempt for face in _look(photo, zoom)]
        seen = _distinct(sorted(seen, key=lambda face: -face.score))
        presence = [1.0 if face.score > sure else _presence(photo, face) for face in seen]
        faces = [face for face, there in zip(seen, presence, strict=True) if there >= MIN_PRESENCE]
        if faces:
            return faces, max(presence) < NO_DOUBT
    return [], True


def _smaller(photo: Tensor) -> tuple[Tensor, int]:
    """The photo as floats in [0, 1], a huge one averaged over k × k pixels; and k."""
    if photo.shape[0] * photo.shape[1] <= HUGE:
        return _floats(photo), 1
    k = math.ceil(math.sqrt(photo.shape[0] * photo.shape[1] / HUGE))
    strips = [_floats(strip).permute(2, 0, 1) for strip in photo.split(STRIP * k)]
    averaged = [F.avg_pool2d(strip, k, ceil_mode=True).permute(1, 2, 0) for strip in strips]
    return torch.cat(averaged), k


def _floats(photo: Tensor) -> Tensor:
    return photo / 255 if photo.dtype == torch.uint8 else photo.float()


def _scaled(face: Face, factor: int) -> Face:
    return face if factor == 1 else Face(face.box * factor, face.score, face.keypoints * factor)


def _turned_back(face: Face, turned: Tensor, quarters: int) -> Face:
    """A face in a photo that was turned by quarters, counter-clockwise, in the photo as it was."""
    if quarters == 0:
        return face
    height, width = turned.shape[:2]
    points = torch.cat([face.box.view(2, 2), face.keypoints])
    for _ in range(quarters):
        points = torch.stack([height - points[:, 1], points[:, 0]], -1)
        height, width = width, height
    box = torch.cat([points[:2].amin(0), points[:2].amax(0)])
    return Face(box, face.score, points[2:])


def _look(photo: Tensor, zoom: float) -> list[Face]:
    """Faces in views of (longest side / zoom) pixels, half a view apart. One face may be found in several."""
    height, width = photo.shape[:2]
    scale = zoom * INPUT_SIZE / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    image = F.interpolate(photo.permute(2, 0, 1)[None], (rows, columns), mode="bilinear", antialias=True)[0]
    missing_y, missing_x = max(0, INPUT_SIZE - rows), max(0, INPUT_SIZE - columns)
    top, left = missing_y // 2, missing_x // 2
    image = F.pad(image, (left, missing_x - left, top, missing_y - top))  # [3, ≥128, ≥128]

    corners = [(x, y) for y in _starts(image.shape[1]) for x in _starts(image.shape[2])]
    views = torch.stack([image[:, y : y + INPUT_SIZE, x : x + INPUT_SIZE] for x, y in corners])
    stretch = torch.tensor([width / columns, height / rows])  # pixels of the photo for one of the view
    finder, _ = _networks()
    min_score = 0.5 if zoom == 1 else 0.7  # many views: many chances to be wrong
    batches = views.permute(0, 2, 3, 1).split(AT_ONCE)
    found = [boxes for batch in batches for boxes in finder.detect(batch, min_score)]
    faces = []
    for (x, y), boxes in zip(corners, found, strict=True):
        if len(corners) > 1:  # a face that the view cuts through is whole in a neighbour's
            boxes = boxes.pick(((boxes.box > 0) & (boxes.box < 1)).all(-1))
        corner = torch.tensor([x - left, y - top])
        for box, keypoints, score in zip(*merge(boxes), strict=True):
            faces.append(
                Face(
                    box=((box.reshape(2, 2) * INPUT_SIZE + corner) * stretch).reshape(4),
                    score=float(score),
                    keypoints=(keypoints * INPUT_SIZE + corner) * stretch,
                )
            )
    return faces


def _starts(length: int) -> list[int]:
    """Where views of 128 pixels begin so that they cover `length`, at most half a view apart."""
    steps = math.ceil((length - INPUT_SIZE) / (INPUT_SIZE / 2))
    return [round(step * (length - INPUT_SIZE) / max(1, steps)) for step in range(steps + 1)]


def _presence(photo: Tensor, face: Face) -> float:
    """FaceMesh's probability that there is a face: soon, and in the region that it asks for itself."""
    _, mesh = _networks()
    soon = settle(photo, face, mesh, rounds=3).presence
    return soon if soon < MIN_PRESENCE else min(soon, settle(photo, face, mesh).presence)


def _distinct(faces: list[Face]) -> list[Face]:
    """The first of every group of boxes that show the same face."""
    kept: list[Face] = []
    for face in faces:
        if not kept or not bool(same_face(face.box, torch.stack([one.box for one in kept])).any()):
            kept.append(face)
    return kept


@torch.no_grad()
def settle(photo: Tensor, face: Face, detector: FaceMesh, rounds: int = 10) -> Settled:
    """Read the landmarks of a face in the region that they themselves ask for.

    Starts from the face's box and repeats landmarks → region → landmarks until the region stands still.
    MediaPipe's image mode stops after the first reading, in a region that depends on the box.

    Args:
        photo: (H, W, 3) sRGB, uint8 or float in [0, 1].
        rounds: largest number of regions tried after the first.
    """
    weight = detector.landmark_head.weight
    photo = photo.to(weight.device)
    if photo.is_floating_point():
        photo = photo.to(weight.dtype)
    region = face.region().to(weight.dtype, weight.device)
    for attempt in range(rounds + 1):
        found = detector.forward_full(region.crop(photo))
        landmarks = region.map_to_photo(found.landmarks)
        asked = Region.around(landmarks)
        if attempt == rounds or _change(region, asked) < STILL:
            break
        region = asked
    return Settled(region, landmarks, float(found.presence))


def _change(one: Region, other: Region) -> float:
    """The largest of the shift and growth, in sides, and the turn in radians."""
    shift = (one.centre - other.centre).norm() / one.side
    growth = (one.side - other.side).abs() / one.side
    turn = (one.rotation - other.rotation).abs()
    return float(torch.stack([shift, growth, torch.minimum(turn, 2 * math.pi - turn)]).max())
