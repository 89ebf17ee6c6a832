"""COCO-like keypoints: `annotations` with x, y, visibility of every point, of faces in one photo or in many.

Visibility is 0 for a point that is not labelled, 1 for one that is hidden (a guess: half the weight), 2 for
one that is seen. Points stand in the scheme's order. Where an annotation has COCO-WholeBody's `face_kpts`,
those are read, 68 of them with `face_valid`. (0, 0) is the centre of the photo's top-left pixel: keypoints
are pixel indices.
"""

from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import NOT_LABELLED, Mark, Marks
from pipeline.target.labels.values import number, size, text

WEIGHT_OF_VISIBILITY = {0: 0.0, 1: 0.5, 2: 1.0}


def is_coco(document: Any) -> bool:
    """Whether it is a whole document, an annotation, or a list of them."""
    if isinstance(document, list):
        return bool(document) and all(isinstance(one, dict) and is_coco(one) for one in document)
    return isinstance(document, dict) and any(
        key in document for key in ("annotations", "keypoints", "face_kpts")
    )


def read(path: Path, document: Any) -> list[Marks]:
    """Of such a document: one face for every annotation that has points.

    Raises:
        ChainRigError: it is not put together as COCO's are.
    """
    whole = document if isinstance(document, dict) else {}
    annotations = whole.get("annotations", document)
    annotations = annotations if isinstance(annotations, list) else [annotations]
    listed = whole.get("images")
    images = {
        str(one.get("id")): one
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    }
    faces = []
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise ChainRigError(f"{path} has an annotation that is no object: export it again.")
        marks = _marks(path, annotation)
        if any(mark.weight > 0 for mark in marks):
            image = images.get(str(annotation.get("image_id")), {})
            shape = [image["width"], image["height"]] if {"width", "height"} <= image.keys() else None
            faces.append(
                Marks(
                    marks,
                    "centre",
                    image=text(path, "A file_name", image.get("file_name")),
                    image_size=size(path, shape),
                )
            )
    if not faces:
        raise ChainRigError(f"{path} has no annotation with keypoints: label a face in it.")
    return faces


def _marks(path: Path, annotation: dict[str, Any]) -> list[Mark]:
    values = annotation.get("keypoints")
    if "face_kpts" in annotation:
        values = annotation["face_kpts"] if annotation.get("face_valid", True) else None
    if values is None:
        return []
    if not isinstance(values, list) or len(values) % 3:
        raise ChainRigError(
            f"The keypoints in {path} are not x, y, visibility of every point: export them again."
        )
    return [_mark(path, i // 3, values[i : i + 3]) for i in range(0, len(values), 3)]


def _mark(path: Path, i: int, values: list[Any]) -> Mark:
    x, y, visibility = values
    if not isinstance(visibility, int | float) or visibility not in WEIGHT_OF_VISIBILITY:
        raise ChainRigError(
            f"The visibility of point {i} in {path} is {str(visibility)[:40]}: give 0, 1 or 2."
        )
    if visibility == 0:
        return NOT_LABELLED
    what = f"Point {i}"
    return Mark(number(path, what, x), number(path, what, y), WEIGHT_OF_VISIBILITY[visibility])
