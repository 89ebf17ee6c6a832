"""The preprocess of training: from a picture with labels to what the network is shown. Not differentiated.

Everything is a function of a random generator, so that the n-th sample of a run is the same after a restart.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.detect.training import scenery
from pipeline.target.matches import shipped
from pipeline.target.schemes import IBUG68

Array = np.ndarray
Rng = np.random.Generator

INPUT = 128  # pixels of a side that the network sees

# Each of the 68 points is a point of the mesh's 478, or the mean of two.
PLACES = [match.points for match in shipped("ibug68", "mediapipe478") if match is not None]
_FIRST, _LAST = [places[0] for places in PLACES], [places[-1] for places in PLACES]


class Sample(NamedTuple):
    """One picture for the network.

    Attributes:
        picture: `(INPUT, INPUT, 3)` uint8 sRGB.
        points: `(68, 2)` float32, pixels of the picture.
        weights: `(68,)` float32, 0 where a point is unknown.
    """

    picture: Array
    points: Array
    weights: Array


@dataclass(frozen=True)
class Augmentation:
    """How far samples are varied; all zero is the picture as it is.

    Attributes:
        shift: largest move of the region, in its sides.
        zoom: largest change of its size, as a logarithm.
        turn: largest rotation, radians.
        cover: how often something is painted over the face, 0 to 1.
        spoil: how often each fault of cameras and files appears, 0 to 1.
        mirror: how often left and right trade places.
    """

    shift: float = 0.08
    zoom: float = 0.16
    turn: float = 0.35
    cover: float = 0.85
    spoil: float = 0.7
    mirror: float = 0.5


USUAL = Augmentation()
AS_IT_IS = Augmentation(0, 0, 0, 0, 0, 0)


def crop_matrix(rng: Rng, size: int, side: float, how: Augmentation) -> Array:
    """(2, 3): the jittered square in the middle of a picture onto INPUT pixels (corner coordinates)."""
    scale = INPUT / side * np.exp(rng.uniform(-how.zoom, how.zoom))
    turn = rng.uniform(-how.turn, how.turn) * rng.random()
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = INPUT * (0.5 + rng.uniform(-how.shift, how.shift, 2))
    return np.concatenate([linear, (middle - linear @ np.full(2, size / 2))[:, None]], 1)


def warp(picture: Array, matrix: Array, border: int = cv2.BORDER_CONSTANT) -> Array:
    """`(H, W, C)` uint8 through an affine map of corner coordinates: `(INPUT, INPUT, C)` float32."""
    centres = matrix.copy()  # OpenCV counts from pixel centres
    centres[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    return (
        cv2.warpAffine(picture, centres, (INPUT, INPUT), flags=cv2.INTER_LINEAR, borderMode=border).astype(
            np.float32
        )
        / 255
    )


def moved(matrix: Array, points: Array) -> Array:
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def of_render(rng: Rng, picture: Array, landmarks: Array, side: float, how: Augmentation) -> Sample:
    """A cut-out head `(S, S, 4)` uint8 with 478 landmarks: put somewhere, covered, and photographed."""
    matrix = crop_matrix(rng, len(picture), side, how)
    head = warp(picture, matrix)
    points = moved(matrix, landmarks)
    alpha = head[..., 3:]
    mean = head[..., :3].sum() / max(3 * alpha.sum(), 1.0)
    gain = np.exp(np.log(rng.uniform(0.3, 0.7) / max(mean, 0.02)) * rng.uniform(0.7, 1))
    seen = np.clip(head[..., :3] * gain, 0, alpha) + (1 - alpha) * scenery.background(rng, INPUT)

    def now_and_then(share: float) -> bool:
        return bool(rng.random() < share * how.cover)

    if now_and_then(0.6):
        scenery.clothes(rng, seen, points)
    if now_and_then(0.3):
        scenery.beard(rng, seen, points)
    if now_and_then(0.7):
        scenery.hair(rng, seen, points)
    if now_and_then(0.15):
        scenery.glasses(rng, seen, points)
    return spoiled(rng, seen, (points[_FIRST] + points[_LAST]) / 2, np.ones(68, np.float32), how)


def of_photo(
    rng: Rng, picture: Array, points: Array, weights: Array, side: float, how: Augmentation
) -> Sample:
    """A face cut out of a photograph, `(S, S, 3)` uint8, with 68 points and their weights (0: unknown)."""
    matrix = crop_matrix(rng, len(picture), side, how)
    return spoiled(rng, warp(picture, matrix, cv2.BORDER_REPLICATE), moved(matrix, points), weights, how)


def spoiled(rng: Rng, seen: Array, points: Array, weights: Array, how: Augmentation) -> Sample:
    """What happens to any picture: things in front, shade, colours, blur, noise, compression, mirroring."""

    def now_and_then(share: float) -> bool:
        return bool(rng.random() < share * how.spoil)

    if now_and_then(0.3):
        for _ in range(rng.integers(1, 4)):
            scenery.shape(rng, seen, rng.uniform(0.15, 0.85, 2) * INPUT, INPUT * rng.uniform(0.02, 0.12))
    if now_and_then(0.4):
        scenery.shade(rng, seen)
    if now_and_then(0.8):
        seen = _developed(rng, seen)
    if now_and_then(0.3):
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.3, 1.6))
    if now_and_then(0.15):
        size = int(rng.integers(40, 110))
        small = cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)
        seen = cv2.resize(small, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR)
    if now_and_then(0.5):
        coloured = 3 if rng.random() < 0.5 else 1
        seen = seen + rng.uniform(0, 0.07) * rng.standard_normal((INPUT, INPUT, coloured), dtype=np.float32)
    picture = (np.clip(seen, 0, 1) * 255).round().astype(np.uint8)
    if now_and_then(0.4):
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 90))])
        picture = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
    if rng.random() < how.mirror:
        order = list(IBUG68.twins)
        points = (np.array([INPUT, 0], np.float32) + points * np.array([-1, 1], np.float32))[order]
        picture, weights = np.ascontiguousarray(picture[:, ::-1]), weights[order]
    return Sample(picture, points, weights)


def _developed(rng: Rng, seen: Array) -> Array:
    """Exposure, contrast, saturation, white balance and a vignette of any camera: `(S, S, 3)` float32."""
    share = 0.0 if rng.random() < 0.12 else float(np.exp(rng.normal(0, 0.35)))
    saturation = share * np.eye(3) + (1 - share) / 3
    seen = cv2.transform(np.clip(seen, 0, 1), saturation.astype(np.float32))
    if rng.random() < 0.3:
        squares = np.square(scenery.pixels(INPUT) / INPUT - rng.uniform(0.3, 0.7, 2).astype(np.float32)).sum(
            -1
        )
        seen = seen * (1 - rng.uniform(0, 0.8) * squares)[..., None]
    middle = float(seen.mean())
    tones = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.12, 3))
    tones = middle + (tones - middle) * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 0.06)
    table = (np.clip(tones, 0, 1)[None] * 255).round().astype(np.uint8)
    return cv2.LUT((np.clip(seen, 0, 1) * 255).astype(np.uint8), table).astype(np.float32) / 255
