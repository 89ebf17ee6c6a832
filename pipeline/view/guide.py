"""Where iBUG's 68 points belong: a drawn face beside the photo, from the shipped head's own points."""

from functools import cache

import torch

from pipeline.chain import build_stand_in
from pipeline.deform.rig import Rig
from pipeline.render.camera import Camera
from pipeline.target.reading import converted
from pipeline.target.schemes import IBUG68

MARGIN, SIDE = 6.0, 200.0  # of the drawing
# Points that a line joins; a closed one comes back to its first.
STROKES: tuple[tuple[range, bool], ...] = (
    (range(0, 17), False),  # jaw
    (range(17, 22), False),  # brows
    (range(22, 27), False),
    (range(27, 31), False),  # nose
    (range(31, 36), False),
    (range(36, 42), True),  # eyes
    (range(42, 48), True),
    (range(48, 60), True),  # lips
    (range(60, 68), True),
)


@cache
def guide() -> dict[str, list[list[float]] | list[str] | float]:
    """Points `[x, y]` in a drawing of the given width and height, the strokes' path, and names.

    The jaw is a little open, so that the inner lips part.
    """
    rig = Rig.load()
    camera = Camera(torch.tensor(1000.0), torch.zeros(2))
    x = rig.controls.pack({"headTranslationZ": -1.5, "jawOpen": 0.25})
    with torch.no_grad():
        seen = converted(build_stand_in(rig, camera)(x), "mediapipe478", IBUG68.name)[:, :2]
    low, high = seen.amin(0), seen.amax(0)
    points = (seen - low) * (SIDE - 2 * MARGIN) / float((high - low)[0]) + MARGIN
    points[0:17] += (points[0:17] - points[27]) * 0.03  # the outline is outside of what is fixed to the skin
    path = "".join(
        "M" + "L".join(f"{points[i][0]:.1f} {points[i][1]:.1f}" for i in stroke) + ("Z" if closed else "")
        for stroke, closed in STROKES
    )
    return {
        "points": [[round(value, 1) for value in point] for point in points.tolist()],
        "height": round(float(points[:, 1].max()) + MARGIN, 1),
        "path": [path],
        "names": list(IBUG68.names),
    }
