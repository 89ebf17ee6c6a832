"""Shows a .glb, or plays its animation, by the glTF 2.0 specification, from its bytes alone."""

import json
import struct
from typing import Any

import numpy as np
import roma
import torch

WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
TYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


class Player:
    """A document and its animation, if it has one.

    Attributes:
        document: the JSON chunk.
        times: seconds of the keys.
        tracks: (node's name, path) → values, a row a key.
    """

    def __init__(self, data: bytes) -> None:
        length = struct.unpack_from("<I", data, 12)[0]
        self.document: dict[str, Any] = json.loads(data[20 : 20 + length])
        self.blob = data[28 + length :]
        self.tracks = {}
        channels = [
            (each, channel) for each in self.document.get("animations", []) for channel in each["channels"]
        ]
        for animation, channel in channels:
            sampler, target = animation["samplers"][channel["sampler"]], channel["target"]
            self.times = self.array(sampler["input"]).ravel()
            rows = self.array(sampler["output"]).reshape(len(self.times), -1)
            self.tracks[self.document["nodes"][target["node"]]["name"], target["path"]] = rows

    def array(self, accessor: int) -> np.ndarray:
        told = self.document["accessors"][accessor]
        width, count = WIDTHS[told["type"]], told["count"]
        found = np.zeros((count, width))
        if "bufferView" in told:
            found = self._view(
                told["bufferView"], told.get("byteOffset", 0), told["componentType"], count, width
            )
        if (sparse := told.get("sparse")) is not None:
            at, values = sparse["indices"], sparse["values"]
            n = sparse["count"]
            rows = self._view(at["bufferView"], at.get("byteOffset", 0), at["componentType"], n, 1)
            found = found.copy()
            found[rows.ravel()] = self._view(
                values["bufferView"], values.get("byteOffset", 0), 5126, n, width
            )
        return found

    def _view(self, view: int, offset: int, component: int, count: int, width: int) -> np.ndarray:
        start = self.document["bufferViews"][view].get("byteOffset", 0) + offset
        return np.frombuffer(self.blob, TYPES[component], count * width, start).reshape(count, width)

    def vertices(self, key: int, name: str) -> np.ndarray:
        """(V, 3) in the scene's space, in the order of the integers that an attribute holds.

        Args:
            key: of the animation; without one, any.
        """
        (mesh,) = self.document["meshes"]
        weights = [rows[key] for (_, path), rows in self.tracks.items() if path == "weights"] or [
            mesh["weights"]
        ]
        world = self._world(key)
        joints = np.zeros((0, 4, 4))
        for skin in self.document.get("skins", []):
            inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
            joints = np.stack([world[node] for node in skin["joints"]]) @ inverse
        found: dict[int, np.ndarray] = {}
        for primitive in mesh["primitives"]:
            own = primitive["attributes"]
            points = self.array(own["POSITION"]).astype(float)
            for weight, target in zip(weights[0], primitive["targets"], strict=True):
                points = points + weight * self.array(target["POSITION"])
            points = np.concatenate([points, np.ones((len(points), 1))], 1)
            moved = np.zeros((len(points), 3))
            if not len(joints):  # it stands where its node does
                (node,) = (k for k, one in enumerate(self.document["nodes"]) if "mesh" in one)
                moved = (points @ world[node].T)[:, :3]
            for k in range(sum(name.startswith("JOINTS_") for name in own)):
                slots, shares = self.array(own[f"JOINTS_{k}"]), self.array(own[f"WEIGHTS_{k}"])
                each = np.einsum("vjab,vb->vja", joints[slots.astype(int)], points)[..., :3]
                moved += (shares[..., None] * each).sum(1)
            found |= dict(zip(self.array(own[name]).ravel().astype(int).tolist(), moved, strict=True))
        return np.stack([found[index] for index in sorted(found)])

    def _world(self, key: int) -> dict[int, np.ndarray]:
        """Node → matrix."""
        found: dict[int, np.ndarray] = {}

        def visit(index: int, above: np.ndarray) -> None:
            node = self.document["nodes"][index]
            matrix = np.eye(4)
            turn = self._value(node, "rotation", key, [0.0, 0.0, 0.0, 1.0])
            matrix[:3, :3] = roma.unitquat_to_rotmat(torch.tensor(turn)).numpy()
            matrix[:3, 3] = self._value(node, "translation", key, [0.0, 0.0, 0.0])
            found[index] = above @ matrix
            for child in node.get("children", []):
                visit(child, found[index])

        for root in self.document["scenes"][self.document["scene"]]["nodes"]:
            visit(root, np.eye(4))
        return found

    def _value(self, node: dict[str, Any], path: str, key: int, rest: list[float]) -> np.ndarray:
        rows = self.tracks.get((node["name"], path))
        return np.asarray(node.get(path, rest) if rows is None else rows[key], float)
