"""Small GLB files, written byte by byte: nothing of the exporter that they test is used."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
COMPONENTS = {"u1": 5121, "u2": 5123, "u4": 5125, "f4": 5126}


class Glb:
    """A document under construction; `document` may be changed at will before it is written."""

    def __init__(self) -> None:
        self.blob = b""
        self.document: dict[str, Any] = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": []}

    def view(self, data: bytes) -> int:
        self.document["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        )
        self.blob += data + b"\0" * (-len(data) % 4)
        return len(self.document["bufferViews"]) - 1

    def accessor(self, array: Any, kind: str = "f4", **more: Any) -> int:
        rows = np.asarray(array, f"<{kind}")
        rows = rows.reshape(len(rows), -1)
        view = self.view(rows.tobytes())
        return self.describe(rows, kind, bufferView=view, **more)

    def sparse(self, count: int, rows: Any, values: Any) -> int:
        """Of (count, 3) floats, zero but for some rows."""
        index = self.view(np.asarray(rows, "<u2").tobytes())
        value = self.view(np.asarray(values, "<f4").tobytes())
        where = {
            "count": len(rows),
            "indices": {"bufferView": index, "componentType": 5123},
            "values": {"bufferView": value},
        }
        return self.describe(np.zeros((count, 3)), "f4", sparse=where)

    def describe(self, rows: np.ndarray, kind: str, **more: Any) -> int:
        self.document["accessors"].append(
            {"componentType": COMPONENTS[kind], "count": len(rows), "type": KINDS[rows.shape[1]], **more}
        )
        return len(self.document["accessors"]) - 1

    def write(self, file: Path) -> Path:
        self.document["buffers"] = [{"byteLength": len(self.blob)}]
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.blob), b"BIN\0") + self.blob
        file.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return file


POINTS = np.array(
    [[0, 0, 0.1], [0.1, 0, 0.1], [0, 0.1, 0.1], [0.1, 0, 0.1], [0.1, 0.1, 0.1], [0, 0.1, 0.1]], np.float32
)  # two triangles of a square, the shared edge's corners twice, as texture seams make them


def square(skinned: bool = True) -> Glb:
    """A square of two triangles with a morph target `smile_L` (sparse) and `JawOpen`, skinned to two
    joints."""
    glb = Glb()
    document = glb.document
    down = np.tile(np.array([0, -0.01, 0]), (6, 1))
    attributes = {
        "POSITION": glb.accessor(POINTS),
        "TEXCOORD_0": glb.accessor(np.random.default_rng(0).random((6, 2))),
    }
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": glb.accessor([0, 1, 2, 3, 4, 5], "u2"),
        "targets": [
            {"POSITION": glb.sparse(6, [1, 3], [[0.004, 0.002, 0]] * 2)},
            {"POSITION": glb.accessor(down)},
        ],
    }
    mesh = {"name": "face", "primitives": [primitive], "extras": {"targetNames": ["smile_L", "JawOpen"]}}
    document["meshes"] = [mesh]
    document["nodes"] = [{"name": "face", "mesh": 0}]
    document["scenes"], document["scene"] = [{"nodes": [0]}], 0
    if skinned:
        attributes["JOINTS_0"] = glb.accessor([[0, 1, 0, 0]] * 6, "u1")
        attributes["WEIGHTS_0"] = glb.accessor([[0.25, 0.75, 0, 0]] * 6)
        document["nodes"] = [
            {"name": "face", "mesh": 0, "skin": 0},
            {"name": "Head", "translation": [0, -0.1, 0], "children": [2]},
            {"name": "Jaw", "translation": [0, 0.05, 0.02]},
        ]
        document["scenes"] = [{"nodes": [0, 1]}]
        inverse = np.tile(np.eye(4), (2, 1, 1))
        inverse[0, :3, 3], inverse[1, :3, 3] = [0, 0.1, 0], [0, 0.05, -0.02]
        document["skins"] = [
            {
                "joints": [1, 2],
                "inverseBindMatrices": glb.accessor(inverse.swapaxes(1, 2).reshape(2, 16)),
            }
        ]
    return glb
