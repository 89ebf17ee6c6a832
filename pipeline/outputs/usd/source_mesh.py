"""The mesh of a .glb with its seams closed: glTF splits vertices where texture coordinates jump."""

from dataclasses import dataclass

import numpy as np
from pygltflib import GLTF2, Primitive
from pygltflib import Mesh as GltfMesh

from pipeline.rigs.chainrig_extras import KEY, VERTEX
from pipeline.rigs.gltf_accessors import Accessors


@dataclass(frozen=True)
class Piece:
    """A part of a mesh: its rows of `Mesh.triangles`, and its material."""

    name: str
    triangles: np.ndarray
    material: int | None


@dataclass(frozen=True)
class Target:
    """A morph target: `(n,)` the vertices that it moves, `(n, 3)` where to."""

    name: str
    vertices: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Mesh:
    """A mesh of V vertices and F triangles.

    Attributes:
        name: in the file; `node` is the name of the node that shows it.
        points, normals: `(V, 3)` metres and unit vectors; no normals: None.
        triangles: `(F, 3)` vertices.
        uv: `(C, 2)`, v upward; None without any.
        uv_triangles: `(F, 3)` rows of `uv`.
        slots, shares: `(V, k)` joints, and their weights, which sum to 1; k is 0 without a skin.
    """

    name: str
    node: str
    points: np.ndarray
    normals: np.ndarray | None
    triangles: np.ndarray
    uv: np.ndarray | None
    uv_triangles: np.ndarray
    pieces: list[Piece]
    slots: np.ndarray
    shares: np.ndarray
    targets: list[Target]


def joined_mesh(gltf: GLTF2, accessors: Accessors, holder: int, joints: list[int]) -> Mesh:
    """All primitives of a node's mesh as one.

    Args:
        joints: nodes, in the order in which `Mesh.slots` counts them.

    Raises:
        ChainRigError: it points beyond what the file holds, or not at what it should.
        ValueError, IndexError, TypeError, KeyError: it is damaged otherwise.
    """
    node = (gltf.nodes or [])[holder]
    found = accessors.item("meshes", node.mesh)
    pieces = [_Primitive(primitive, accessors) for primitive in found.primitives]
    starts = np.cumsum([0, *(len(piece.points) for piece in pieces)])
    points = np.concatenate([piece.points for piece in pieces])
    corners = np.concatenate([piece.corners + start for piece, start in zip(pieces, starts, strict=False)])
    first, vertex = _closed(points, _together(pieces, VERTEX, 1))
    normals = _together(pieces, "NORMAL", 3)
    uv = _together(pieces, "TEXCOORD_0", 2)
    slots, shares = _influences(pieces, joints, accessors.item("skins", node.skin).joints if joints else [])
    names = ((gltf.extras or {}).get(KEY) or {}).get("parts")
    if not names or len(names) != len(pieces):
        names = [f"part {k}" for k in range(len(pieces))]
    ends = np.cumsum([len(piece.corners) for piece in pieces])
    return Mesh(
        name=found.name or "model",
        node=node.name or "mesh",
        points=points[first],
        normals=None if normals is None else normals[first],
        triangles=vertex[corners],
        uv=None if uv is None else uv * [1, -1] + [0, 1],
        uv_triangles=corners,
        pieces=[
            Piece(str(name), np.arange(end - len(piece.corners), end), piece.material)
            for name, piece, end in zip(names, pieces, ends, strict=True)
        ],
        slots=slots[first],
        shares=shares[first],
        targets=_targets(found, pieces, first),
    )


