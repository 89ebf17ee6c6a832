"""Which points of a skin lie in flesh that is not behind them: by winding numbers."""

import numpy as np

OFF_M = 1e-5  # off its own skin a vertex is looked at


def winding(points: np.ndarray, surface: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """How often a surface winds around each point: van Oosterom and Strackee's solid angles, over 4π."""
    a, b, c = (surface[triangles[:, i]][None] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
    above = np.einsum("pfi,pfi->pf", a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return 2 * np.arctan2(above, below).sum(1) / (4 * np.pi)


def inside_themselves(vertices: np.ndarray, skin: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
    """(P,) bool: which vertices of the skin lie in flesh that is not behind them."""
    a, b, c = (vertices[skin[:, i]] for i in range(3))
    normals = np.zeros_like(vertices)
    np.add.at(normals, skin, np.cross(b - a, c - a)[:, None, :])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return winding((vertices + OFF_M * normals)[looked_at], vertices, skin) > 0.5
