"""Pieces of a mesh come together; corners that a file had to split become one vertex again."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Joined:
    """One mesh.

    Attributes:
        positions: (V, 3).
        triangles: (F, 3).
        part_of_triangle: (F,) which piece it came with.
        uv, uv_triangles: (T, 2) and (F, 3), or None where no piece has texture coordinates.
        weights: (V, J).
        shapes: name → (V, 3).
        merged: how many corners became one with another.
    """

    positions: np.ndarray
    triangles: np.ndarray
    part_of_triangle: np.ndarray
    uv: np.ndarray | None
    uv_triangles: np.ndarray | None
    weights: np.ndarray
    shapes: dict[str, np.ndarray]
    merged: int


class Pieces:
    """Collects pieces, in the order in which their triangles will stand.

    Args:
        joints: how many there are.
    """

    def __init__(self, joints: int) -> None:
        self.joints = joints
        self._positions: list[np.ndarray] = []
        self._triangles: list[np.ndarray] = []
        self._uv: list[np.ndarray | None] = []
        self._weights: list[np.ndarray] = []
        self._shapes: list[dict[str, np.ndarray]] = []
        self._meshes: list[int] = []
        self._identities: list[np.ndarray | None] = []

    def add(
        self,
        positions: np.ndarray,
        triangles: np.ndarray,
        uv: np.ndarray | None,
        weights: np.ndarray,
        shapes: dict[str, np.ndarray],
        mesh: int = 0,
        identity: np.ndarray | None = None,
    ) -> None:
        """A piece of n corners: (n, 3), (f, 3), (n, 2), (n, J), name → (n, 3).

        Args:
            mesh: only corners of one mesh can be the same vertex.
            identity: (n,) numbers of the vertices that the corners belong to, where the file knows them.
        """
        self._positions.append(positions)
        self._triangles.append(triangles)
        self._uv.append(uv)
        self._weights.append(weights)
        self._shapes.append(shapes)
        self._meshes.append(mesh)
        self._identities.append(identity)

    def joined(self) -> Joined:
        """All pieces as one. Corners are one vertex if the file says so; else if they belong to one mesh and
        agree in position, weights and every shape.
        """
        counts = [len(positions) for positions in self._positions]
        starts = np.concatenate([[0], np.cumsum(counts)])
        total = int(starts[-1])
        positions, weights = np.concatenate(self._positions), np.concatenate(self._weights)
        names = list(dict.fromkeys(name for shapes in self._shapes for name in shapes))
        stacked = np.zeros((len(names), total, 3))
        for start, end, shapes in zip(starts[:-1], starts[1:], self._shapes, strict=True):
            for name, deltas in shapes.items():
                stacked[names.index(name), start:end] = deltas
        triangles = np.concatenate([t + s for t, s in zip(self._triangles, starts[:-1], strict=True)])
        parts = np.repeat(np.arange(len(counts)), [len(t) for t in self._triangles])
        if all(identity is not None for identity in self._identities):
            key = np.concatenate([identity for identity in self._identities if identity is not None])[:, None]
        else:
            mesh = np.repeat(self._meshes, counts)[:, None]
            mixture = np.random.default_rng(0).normal(size=(3 * len(names) + self.joints, 8))
            moved = stacked.transpose(1, 0, 2).reshape(total, -1)
            print_ = np.concatenate([moved, weights], 1) @ mixture  # equal rows have equal fingerprints
            scale = np.abs(print_).max(initial=1e-30)
            key = np.concatenate([mesh, positions, np.round(print_ / scale, 9)], 1)
        first, vertex = _unique(key)
        uv = uv_triangles = None
        if any(each is not None for each in self._uv):
            each = [
                np.full((n, 2), 0.5) if uv is None else uv for n, uv in zip(counts, self._uv, strict=True)
            ]
            uv, uv_triangles = np.concatenate(each), triangles
        return Joined(
            positions[first],
            vertex[triangles],
            parts,
            uv,
            uv_triangles,
            weights[first],
            {name: stacked[k][first] for k, name in enumerate(names)},
            total - len(first),
        )


def _unique(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct row comes first, in that order, and which of those each row is.

    With a single column, the order is that of its numbers.
    """
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    if rows.shape[1] == 1:
        return first, inverse
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse]
