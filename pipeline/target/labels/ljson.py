"""menpo's landmark JSON (.ljson), versions 1 to 3: points as [y, x] in order, null where not labelled.

Version 1 lists points in groups (chin, left eye, …) that follow each other; version 2 in one list; version 3
holds several named sets, each like a version 2. (0, 0) is the centre of the photo's top-left pixel: menpo
subtracts 1 from the coordinates of a .pts file. The labels of regions and the lines between points are not
read.
"""

from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import NOT_LABELLED, Mark, Marks
from pipeline.target.labels.values import pair


def is_ljson(document: dict[str, Any]) -> bool:
    return "version" in document and ("groups" in document or "landmarks" in document)


def read(path: Path, document: dict[str, Any]) -> list[Marks]:
    """Of such a document: one face for every set of points.

    Raises:
        ChainRigError: it has another version, or is not put together as that version is.
    """
    version = document["version"]
    try:
        if version == 1:
            sets = [[mark["point"] for group in document["groups"] for mark in group["landmarks"]]]
        elif version == 2:
            sets = [document["landmarks"]["points"]]
        elif version == 3:
            sets = [group["landmarks"]["points"] for group in document["groups"].values()]
        else:
            raise ChainRigError(f"{path} is LJSON of version {version!r}: ChainRig reads 1, 2 and 3.")
    except (KeyError, TypeError, AttributeError):
        raise ChainRigError(
            f"{path} is not a whole LJSON file of version {version}: export it again."
        ) from None
    if not all(isinstance(points, list) for points in sets):
        raise ChainRigError(f"{path} is not a whole LJSON file of version {version}: export it again.")
    return [Marks([_mark(path, i, point) for i, point in enumerate(points)], "centre") for points in sets]


def _mark(path: Path, i: int, point: Any) -> Mark:
    if point in (None, [None, None]):
        return NOT_LABELLED
    y, x = pair(path, f"Point {i}", point)
    return Mark(x, y)
