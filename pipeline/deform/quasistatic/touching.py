"""Which parts of a face may touch: lip and lip, lips and teeth, lids and eyes; found on the mean head."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

LIP_GAP_M = 0.004  # across which lips face each other at rest
LIPS_PART_M = 0.005  # by how much an opening jaw parts them at least
TEETH_REACH_M = 0.008  # of skin that may come to lie on teeth
EYE_REACH_M = 0.008  # of skin that may come to lie on an eye


@dataclass(frozen=True)
class Lips:
    """Two sheets that face each other, each a height field along `up`.

    Attributes:
        up: (3,) unit vector from the lower to the upper lip.
        upper, lower: vertices of the sheets.
        triangles: (F, 3) vertices of either.
    """

    up: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    triangles: tuple[np.ndarray, np.ndarray]


def find_lips(
    points: np.ndarray, triangles: np.ndarray, opened: np.ndarray, allowed: np.ndarray
) -> Lips | None:
    """The skin's surfaces that face each other across a narrow gap at rest and that an open jaw parts.

    Args:
        points: (V, 3) metres, at rest.
        triangles: (F, 3) of the skin.
        opened: (V, 3) with the jaw open.
        allowed: (V,) bool, vertices to look at.

    Returns:
        None if there are no such surfaces.
    """
    normals = vertex_normals(points, triangles)
    candidates = np.flatnonzero(allowed)
    pairs = KDTree(points[candidates]).query_pairs(LIP_GAP_M, output_type="ndarray")
    if not len(pairs):
        return None
    a, b = candidates[pairs].T
    across = points[b] - points[a]
    facing = (
        ((normals[a] * normals[b]).sum(1) < -0.3)
        & ((across * normals[a]).sum(1) > 0)
        & ((across * normals[b]).sum(1) < 0)
    )
    parted = np.linalg.norm((opened - points)[b] - (opened - points)[a], axis=1) > LIPS_PART_M
    a, b = a[facing & parted], b[facing & parted]
    if not len(a):
        return None
    below = (opened - points)[a, 1] < (opened - points)[b, 1]  # the lower lip goes down with the jaw
    lower, upper = np.where(below, a, b), np.where(below, b, a)
    up = normals[np.unique(lower)].mean(0) - normals[np.unique(upper)].mean(0)
    up /= np.linalg.norm(up)
    sheets = []
    for seed, sign in ((np.unique(upper), -1.0), (np.unique(lower), 1.0)):
        ring = np.unique(triangles[np.isin(triangles, seed).any(1)])
        sheet = ring[allowed[ring] & (sign * normals[ring] @ up > 0.1)]
        sheets.append(triangles[np.isin(triangles, sheet).all(1)])
    upper_sheet, lower_sheet = sheets
    return Lips(up, np.unique(upper_sheet), np.unique(lower_sheet), (upper_sheet, lower_sheet))


def find_near_eye(points: np.ndarray, eye: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Vertices that may come to lie on the ball of the eye's points (E, 3)."""
    centre = eye.mean(0)
    radius = np.linalg.norm(eye - centre, axis=1).mean()
    near = np.linalg.norm(points - centre, axis=1) < radius + EYE_REACH_M
    return np.flatnonzero(near & allowed)


def find_near_teeth(
    points: np.ndarray, triangles: np.ndarray, teeth: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    """Vertices of the skin that face teeth nearby."""
    distance, which = KDTree(teeth).query(points)
    normals = vertex_normals(points, triangles)
    towards = ((teeth[which] - points) * normals).sum(1) > 0
    return np.flatnonzero(allowed & towards & (distance < TEETH_REACH_M))


def outer_triangles(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Of a row of teeth, those that face away from its middle: the ones that lips and cheeks lie on."""
    corners = points[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    away = corners.mean(1) - points[np.unique(triangles)].mean(0)
    return triangles[
        (normal * away * [1, 0, 1]).sum(1) > 0.3 * np.linalg.norm(normal, axis=1) * np.hypot(*away.T[[0, 2]])
    ]


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit vectors, zero for vertices without triangles."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    out = np.zeros_like(points)
    np.add.at(out, triangles, np.cross(b - a, c - a)[:, None, :])
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
