"""Where brows, lips and eyes of a rig lie, from the detector's landmarks or from iBUG's 68."""

from dataclasses import dataclass

import numpy as np

# Points of the detector's mesh, around each feature (right is the subject's right).
BROWS_478 = ((46, 53, 52, 65, 55, 107, 66, 105, 63, 70), (276, 283, 282, 295, 285, 336, 296, 334, 293, 300))
LIPS_478 = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
MOUTH_478 = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIDS_478 = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
IRISES_478 = (468, 473)
BROW_M, EDGE_M = (
    0.0035,
    0.0005,
)  # half the width of a brow known as a line only; of what is known as an outline


@dataclass(frozen=True)
class Outlines:
    """Closed (or, brows from 68 points, open) lines on the rest mesh, (N, 3) metres each.

    Attributes:
        brows: the right and the left one.
        brow_width: metres beside the line that are brow, too.
        lips, mouth: the outer and the inner border of the lips.
        lids: the right and the left eye's.
    """

    brows: tuple[np.ndarray, ...]
    brow_width: float
    lips: np.ndarray
    mouth: np.ndarray
    lids: tuple[np.ndarray, ...]


def outlines_478(points: np.ndarray) -> Outlines:
    """From (478, 3) places of the detector's landmarks."""
    return Outlines(
        tuple(points[list(brow)] for brow in BROWS_478),
        EDGE_M,
        points[list(LIPS_478)],
        points[list(MOUTH_478)],
        tuple(points[list(lids)] for lids in LIDS_478),
    )


def outlines_68(points: np.ndarray) -> Outlines:
    """From (68, 3) places of iBUG's points; the jaw's are not used."""
    return Outlines(
        (points[17:22], points[22:27]),
        BROW_M,
        points[48:60],
        points[60:68],
        (points[36:42], points[42:48]),
    )


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(N,) bool: which of (N, 2) lie in a closed polygon (M, 2), by the even-odd rule."""
    x, y = points.T
    found = np.zeros(len(points), bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if ay != by:
            found ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return found


def distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(N,) distances of (N, D) points from an open line (M, D)."""
    found = np.full(len(points), np.inf)
    for a, b in zip(line[:-1], line[1:], strict=True):
        along = b - a
        share = np.clip((points - a) @ along / max(along @ along, 1e-18), 0, 1)
        found = np.minimum(found, np.linalg.norm(points - a - share[:, None] * along, axis=1))
    return found
