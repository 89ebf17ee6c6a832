"""Hand labels of one face, whatever file they came from: points in pixels of the photo, weights, a scheme."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.target.scheme_file import find_scheme
from pipeline.target.schemes import MEDIAPIPE478, SCHEMES, Scheme

# Where a file's (0, 0) is: the corner of the photo's top-left pixel, or its centre; one: that is (1, 1).
Origin = Literal["corner", "centre", "one"]
SHIFT: dict[str, float] = {"corner": 0.0, "centre": 0.5, "one": -0.5}
BEYOND = 0.5  # of the photo's longer side: how far outside of it a cut-off chin may be labelled
WITHOUT_IRISES = 468
HEAVIEST = 1e6  # weight of a label


@dataclass(frozen=True)
class Labels:
    """N points of one face.

    Attributes:
        points: `(N, 2)` float64 x, y in pixels of the photo, (0, 0) its top-left corner; NaN where not
            labelled.
        weights: `(N,)` float64, 0 where not labelled; 1 is a label as good as any.
        scheme: names and order of the N points.
        path: the file.
        image: the photo's file name, if the file tells it.
        image_size: (width, height) of the photo that was labelled, if the file tells it.
    """

    points: Tensor
    weights: Tensor
    scheme: Scheme
    path: Path
    image: str | None = None
    image_size: tuple[int, int] | None = None

    @property
    def labelled(self) -> Tensor:
        """`(N,)` bool."""
        return self.weights > 0

    @property
    def outer_eye_distance(self) -> float | None:
        """In pixels; None where not both outer eye corners are labelled."""
        eyes = self.scheme.outer_eyes
        if eyes is None or not bool(self.labelled[list(eyes)].all()):
            return None
        return float((self.points[eyes[0]] - self.points[eyes[1]]).norm())

    def face_among(self, boxes: Tensor) -> int:
        """Which of the faces in a photo is labelled.

        Args:
            boxes: `(F, 4)` left, top, right, bottom of the faces, in pixels of the photo.

        Raises:
            ChainRigError: the labels lie on none of them.
        """
        middle = self.points[self.labelled].median(0).values.to(boxes)
        inside = ((boxes[:, :2] < middle) & (middle < boxes[:, 2:])).all(-1)
        if not bool(inside.any()):
            x, y = middle.tolist()
            raise ChainRigError(
                f"{self.path} has its labels around ({x:.0f}, {y:.0f}), where no face was found in this "
                "photo: give the photo that was labelled, or correct their origin and size."
            )
        distance = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).norm(dim=-1)
        return int(distance.masked_fill(~inside, torch.inf).argmin())

    def require_image(self, width: int, height: int) -> None:
        """Sees that the labels can be a photo's of this size, in pixels.

        Raises:
            ChainRigError: the file tells another size, or points lie far outside of the photo.
        """
        if self.image_size == (height, width) and width != height:
            raise ChainRigError(
                f"{self.path} labels a photo of {height} × {width} pixels, but upright this one has "
                f"{width} × {height}: label it the way its EXIF turns it."
            )
        if self.image_size not in (None, (width, height)):
            there, tall = self.image_size
            raise ChainRigError(
                f"{self.path} labels a photo of {there} × {tall} pixels, but this one has {width} × "
                f"{height}: give the photo that was labelled."
            )
        points = self.points[self.labelled]
        far = BEYOND * max(width, height)
        outside = (points < -far) | (points > points.new_tensor([width + far, height + far]))
        middle = points.median(0).values
        if bool(outside.any()) or not (0 <= float(middle[0]) <= width and 0 <= float(middle[1]) <= height):
            x, y = points[outside.any(-1)][0].tolist() if bool(outside.any()) else middle.tolist()
            raise ChainRigError(
                f"{self.path} has labels around ({x:.0f}, {y:.0f}), outside of this photo of {width} × "
                f"{height} pixels: they belong to another photo, or to another size of it."
            )


class Mark(NamedTuple):
    """One point as a file gives it: x, y may be NaN where the weight is 0; None for a weight is 1."""

    x: float
    y: float
    weight: float = 1.0


NOT_LABELLED = Mark(math.nan, math.nan, 0.0)


@dataclass(frozen=True)
class Marks:
    """One face as a file gives it, before its points have been given meaning.

    Attributes:
        marks: points by their name or number, or a list in the scheme's order.
        origin: where the format, or the file, counts from.
        scheme: name or path of a scheme, if the file tells it.
        image, image_size: as in `Labels`.
    """

    marks: dict[str, Mark] | list[Mark]
    origin: str | None
    scheme: str | None = None
    image: str | None = None
    image_size: tuple[int, int] | None = None


def of_marks(path: Path, face: Marks, scheme: str | None, origin: str | None) -> Labels:
    """Gives the points of a file their meaning.

    Args:
        scheme: name or path of the scheme, where the file does not tell it.
        origin: what the file counts from, over what its format usually does.

    Raises:
        ChainRigError: the scheme or the origin is unknown or missing, the number of points is not the
            scheme's, a point does not exist in it or is given twice, or a number makes no sense.
    """
    chosen = _scheme(path, face, scheme)
    count = len(chosen)
    points = torch.full((count, 2), torch.nan, dtype=torch.float64)
    weights = torch.zeros(count, dtype=torch.float64)
    if isinstance(face.marks, list):
        _require_count(path, len(face.marks), chosen)
        placed = list(enumerate(face.marks))
    else:
        placed = _by_name(path, face.marks, chosen)
    for i, mark in placed:
        name = f"point {i} ({chosen.names[i]})"
        if not 0 <= mark.weight <= HEAVIEST:  # also false for NaN
            raise ChainRigError(f"The weight of {name} in {path} is {mark.weight:g}: give 0 to {HEAVIEST:g}.")
        if mark.weight == 0:
            continue
        if not (abs(mark.x) < 1e6 and abs(mark.y) < 1e6):  # also false for NaN
            raise ChainRigError(
                f"{name.capitalize()} in {path} lies at ({mark.x:g}, {mark.y:g}): place it, or give it the "
                "weight 0."
            )
        points[i] = torch.tensor([mark.x, mark.y], dtype=torch.float64)
        weights[i] = mark.weight
    if not bool((weights > 0).any()):
        raise ChainRigError(f"{path} labels no point at all: place some, with a weight above 0.")
    points += SHIFT[_origin(path, origin or face.origin)]
    return Labels(points, weights, chosen, path, face.image, face.image_size)


def _scheme(path: Path, face: Marks, asked: str | None) -> Scheme:
    wanted = None if asked is None else find_scheme(asked)
    if face.scheme is not None and (wanted is None or wanted.name != face.scheme):
        try:
            own = find_scheme(face.scheme, path.parent)
        except ChainRigError as unknown:
            raise ChainRigError(f"{path} names a scheme that cannot be had: {unknown}") from None
        if wanted not in (None, own):
            raise ChainRigError(
                f"{path} says that its scheme is {own.name}, not {asked}: give one of the two up."
            )
        return own
    if wanted is not None:
        return wanted
    count = len(face.marks)
    if isinstance(face.marks, dict):
        raise ChainRigError(
            f"{path} does not say which points it has: name its scheme, {' or '.join(SCHEMES)}, or a scheme "
            "file."
        )
    if count == WITHOUT_IRISES:
        return MEDIAPIPE478
    for scheme in SCHEMES.values():
        if len(scheme) == count:
            return scheme
    known = ", ".join(f"{len(scheme)} ({name})" for name, scheme in SCHEMES.items())
    raise ChainRigError(
        f"{path} has {count} points, which is no scheme that is known: those have {known}; for points of "
        "your own write a scheme file (docs/landmarks.md)."
    )


def _require_count(path: Path, count: int, scheme: Scheme) -> None:
    if count != len(scheme) and not (scheme is MEDIAPIPE478 and count == WITHOUT_IRISES):
        raise ChainRigError(
            f"{path} has {count} points where {scheme.name} has {len(scheme)}: for some of them, give names "
            "or numbers in JSON or CSV."
        )


def _by_name(path: Path, marks: dict[str, Mark], scheme: Scheme) -> list[tuple[int, Mark]]:
    placed: dict[int, Mark] = {}
    for name, mark in marks.items():
        try:
            i = scheme.index(name.strip())
        except ChainRigError as unknown:
            raise ChainRigError(f"{path}: {unknown}") from None
        if i in placed:
            raise ChainRigError(f"{path} gives point {i} ({scheme.names[i]}) twice: keep one of them.")
        placed[i] = mark
    return sorted(placed.items())


def _origin(path: Path, origin: str | None) -> str:
    if origin is None:
        raise ChainRigError(
            f"{path} does not say where (0, 0) is: at the 'corner' of the top-left pixel, or at its 'centre'."
        )
    if origin not in SHIFT:
        raise ChainRigError(f"The origin of {path} is '{origin}': give {', '.join(get_args(Origin))}.")
    return origin
