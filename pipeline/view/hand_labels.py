"""Points that a person places on the page: iBUG's 68, saved as JSON and, once all are there, as .pts."""

import math
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ChainRigError
from pipeline.outputs.folder import require_writable
from pipeline.target.labels.labels import Labels
from pipeline.target.labels.read import read_labels
from pipeline.target.labels.write import write_labels
from pipeline.target.photo import Photo
from pipeline.target.schemes import IBUG68

JSON, PTS = "labels.json", "labels.pts"


def of_page(points: Any, photo: Photo, folder: Path) -> Labels:
    """Labels of what the page sent: 68 times [x, y] in pixels of the photo, or null.

    Raises:
        ChainRigError: it is not of that form, or no point is placed.
    """
    count = len(IBUG68)
    if not isinstance(points, list) or len(points) != count:
        raise ChainRigError(f"There are {count} points to place, each [x, y] or null.")
    placed = torch.full((count, 2), torch.nan, dtype=torch.float64)
    for index, point in enumerate(points):
        if point is not None:
            placed[index] = torch.tensor(_pixel(point), dtype=torch.float64)
    there = placed.isfinite().all(-1)
    if not bool(there.any()):
        raise ChainRigError(
            "No point is placed yet: click into the photo, or begin with the detector's points."
        )
    labels = Labels(
        placed, there.double(), IBUG68, folder / JSON, photo.path.name, (photo.width, photo.height)
    )
    labels.require_image(photo.width, photo.height)
    return labels


def save(labels: Labels, folder: Path) -> list[Path]:
    """Writes the files; one of an earlier, whole set of points is removed where points are missing now.

    Raises:
        ChainRigError: they cannot be written.
    """
    require_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_labels(folder / JSON, labels)
    if bool(labels.labelled.all()):
        write_labels(folder / PTS, labels)
        return [folder / JSON, folder / PTS]
    (folder / PTS).unlink(missing_ok=True)
    return [folder / JSON]


def saved(folder: Path) -> list[list[float] | None]:
    """The points saved before, for the page; none of them where there are none.

    Raises:
        ChainRigError: the file is of no use.
    """
    if not (folder / JSON).is_file():
        return [None] * len(IBUG68)
    labels = read_labels(folder / JSON)
    if labels.scheme is not IBUG68:
        raise ChainRigError(f"{folder / JSON} has points of {labels.scheme.name}: rename it to label here.")
    rows = zip(labels.points.tolist(), labels.labelled.tolist(), strict=True)
    return [point if there else None for point, there in rows]


def _pixel(point: Any) -> tuple[float, float]:
    try:
        x, y = map(float, point)
    except (TypeError, ValueError):
        raise ChainRigError(f"A point is [x, y], not {str(point)[:40]}.") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ChainRigError("A point is [x, y], two finite numbers.")
    return x, y
