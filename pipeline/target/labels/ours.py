"""ChainRig's own JSON: any of a scheme's points, with weights.

    {"schema": "chainrig.labels/1",
     "scheme": "ibug68",
     "origin": "corner",
     "image": "me.jpg", "image_size": [1200, 1600],
     "points": {"chin": [612.5, 1120.0], "36": [471.0, 655.5, 0.5]}}

`points` names points by their name or number, or lists all of the scheme's in order; a third number is a
weight (default 1), null a point that is not labelled. `scheme` may be the path of a scheme file, from this
file's folder. `origin` must be stated: `corner` where (0, 0) is the corner of the photo's top-left pixel,
`centre` where it is that pixel's centre. `image` and `image_size` (width, height) may be left out.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import Labels, Marks
from pipeline.target.labels.values import mark, size, text

SCHEMA = "chainrig.labels/1"
KEYS = ("schema", "scheme", "origin", "image", "image_size", "points")


def read(path: Path, document: dict[str, Any]) -> list[Marks]:
    """Of such a document.

    Raises:
        ChainRigError: it has another version, an unknown key, or something that is no point.
    """
    if document.get("schema", SCHEMA) != SCHEMA:
        raise ChainRigError(f"{path} has the schema {document['schema']!r}: this version reads {SCHEMA}.")
    for key in document:
        if key not in KEYS:
            raise ChainRigError(f'{path} has an unknown key "{key}": there are {", ".join(KEYS)}.')
    points = document.get("points")
    if isinstance(points, dict):
        marks = {name: mark(path, f"Point {name}", value) for name, value in points.items()}
    elif isinstance(points, list):
        marks = [mark(path, f"Point {i}", value) for i, value in enumerate(points)]
    else:
        raise ChainRigError(f'{path} needs "points": an object of names, or a list of [x, y].')
    return [
        Marks(
            marks,
            text(path, "The origin", document.get("origin")),
            text(path, "The scheme", document.get("scheme")),
            text(path, "The image", document.get("image")),
            size(path, document.get("image_size")),
        )
    ]


def write(labels: Labels) -> str:
    """The text of such a document, a point a line; points that are not labelled are left out."""
    document: dict[str, Any] = {"schema": SCHEMA, "scheme": labels.scheme.name, "origin": "corner"}
    if labels.image is not None:
        document["image"] = labels.image
    if labels.image_size is not None:
        document["image_size"] = list(labels.image_size)
    head = json.dumps(document, ensure_ascii=False)[:-1]
    lines = []
    for name, point, weight in zip(
        labels.scheme.names, labels.points.tolist(), labels.weights.tolist(), strict=True
    ):
        if weight > 0:
            lines.append(f"{json.dumps(name)}: {json.dumps(point if weight == 1 else [*point, weight])}")
    return head + ', "points": {\n  ' + ",\n  ".join(lines) + "\n}}\n"