class _Primitive:
    def __init__(self, primitive: Primitive, accessors: Accessors) -> None:
        self.accessors, self.material = accessors, primitive.material
        self.attributes = vars(primitive.attributes)
        self.targets = [each if isinstance(each, dict) else vars(each) for each in primitive.targets or []]
        points = self.numbers("POSITION", 3)
        if points is None:
            raise accessors.damaged("a part of its mesh has no positions")
        self.points = points
        index = np.arange(len(points))
        if primitive.indices is not None:
            index = accessors.array(primitive.indices)[:, 0].astype(np.int64)
        if index.size and int(index.max()) >= len(points):
            raise accessors.damaged(f"a triangle points at vertex {int(index.max())} of {len(points)}")
        self.corners = index.reshape(-1, 3)

    def numbers(self, name: str, width: int) -> np.ndarray | None:
        """(n, width) of an attribute; None if there is none."""
        accessor = self.attributes.get(name)
        return None if accessor is None else self._finite(accessor, width, name)

    def deltas(self, target: int) -> np.ndarray:
        """(n, 3)"""
        accessor = self.targets[target].get("POSITION")
        if accessor is None:
            return np.zeros_like(self.points)
        return self._finite(accessor, 3, f"morph target {target}")

    def _finite(self, accessor: int, width: int, what: str) -> np.ndarray:
        found = self.accessors.array(accessor).astype(np.float64)
        points = len(found) if what == "POSITION" else len(self.points)
        if found.shape != (points, width) or not np.isfinite(found).all():
            raise self.accessors.damaged(f"{what} is not {width} finite numbers for each of its vertices")
        return found


def _together(pieces: list[_Primitive], name: str, width: int) -> np.ndarray | None:
    """(n, width) of an attribute, or None if a piece lacks it."""
    found = [values for piece in pieces if (values := piece.numbers(name, width)) is not None]
    return np.concatenate(found) if len(found) == len(pieces) else None


def _closed(points: np.ndarray, numbers: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """For each vertex one of the glTF vertices that it was split into; for each of those its vertex.

    Args:
        numbers: (n, 1) of the vertices, by whom the file was written. They are not believed where they bring
            together what lies apart.
    """
    if numbers is not None:
        _, first, vertex = np.unique(numbers[:, 0], return_index=True, return_inverse=True)
        if np.array_equal(points[first][vertex], points):
            return first, vertex
    return np.arange(len(points)), np.arange(len(points))


def _influences(
    pieces: list[_Primitive], joints: list[int], given: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) rows of `joints`, and weights, which sum to 1; without joints, k is 0."""
    sets = max(sum(name.startswith("JOINTS_") for name in piece.attributes) for piece in pieces)
    count = sum(len(piece.points) for piece in pieces)
    slots, shares = np.zeros((count, 4 * sets), np.int64), np.zeros((count, 4 * sets))
    if not joints:
        return slots[:, :0], shares[:, :0]
    start = 0
    for piece in pieces:
        rows = slice(start, start := start + len(piece.points))
        for k in range(sets):
            columns = slice(4 * k, 4 * k + 4)
            joint, share = piece.numbers(f"JOINTS_{k}", 4), piece.numbers(f"WEIGHTS_{k}", 4)
            if joint is not None and share is not None:
                slots[rows, columns], shares[rows, columns] = joint, share
    total = shares.sum(1, keepdims=True)
    if (shares < 0).any() or (total <= 0).any():
        raise ValueError("a vertex has no skin weights")
    place = np.array([joints.index(joint) for joint in given])
    used = shares.any(0)
    slots = np.where(shares > 0, slots, 0)
    return place[slots[:, used]], (shares / total)[:, used]


def _targets(found: GltfMesh, pieces: list[_Primitive], first: np.ndarray) -> list[Target]:
    count = len(pieces[0].targets)
    if any(len(piece.targets) != count for piece in pieces):
        raise ValueError("parts of a mesh have different numbers of morph targets")
    names = (found.extras or {}).get("targetNames") or [f"target {k}" for k in range(count)]
    if len(set(names)) != len(names) or len(names) != count:
        raise ValueError(f"{count} morph targets have {len(set(names))} names")
    targets = []
    for k, name in enumerate(names):
        deltas = np.concatenate([piece.deltas(k) for piece in pieces])[first]
        moved = np.flatnonzero(deltas.any(1))
        targets.append(Target(str(name), moved, deltas[moved]))
    return targets
