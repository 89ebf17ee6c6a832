"""The numbers in a glTF file: buffers, buffer views and accessors, each checked before it is believed."""

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from pygltflib import GLTF2, Accessor

from pipeline.errors import ChainRigError

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MOST = 2**28  # numbers in one accessor: a gigabyte of floats


class Accessors:
    """Reads arrays of one file; every buffer is read once.

    Args:
        gltf: the document, with the binary chunk of a GLB.
        file: where it lies: other files must lie in the same folder, or below it.
    """

    def __init__(self, gltf: GLTF2, file: Path) -> None:
        self.gltf, self.file = gltf, file
        self._buffers: dict[int, bytes] = {}

    def array(self, index: int | None) -> np.ndarray:
        """(count, width) of an accessor; floats, normalised integers as floats, or integers.

        Raises:
            ChainRigError: it points beyond its buffer or the file, or is of an unknown type.
        """
        accessor = self.item("accessors", index)
        width, dtype = WIDTHS.get(accessor.type), COMPONENTS.get(accessor.componentType)
        if width is None or dtype is None:
            raise self.damaged(f"accessor {index} has the type {accessor.type}/{accessor.componentType}")
        count = int(accessor.count)
        if not 0 <= count * width <= MOST:
            raise self.damaged(f"accessor {index} claims {count} elements")
        if accessor.bufferView is None:
            values = np.zeros((count, width), np.dtype(dtype))
        else:
            values = self._view(accessor.bufferView, accessor.byteOffset or 0, count, width, dtype)
        if accessor.sparse is not None:
            values = self._with_sparse(values, accessor, width, dtype)
        if accessor.normalized and values.dtype.kind in "iu":
            most = np.iinfo(values.dtype).max
            return np.maximum(values.astype(np.float64) / most, -1.0)
        return values

    def bytes_of_view(self, index: int) -> bytes:
        """All bytes of a buffer view, such as a picture's."""
        view = self.item("bufferViews", index)
        start = view.byteOffset or 0
        data = self._buffer(view.buffer)
        if not 0 <= start <= start + view.byteLength <= len(data):
            raise self.damaged(f"buffer view {index} ends beyond its buffer")
        return data[start : start + view.byteLength]

    def bytes_of_uri(self, uri: str) -> bytes:
        """Of a data URI, or of a file in the folder of the glTF file.

        Raises:
            ChainRigError: the URI leads elsewhere, or nowhere.
        """
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(",")[2], validate=True)
            except binascii.Error:
                raise self.damaged("a data URI is not base64") from None
        path, folder = unquote(uri), self.file.parent.resolve()
        place = (folder / path).resolve()
        if "://" in uri or "\\" in path or "\0" in path or not place.is_relative_to(folder):
            raise ChainRigError(
                f"{self.file} asks for '{uri[:80]}', which is outside of its folder: put the file beside "
                "it, or "
                "save it as one .glb."
            )
        try:
            return place.read_bytes()
        except OSError as refused:
            raise ChainRigError(
                f"{self.file} needs the file '{uri[:80]}' beside it, which cannot be read "
                f"({refused.strerror}): copy it there, or save it as one .glb."
            ) from None

    def damaged(self, what: str) -> ChainRigError:
        return ChainRigError(f"{self.file} is damaged: {what}; export it again.")

    def item(self, kind: str, index: int | None) -> Any:
        """Number `index` of the document's `kind`, such as "meshes". Raises ChainRigError: there is none."""
        items = getattr(self.gltf, kind) or []
        if not isinstance(index, int) or not 0 <= index < len(items):
            raise self.damaged(f"it points at number {index} of {len(items)} {kind}")
        return items[index]

    def _with_sparse(self, values: np.ndarray, accessor: Accessor, width: int, dtype: str) -> np.ndarray:
        sparse = accessor.sparse
        assert sparse is not None and sparse.indices is not None and sparse.values is not None
        count, kind = int(sparse.count), COMPONENTS.get(sparse.indices.componentType or 0, "<u4")
        if not 0 <= count <= len(values):
            raise self.damaged(f"a sparse accessor sets {count} of {len(values)} elements")
        rows = self._view(sparse.indices.bufferView, sparse.indices.byteOffset or 0, count, 1, kind)[:, 0]
        if count and int(rows.max()) >= len(values):
            raise self.damaged(f"a sparse accessor sets element {int(rows.max())} of {len(values)}")
        values = values.copy()
        values[rows] = self._view(
            sparse.values.bufferView, sparse.values.byteOffset or 0, count, width, dtype
        )
        return values

    def _view(self, index: int | None, offset: int, count: int, width: int, dtype: str) -> np.ndarray:
        view = self.item("bufferViews", index)
        data, kind = self._buffer(view.buffer), np.dtype(dtype)
        stride = view.byteStride or width * kind.itemsize
        start = (view.byteOffset or 0) + offset
        end = start + (count - 1) * stride + width * kind.itemsize if count else start
        limit = min(len(data), (view.byteOffset or 0) + view.byteLength)
        if min(start, offset) < 0 or stride < width * kind.itemsize or end > limit:
            raise self.damaged(f"an accessor ends at byte {end} of {limit}")
        whole = np.frombuffer(data, np.uint8)[start:end]
        rows = np.lib.stride_tricks.as_strided(
            whole, (count, width * kind.itemsize), (stride, 1), writeable=False
        )
        return np.ascontiguousarray(rows).view(kind).reshape(count, width)

    def _buffer(self, index: int | None) -> bytes:
        buffer = self.item("buffers", index)
        assert index is not None
        if index not in self._buffers:
            data = self.bytes_of_uri(buffer.uri) if buffer.uri else self.gltf.binary_blob() or b""
            if len(data) < (buffer.byteLength or 0):
                raise self.damaged(f"it has {len(data)} of {buffer.byteLength} bytes of its buffer {index}")
            self._buffers[index] = data
        return self._buffers[index]
