"""iBUG's .pts: all points of a scheme in order, without weights.

    version: 1
    n_points: 68
    {
    283.5 391.0
    …
    }

Coordinates are MATLAB's: the *centre* of the photo's first pixel is (1, 1). menpo's `pts_importer` counts the
same way. Nothing in the format says so, and some tools write numbers that begin with 0: for those, `origin=`.
"""

import math
import re
from pathlib import Path

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import SHIFT, Labels, Mark, Marks

BEGIN = re.compile(r"\s*version\s*:", re.IGNORECASE)


def read(path: Path, text: str) -> list[Marks]:
    """Of the text of a .pts file.

    Raises:
        ChainRigError: it is not of this form, or it has another number of points than it says.
    """
    header, brace, rest = text.partition("{")
    body, end, _ = rest.partition("}")
    if not brace or not end:
        raise ChainRigError(f"{path} is not a whole .pts file: its points stand between {{ and }}.")
    marks = [_mark(path, line) for line in body.splitlines() if line.strip()]
    said = re.search(r"n_points\s*:\s*([0-9]+)", header, re.IGNORECASE)
    if said is None:
        raise ChainRigError(
            f"{path} does not say how many points it has: it needs a line such as n_points: 68."
        )
    if int(said[1]) != len(marks):
        raise ChainRigError(f"{path} says that it has {said[1]} points, but has {len(marks)}: copy it again.")
    return [Marks(marks, "one")]


def _mark(path: Path, line: str) -> Mark:
    try:
        x, y = map(float, line.split())
    except ValueError:
        raise ChainRigError(f"{path} has a line that is not two numbers: '{line.strip()[:40]}'.") from None
    return Mark(x, y)


def write(labels: Labels) -> str:
    """The text of a .pts file.

    Raises:
        ChainRigError: a point is not labelled; the format has no way to say so.
    """
    missing = [name for name, there in zip(labels.scheme.names, labels.labelled, strict=True) if not there]
    if missing:
        raise ChainRigError(
            f"A .pts file holds every point of its scheme, but {len(missing)} are not labelled, {missing[0]} "
            "among them: write JSON or CSV."
        )
    points = (labels.points - SHIFT["one"]).tolist()
    lines = [f"{x:.10g} {y:.10g}" for x, y in points if math.isfinite(x)]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])
