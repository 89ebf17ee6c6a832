"""Puts arrays into the binary chunk of a GLB."""

import numpy as np
from pygltflib import (
    GLTF2,
    Accessor,
    AccessorSparseIndices,
    AccessorSparseValues,
    Buffer,
    BufferView,
    Sparse,
)

COMPONENT = {"u1": 5121, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
ARRAY, INDEX = 34962, 34963  # buffer view targets
SPARSE_BELOW = 0.6  # of the rows that are not zero


class BufferWriter:
    """Collects accessors of a document; `finish` sets its binary chunk."""

    def __init__(self, gltf: GLTF2) -> None:
        self.gltf = gltf
        self._chunks: list[bytes] = []
        self._length = 0
        # What sparse accessors hold lies in two views for all of them: thousands would be slow to read.
        self._indices, self._values = bytearray(), bytearray()
        gltf.bufferViews = [BufferView(buffer=0), BufferView(buffer=0)]

    def add(self, array: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """The accessor of (n,) or (n, width) numbers.

        Args:
            target: `ARRAY`, `INDEX` or None.
            bounds: with the least and the greatest of each column, which glTF wants for positions and times.
        """
        rows = np.ascontiguousarray(array).reshape(len(array), -1)
        view = self.view(rows.tobytes(), target)
        return self._accessor(rows, view, None, bounds)

    def add_deltas(self, deltas: np.ndarray) -> int:
        """The accessor of a morph target's (n, 3) float32: sparse where most of it is zero."""
        rows = np.ascontiguousarray(deltas, np.float32)
        moved = np.flatnonzero(rows.any(1))
        if len(moved) > SPARSE_BELOW * len(rows):
            return self._accessor(rows, self.view(rows.tobytes(), ARRAY), None, True)
        if not len(moved):  # without a buffer view an accessor is zero
            return self._accessor(rows, None, None, True)
        index = moved.astype(np.uint32 if len(rows) > 65535 else np.uint16)
        indices, values = len(self._indices), len(self._values)
        sparse = Sparse(
            count=len(moved),
            indices=AccessorSparseIndices(bufferView=0, byteOffset=indices, componentType=_component(index)),
            values=AccessorSparseValues(bufferView=1, byteOffset=values),
        )
        self._indices += _padded(index.tobytes())
        self._values += rows[moved].tobytes()
        return self._accessor(rows, None, sparse, True)

    def view(self, data: bytes, target: int | None = None) -> int:
        """The buffer view of bytes, on a border of four."""
        self.gltf.bufferViews.append(self._placed(data, target))
        return len(self.gltf.bufferViews) - 1

    def finish(self) -> None:
        for number, data in enumerate((self._indices, self._values)):  # a view is not empty
            self.gltf.bufferViews[number] = self._placed(bytes(data or b"\0\0\0\0"), None)
        self.gltf.buffers = [Buffer(byteLength=self._length)]
        self.gltf.set_binary_blob(b"".join(self._chunks))

    def _placed(self, data: bytes, target: int | None) -> BufferView:
        view = BufferView(buffer=0, byteOffset=self._length, byteLength=len(data), target=target)
        self._chunks.append(_padded(data))
        self._length += len(self._chunks[-1])
        return view

    def _accessor(self, rows: np.ndarray, view: int | None, sparse: Sparse | None, bounds: bool) -> int:
        accessor = Accessor(
            bufferView=view,
            byteOffset=0 if view is not None else None,
            componentType=_component(rows),
            count=len(rows),
            type=KINDS[rows.shape[1]],
            sparse=sparse,
        )
        if bounds:
            accessor.min, accessor.max = rows.min(0).tolist(), rows.max(0).tolist()
        self.gltf.accessors.append(accessor)
        return len(self.gltf.accessors) - 1


def _component(array: np.ndarray) -> int:
    return COMPONENT[f"{array.dtype.kind}{array.dtype.itemsize}"]


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
