"""Triangles from polygons."""

import numpy as np


def triangulated(polygons: list[list[int]], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts polygons into triangles, by corners.

    A quad is cut along its shorter diagonal (unless that lies outside of it), a larger polygon by clipping
    ears.

    Args:
        polygons: vertex indices around each, counter-clockwise from outside; fewer than three make nothing.
        points: (V, 3).

    Returns:
        (F,) which polygon each triangle is of, and (F, 3) which of its corners, counted from 0.
    """
    owners: list[int] = []
    corners: list[tuple[int, int, int]] = []
    for number, polygon in enumerate(polygons):
        if len(polygon) == 3:
            cut = [(0, 1, 2)]
        elif len(polygon) == 4:
            cut = _quad(points[polygon])
        else:
            cut = _clipped(points[polygon]) if len(polygon) > 4 else []
        owners += [number] * len(cut)
        corners += cut
    return np.array(owners, np.int64), np.array(corners, np.int64).reshape(-1, 3)


def _quad(p: np.ndarray) -> list[tuple[int, int, int]]:
    one, other = [(0, 1, 2), (0, 2, 3)], [(0, 1, 3), (1, 2, 3)]
    shorter_first = np.sum((p[0] - p[2]) ** 2) <= np.sum((p[1] - p[3]) ** 2)
    for cut in (one, other) if shorter_first else (other, one):
        a, b = (np.cross(p[j] - p[i], p[k] - p[i]) for i, j, k in cut)
        if a @ b >= 0:  # both look the same way: the diagonal lies inside
            return cut
    return one


def _clipped(p: np.ndarray) -> list[tuple[int, int, int]]:
    after = np.roll(p, -1, 0)
    normal = np.cross(p, after).sum(0)  # Newell's: twice the area's vector
    drop = int(np.abs(normal).argmax())
    flat = np.delete(p, drop, 1) * (1 if normal[drop] > 0 else -1) ** np.arange(2)
    if drop == 1:
        flat = flat * [-1, 1]
    left, cut = list(range(len(p))), []
    while len(left) > 3:
        ear = next((k for k in range(len(left)) if _is_ear(flat, left, k)), 0)
        cut.append((left[ear - 1], left[ear], left[(ear + 1) % len(left)]))
        left.pop(ear)
    return [*cut, (left[0], left[1], left[2])]


def _is_ear(flat: np.ndarray, left: list[int], k: int) -> bool:
    """Whether the corner is convex and no other corner lies in the triangle it makes."""
    a, b, c = flat[left[k - 1]], flat[left[k]], flat[left[(k + 1) % len(left)]]
    if _area(a, b, c) <= 0:
        return False
    others = [flat[i] for i in left if i not in (left[k - 1], left[k], left[(k + 1) % len(left)])]
    return not any(min(_area(a, b, q), _area(b, c, q), _area(c, a, q)) >= 0 for q in others)


def _area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
