"""JSON with some of iBUG's points under `points68_partial`: how templates of other sets were handed over.

    {"image": "001.jpg", "points68_partial": {"8": [335.75, 497.25], …}, "pupils": {…}}

(0, 0) is the centre of the photo's top-left pixel. Other keys are notes and are not read.
"""

from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import Marks
from pipeline.target.labels.values import mark, text

KEY = "points68_partial"


def read(path: Path, document: dict[str, Any]) -> list[Marks]:
    """Of such a document.

    Raises:
        ChainRigError: what stands under the key is not points by their number.
    """
    points = document[KEY]
    if not isinstance(points, dict):
        raise ChainRigError(
            f'"{KEY}" in {path} must hold points by their number, as in {{"8": [335.75, 497.25]}}.'
        )
    marks = {number: mark(path, f"Point {number}", value) for number, value in points.items()}
    return [Marks(marks, "centre", "ibug68", text(path, "The image", document.get("image")))]
