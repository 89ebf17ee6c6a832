"""The flesh under a skin: triangles extruded inward to prisms, prisms split into tetrahedra."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ChainRigError

MOST_M = 0.012  # thickness where there is room
ROOM = 0.9  # of the way from the skin to the medial axis, which the inner side must not cross
TAPER = 0.7  # by how much thickness may change from a vertex to the next, as a share of their distance
LEAST_VOLUME = 0.3  # volume of a tetrahedron, as a share of a third of its triangle times its upright edge
_SPLIT = ((0, 1, 2, 5), (0, 1, 5, 4), (0, 3, 4, 5))  # of a prism whose corners are sorted by index
_UPRIGHT = (2, 1, 0)  # the corner at whose upright edge each of the three stands


@dataclass(frozen=True)
class Shell:
    """Tetrahedra between a skin and a surface some millimetres below it.

    Node `l * S + s` lies on layer l of L, below vertex s of S; layer 0 is the skin itself.

    Attributes:
        vertices: (S,) which vertices of the mesh the skin's nodes are.
        triangles: (F, 3) the skin, nodes of layer 0, counter-clockwise seen from outside.
        rim: (S,) bool, the vertices on the region's border.
        offset: (S, 3) metres, from the skin to the innermost layer.
        depth: (L,) of the layers, as a share of `offset`: from 0 to 1.
        tets: (T, 4) nodes, of positive volume.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    rim: np.ndarray
    offset: np.ndarray
    depth: np.ndarray
    tets: np.ndarray

    @property
    def thickness(self) -> np.ndarray:
        """(S,) metres."""
        return np.linalg.norm(self.offset, axis=1)

    def nodes(self, skin: np.ndarray) -> np.ndarray:
        """(L · S, 3) rest positions, of the skin's (S, 3)."""
        return (skin + self.depth[:, None, None] * self.offset).reshape(-1, 3)


def build_shell(surface: np.ndarray, triangles: np.ndarray, region: np.ndarray, layers: int = 2) -> Shell:
    """A shell under part of a closed (or nearly closed) surface.

    Directions are those that all adjoining triangles face most (Aubry and Löhner, "On the 'most normal'
    normal", 2008). The thickness keeps below the distance to the medial axis, so that flesh that reaches down
    from one side (the outside of a lip or lid) does not meet flesh from the other; then it shrinks where a
    tetrahedron would be too flat or inverted.

    Args:
        surface: (V, 3) metres.
        triangles: (F, 3) of the whole surface, counter-clockwise seen from outside.
        region: (F,) bool, the triangles that get flesh.
        layers: of tetrahedra.

    Raises:
        ChainRigError: the surface folds back on itself: no direction is inward for all triangles around.
    """
    vertices, skin = np.unique(triangles[region], return_inverse=True)
    skin = skin.reshape(-1, 3)
    points = surface[vertices]
    inward, least = _most_normal(points, skin)
    if least.min() <= 0.01:
        worst = vertices[least.argmin()]
        raise ChainRigError(
            f"The skin folds back on itself at vertex {worst}: no flesh fits under it. Repair the mesh there."
        )
    room = ROOM * _medial_distance(points, inward, surface[np.unique(triangles)])
    tets, depth = _prisms(skin, len(vertices), layers), np.linspace(0, 1, layers + 1)
    edges = np.unique(np.sort(skin[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    thickness = np.minimum(room, MOST_M)
    for _ in range(200):
        thickness = _tapered(thickness, edges, lengths)
        shell = Shell(
            vertices, skin, _rim(skin, edges, len(vertices)), thickness[:, None] * inward, depth, tets
        )
        flat = _too_flat(shell, points)
        if not flat.any():
            return shell
        thickness[np.unique(tets[flat] % len(vertices))] *= 0.8
    raise ChainRigError("No flesh without inverted tetrahedra fits under the skin: its mesh is too folded.")


def _most_normal(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (S, 3) into the surface, and the least cosine (S,) between them and the triangles'.

    The centre of the smallest ball around the normals, by Bădoiu and Clarkson's iteration.
    """
    normals = _normals(points, triangles)
    corner, face = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    order = np.argsort(corner, kind="stable")
    corner, face = corner[order], face[order]
    start = np.flatnonzero(np.r_[True, corner[1:] != corner[:-1]])
    centre = np.add.reduceat(normals[face], start) / np.diff(np.r_[start, len(corner)])[:, None]
    for i in range(300):
        apart = 1 - (centre[corner] * normals[face]).sum(1)
        furthest = np.flatnonzero(apart == np.maximum.reduceat(apart, start)[corner])
        first = furthest[np.unique(corner[furthest], return_index=True)[1]]
        centre += (normals[face[first]] - centre) / (i + 2)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    least = np.minimum.reduceat((centre[corner] * normals[face]).sum(1), start)
    return -centre, least


def _medial_distance(points: np.ndarray, inward: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(S,) radius of the largest ball inside that touches the surface at each point: least |d|²/2d·n."""
    radius = np.empty(len(points))
    for i, (point, direction) in enumerate(zip(points, inward, strict=True)):
        away = others - point
        along = 2 * away @ direction
        ahead = along > 1e-6
        radius[i] = np.min((away[ahead] ** 2).sum(1) / along[ahead], initial=1.0)
    return radius


def _prisms(triangles: np.ndarray, count: int, layers: int) -> np.ndarray:
    """Tetrahedra (3 · F · layers, 4). Sorted corners make neighbours split their common face alike."""
    order = np.argsort(triangles, axis=1)
    corners = np.take_along_axis(triangles, order, 1)
    odd = (order[:, 1] - order[:, 0]) % 3 != 1  # the sorted triangle faces inward
    prism = np.concatenate([corners, corners + count], axis=1)
    tets = np.stack([prism[:, split] for split in _SPLIT], axis=1)  # [F, 3, 4]
    tets[~odd] = tets[~odd][..., [1, 0, 2, 3]]
    return np.concatenate([tets.reshape(-1, 4) + count * layer for layer in range(layers)])


def _tapered(thickness: np.ndarray, edges: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    while True:
        before = thickness.copy()
        for a, b in (edges.T, edges.T[::-1]):
            np.minimum.at(thickness, a, thickness[b] + TAPER * lengths)
        if np.allclose(before, thickness, rtol=1e-3):
            return thickness


def _too_flat(shell: Shell, points: np.ndarray) -> np.ndarray:
    """(T,) bool."""
    nodes, tets = shell.nodes(points), shell.tets
    edges = nodes[tets[:, 1:]] - nodes[tets[:, :1]]
    volume = np.einsum("ti,ti->t", edges[:, 0], np.cross(edges[:, 1], edges[:, 2])) / 6
    skin = points[shell.triangles]
    area = np.linalg.norm(np.cross(skin[:, 1] - skin[:, 0], skin[:, 2] - skin[:, 0]), axis=1) / 2
    layers = len(shell.depth) - 1
    upright = shell.thickness[np.sort(shell.triangles, axis=1)[:, _UPRIGHT]] / layers  # [F, 3]
    return volume < LEAST_VOLUME * np.tile((area[:, None] * upright / 3).ravel(), layers)


def _rim(triangles: np.ndarray, edges: np.ndarray, count: int) -> np.ndarray:
    sides = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    once = np.unique(sides, axis=0, return_counts=True)[1] == 1
    rim = np.zeros(count, dtype=bool)
    rim[edges[once].ravel()] = True
    return rim


def _normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = points[triangles].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
