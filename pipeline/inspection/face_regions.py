"""Which part of the face each of a detector's landmarks belongs to, for people to read."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.detect.embedding import IBUG68
from pipeline.target.reading import converted
from pipeline.target.schemes import MEDIAPIPE478

IRISES = range(468, 478)
NEAR_M = 0.012  # of a point of iBUG's that names the part
MIDDLE_M = 0.022  # beside the face's plane of symmetry

_IBUG_PARTS = (
    ("jaw", range(17)),
    ("right brow", range(17, 22)),
    ("left brow", range(22, 27)),
    ("nose", range(27, 36)),
    ("right eye", range(36, 42)),
    ("left eye", range(42, 48)),
    ("mouth", range(48, 68)),
)


def face_regions(rig: Rig, scheme: str = MEDIAPIPE478.name) -> tuple[str, ...]:
    """The names of the regions of a scheme's `(L,)` landmarks, left and right the subject's.

    A landmark belongs to the part of the nearest of iBUG's 68 points on the head at rest; far from them all,
    to the forehead, to the chin or to a cheek.
    """
    mesh = points_at_rest(rig)
    at_rest, marks = converted(mesh, MEDIAPIPE478.name, scheme), mesh[list(IBUG68)]
    part_of_mark = [name for name, indices in _IBUG_PARTS for _ in indices]
    distance, nearest = torch.cdist(at_rest, marks).min(-1)
    brows = marks[17:27, 1].mean()
    names = []
    for i, (x, y, _) in enumerate(at_rest.tolist()):
        if scheme == MEDIAPIPE478.name and i in IRISES:
            names.append("left eye" if x > 0 else "right eye")
        elif distance[i] < NEAR_M:
            names.append(part_of_mark[int(nearest[i])])
        elif y > brows or (abs(x) < MIDDLE_M and y > 0):
            names.append("forehead")
        elif abs(x) < MIDDLE_M:
            names.append("chin")
        else:
            names.append("left cheek" if x > 0 else "right cheek")
    return tuple(names)


def landmarks_of(names: Sequence[str], rig: Rig, scheme: str = MEDIAPIPE478.name) -> list[str]:
    """Numbers and patterns as they are; a region of the face as the numbers of its landmarks."""
    regions = face_regions(rig, scheme)
    chosen: list[str] = []
    for name in names:
        chosen += [str(i) for i, region in enumerate(regions) if region == name] or [name]
    return chosen


def points_at_rest(rig: Rig) -> Tensor:
    """`(478, 3)` where the landmarks lie on the head at rest, metres, in the rig's frame."""
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    return (small.landmark_barycentric[..., None] * small.rest[small.triangles]).sum(-2)
