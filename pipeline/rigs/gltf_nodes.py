"""The tree of nodes of a glTF file, and the skeleton in it."""

from pathlib import Path

import numpy as np
import roma
import torch
from pygltflib import GLTF2, Node

from pipeline.errors import ChainRigError
from pipeline.rigs.gltf_accessors import Accessors


def world_matrices(gltf: GLTF2, file: Path) -> dict[int, np.ndarray]:
    """Node → (4, 4), of all nodes of the scene that is shown.

    Raises:
        ChainRigError: a node is its own ancestor, or is not there.
    """
    nodes: list[Node] = gltf.nodes or []
    scenes = gltf.scenes or []
    if scenes:
        roots = list(scenes[gltf.scene or 0].nodes or [])
    else:
        children = {child for node in nodes for child in node.children or []}
        roots = [number for number in range(len(nodes)) if number not in children]
    found: dict[int, np.ndarray] = {}
    open_ = [(root, np.eye(4)) for root in roots]
    while open_:
        number, above = open_.pop()
        if not 0 <= number < len(nodes) or number in found:
            raise ChainRigError(f"{file} is damaged: its nodes are no tree; export it again.")
        found[number] = above @ _local(nodes[number])
        open_ += [(child, found[number]) for child in nodes[number].children or []]
    return found


def bound_matrices(gltf: GLTF2, accessors: Accessors) -> dict[int, np.ndarray]:
    """Node → (4, 4), of joints and meshes as they were bound: at rest, whatever the file shows.

    Raises:
        ValueError: inverse bind matrices are none.
    """
    found = {number: np.eye(4) for number, node in enumerate(gltf.nodes or []) if node.mesh is not None}
    for skin in gltf.skins or []:
        inverse = accessors.array(skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        found |= dict(zip(skin.joints or [], np.linalg.inv(inverse.astype(np.float64)), strict=True))
    return found


def _local(node: Node) -> np.ndarray:
    if node.matrix:
        return np.array(node.matrix, np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    turn = torch.tensor(node.rotation or [0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    matrix[:3, :3] = roma.unitquat_to_rotmat(turn / turn.norm()).numpy() * (node.scale or [1.0, 1.0, 1.0])
    matrix[:3, 3] = node.translation or [0.0, 0.0, 0.0]
    return matrix


class Skeleton:
    """The joints of all skins together, parents first.

    Attributes:
        names, parents: of the J joints; −1 is a root.
        rest: (J, 3) where they are at rest.
    """

    def __init__(self, gltf: GLTF2, accessors: Accessors, world: dict[int, np.ndarray]) -> None:
        self._gltf, self._accessors, self._world = gltf, accessors, world
        nodes: list[Node] = gltf.nodes or []
        above = {child: number for number, node in enumerate(nodes) for child in node.children or []}
        self._above = above
        joints = {joint for skin in gltf.skins or [] for joint in skin.joints or [] if joint in world}

        def depth(number: int) -> int:
            steps = 0
            while number in above:
                number, steps = above[number], steps + 1
            return steps

        self._nodes = sorted(joints, key=lambda number: (depth(number), number))
        self._place = {number: place for place, number in enumerate(self._nodes)}
        self.names = [nodes[number].name or f"joint{number}" for number in self._nodes]
        self.parents = [self._nearest(above.get(number)) for number in self._nodes]
        self.rest = np.array([world[number][:3, 3] for number in self._nodes]).reshape(-1, 3)

    def _nearest(self, number: int | None) -> int:
        """The joint at a node or above it; −1 if there is none."""
        while number is not None and number not in self._place:
            number = self._above.get(number)
        return -1 if number is None else self._place[number]

    def matrices(self, skin: int) -> np.ndarray:
        """(joints of the skin, 4, 4): what carries a vertex from the mesh's space to where it is shown."""
        found = self._accessors.item("skins", skin)
        joints = found.joints or []
        if any(joint not in self._place for joint in joints):
            raise self._accessors.damaged("a skin has a joint that the scene does not show")
        world = np.array([self._world[joint] for joint in joints])
        if found.inverseBindMatrices is None:
            return world
        inverse = self._accessors.array(found.inverseBindMatrices).astype(np.float64)
        if inverse.shape != (len(joints), 16) or not np.isfinite(inverse).all():
            raise self._accessors.damaged(f"a skin of {len(joints)} joints has other inverse bind matrices")
        return world @ inverse.reshape(-1, 4, 4).swapaxes(1, 2)

    def dense(self, skin: int | None, slots: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """(V, J) weights from slots in a skin, (V, k) each."""
        joints = self._accessors.item("skins", skin).joints
        place = np.array([self._place[joint] for joint in joints])[slots]
        weights = np.zeros((len(slots), len(self.names)))
        np.add.at(weights, (np.arange(len(slots))[:, None], place), shares)
        return weights

    def rigid(self, node: int, count: int) -> np.ndarray:
        """(V, J): all of it with the joint that the node hangs on, or with the first."""
        weights = np.zeros((count, len(self.names)))
        if self.names:
            weights[:, max(self._nearest(node), 0)] = 1
        return weights
