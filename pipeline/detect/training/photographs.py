"""Photographs with hand labels: each face cut out once, upright, and then varied as renders are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.detect.region import Region
from pipeline.detect.training.augmentation import PLACES, USUAL, Augmentation, Sample, of_photo
from pipeline.detect.training.network import POINTS
from pipeline.detect.training.synthesis import AROUND, SIZE
from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import Labels
from pipeline.target.labels.read import read_all_labels
from pipeline.target.matches import matches, shipped
from pipeline.target.photo import read_photo
from pipeline.target.schemes import IBUG68, SCHEMES

LABEL_SUFFIXES = (".pts", ".json", ".ljson", ".csv")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FEWEST = 3  # labelled points, to know where a face is and how large


class Labelled(NamedTuple):
    """A photo with iBUG's 68 points.

    Attributes:
        photo: `(H, W, 3)` sRGB, uint8.
        points: `(68, 2)` pixels of the photo, from its corner.
        weights: `(68,)`, 0 where a point is not labelled.
    """

    photo: Tensor
    points: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Photographs:
    """A source of samples.

    Attributes:
        pictures: `(N, SIZE, SIZE, 3)` uint8: the detector's region and somewhat more.
        points: `(N, 68, 2)` float32 pixels of the pictures.
        weights: `(N, 68)` float32.
    """

    pictures: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    how: Augmentation = USUAL

    @classmethod
    def of(cls, faces: Iterable[Labelled], how: Augmentation = USUAL) -> "Photographs":
        """Cuts the faces out.

        Raises:
            ChainRigError: a face has too few labels, or there is none.
        """
        pictures, points, weights = [], [], []
        for photo, where, weight in faces:
            region = face_region(where.float(), weight.float())
            wide = Region(region.centre, AROUND * region.side, region.rotation, SIZE)
            pictures.append((wide.crop(photo.float()).clamp(0, 255)).round().to(torch.uint8).numpy())
            points.append(wide.map_to_crop(where.nan_to_num().float()).numpy())
            weights.append(weight.float().numpy())
        if not pictures:
            raise ChainRigError(
                "There are no labelled photos to train on: put label files beside the photos."
            )
        return cls(np.stack(pictures), np.stack(points), np.stack(weights), how)

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        return of_photo(
            rng, self.pictures[index], self.points[index], self.weights[index], SIZE / AROUND, self.how
        )

    def picked(self, indices: Sequence[int], how: Augmentation) -> "Photographs":
        """Some of them, varied in another way."""
        which = list(indices)
        return Photographs(self.pictures[which], self.points[which], self.weights[which], how)


def read_folder(folder: Path) -> Iterable[Labelled]:
    """The faces of a folder of photos and label files, in any of the formats that `read_labels` reads.

    Raises:
        ChainRigError: the folder is missing or has no label files, one of them cannot be read, names points
            that are none of iBUG's 68, or is of a photo that is not there or of another size.
    """
    if not folder.is_dir():
        raise ChainRigError(f"There is no folder {folder} of labelled photos: check the path.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in LABEL_SUFFIXES)
    if not files:
        raise ChainRigError(
            f"{folder} has no label files ({', '.join(LABEL_SUFFIXES)}): see docs/landmarks.md."
        )
    for path in files:
        for labels in read_all_labels(path):
            photo = read_photo(_photo_of(labels))
            labels.require_image(photo.width, photo.height)
            yield Labelled(photo.pixels, *as_ibug68(labels))


def as_ibug68(labels: Labels) -> tuple[Tensor, Tensor]:
    """iBUG's `(68, 2)` points and `(68,)` weights of labels of any scheme.

    Raises:
        ChainRigError: none of the 68 is labelled.
    """
    points, weights = torch.full((POINTS, 2), torch.nan), torch.zeros(POINTS)
    for i, places in _places(labels):
        if bool(labels.labelled[list(places)].all()):
            points[i] = labels.points[list(places)].mean(0).float()
            weights[i] = labels.weights[list(places)].min().float()
    if not bool((weights > 0).any()):
        raise ChainRigError(f"{labels.path} labels none of iBUG's 68 points, which is what is trained.")
    return points, weights


def face_region(points: Tensor, weights: Tensor) -> Region:
    """The region that the detector would ask for, from the 68 points that are known.

    The mean face's points are moved, turned and scaled onto them by least squares, and its region with them.

    Raises:
        ChainRigError: too few points are known.
    """
    known = weights > 0
    if int(known.sum()) < FEWEST:
        raise ChainRigError(
            f"A face with {int(known.sum())} labelled points cannot be placed: label {FEWEST} or more."
        )
    template, region = _mean_face()
    source, target, weight = (each[known] for each in (template, points, weights))
    weight = (weight / weight.sum())[:, None]
    source_middle, target_middle = (weight * source).sum(0), (weight * target).sum(0)
    near, far = source - source_middle, target - target_middle
    # The similarity as a complex factor a: far ≈ a · near.
    power = (weight * near.square()).sum()
    real = (weight * near * far).sum() / power
    imaginary = (weight[:, 0] * (near[:, 0] * far[:, 1] - near[:, 1] * far[:, 0])).sum() / power
    turn = torch.stack([torch.stack([real, -imaginary]), torch.stack([imaginary, real])])
    centre = target_middle + turn @ (region.centre - source_middle)
    return Region(
        centre, region.side * torch.hypot(real, imaginary), region.rotation + torch.atan2(imaginary, real)
    )


@cache
def _mean_face() -> tuple[Tensor, Region]:
    """The rig at rest, seen from far away: its 68 points, and the region of its 478."""
    rig = Rig.load()
    assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
    corners = rig.rest[rig.triangles[rig.landmark_triangle]]
    mesh = (rig.landmark_barycentric[..., None] * corners).sum(1)[:, :2] * torch.tensor([1.0, -1.0])
    return torch.stack([mesh[list(place)].mean(0) for place in PLACES]), Region.around(mesh)


def _places(labels: Labels) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Which of iBUG's points is the mean of which labels."""
    if labels.scheme.name in SCHEMES:
        there = shipped(IBUG68.name, labels.scheme.name)
        return [(i, match.points) for i, match in enumerate(there) if match is not None]
    own = matches(labels.scheme, IBUG68.name)
    return [
        (match.points[0], (i,)) for i, match in enumerate(own) if match is not None and len(match.points) == 1
    ]


def _photo_of(labels: Labels) -> Path:
    folder = labels.path.parent
    named = [folder / labels.image] if labels.image else []
    for path in (*named, *(labels.path.with_suffix(suffix) for suffix in PHOTO_SUFFIXES)):
        if path.is_file():
            return path
    raise ChainRigError(
        f"The photo that {labels.path} labels is not beside it: put it there, under the same name."
    )
