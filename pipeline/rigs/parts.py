"""Which part of an imported mesh is an eyeball, teeth, lashes …: by its name, or by being a ball where eyes
are."""

import re

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.rigs.raw import Part

# In this order; what none of them fits is skin.
_KINDS = (
    ("helper", r"lash|lacrimal|tear|occlusion|eye_?blend|caruncle_?helper|shadow|collider"),
    ("hair", r"hair|beard|brow|fur|bang"),
    ("teeth", r"teeth|tooth|dental"),
    ("tongue", r"tongue|gum|oral|mouth_?bag|mouth_?socket"),
    ("eye", r"eye_?ball|eyes?(?![a-z])|sclera|iris|pupil|cornea|eyes?(left|right|_|$)"),
    ("clothes", r"cloth|shirt|body|glass|hat|outfit|top|bottom|shoe"),
)
BALL_M = (0.008, 0.022)  # radius of an eyeball
EYES_X_M, EYES_YZ_M = (0.018, 0.055), 0.05  # where eyeballs are, from the origin between them


def kind_of(name: str) -> str:
    """ "skin" or one of the kinds above; a helper is what would be drawn
    solid, but is not: lashes, tear lines, shadows."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return next((kind for kind, pattern in _KINDS if re.search(pattern, words)), "skin")


def named_parts(
    parts: list[Part], part_of_triangle: np.ndarray, positions: np.ndarray, triangles: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Names, and which of them each triangle (F,) is of; −1 for helpers, which are to be left out.

    Args:
        positions: (V, 3) in ChainRig's frame, metres.
    """
    kinds = [kind_of(part.name) for part in parts]
    component = _components(triangles, len(positions))
    labels = np.array(
        [_unsided(kind, part.name) for kind, part in zip(kinds, parts, strict=True)], dtype=object
    )
    label = labels[part_of_triangle]
    sideways = positions[triangles].mean(1)[:, 0]  # [F]
    for number in np.unique(component[label == "skin"]):
        mine = component == number
        if _is_eyeball(positions[np.unique(triangles[mine])]):
            label[mine & (label == "skin")] = "eye"
    for number in np.unique(component[label == "eye"]):
        mine = (component == number) & (label == "eye")
        label[mine] = "eye_left" if sideways[mine].mean() > 0 else "eye_right"
    names = [str(name) for name in dict.fromkeys(["skin", *label.tolist()]) if name != "helper"]
    index = {name: k for k, name in enumerate(names)}
    return names, np.array([index.get(name, -1) for name in label])


def _unsided(kind: str, name: str) -> str:
    return name if kind == "clothes" else kind


def _components(triangles: np.ndarray, vertices: int) -> np.ndarray:
    """(F,) which connected piece of the mesh a triangle is of."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (vertices, vertices))
    return connected_components(graph, directed=False)[1][triangles[:, 0]]


def _is_eyeball(points: np.ndarray) -> bool:
    """Whether points (N, 3) lie on a ball (or a part of one) of an eye's size at an eye's place."""
    if not 12 <= len(points) <= 20_000:
        return False
    # |p|² = 2 c·p + (r² − |c|²), by least squares
    A = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    found = np.linalg.lstsq(A, (points**2).sum(1), rcond=None)[0]
    centre, square = found[:3], found[3] + found[:3] @ found[:3]
    radius = np.sqrt(max(square, 0.0))
    off = np.abs(np.linalg.norm(points - centre, axis=1) - radius)
    near = EYES_X_M[0] < abs(centre[0]) < EYES_X_M[1] and np.abs(centre[1:]).max() < EYES_YZ_M
    return bool(near and BALL_M[0] < radius < BALL_M[1] and np.median(off) < 0.08 * radius)
