"""Reads the arrays of a pickle without running anything that the pickle asks for.

A pickle is a program: it may name any function of any module and call it. Here it may name only what arrays
are made of; those of scipy and chumpy become plain containers that are turned into arrays afterwards.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ChainRigError


class _State:
    """An object of which only what it held is kept."""

    def __init__(self, *arguments: Any) -> None:
        self.held: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.held = state


class _Chumpy(_State):
    """chumpy.Ch: its value is `x`."""


class _Compressed(_State):
    """scipy.sparse: csc or csr, told apart by the name of the class."""

    by_column = True


class _CompressedRows(_Compressed):
    by_column = False


class _Coordinates(_State):
    """scipy.sparse: coo."""


def _rebuilt(kind: type, base: type, state: Any) -> Any:
    """copyreg._reconstructor, of our own containers only."""
    if not (isinstance(kind, type) and issubclass(kind, _State)):
        raise pickle.UnpicklingError("an object of another kind")
    return kind()


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """_codecs.encode, as numpy writes bytes in old protocols."""
    return str(text).encode("latin1")


def _array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """numpy's _reconstruct: an empty array, whose contents come with its state."""
    return np.ndarray((0,), np.int8)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        package = module.split(".")[0]
        if package == "numpy":
            allowed = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": _array}
            if name in allowed:
                return allowed[name]
            if name == "scalar":
                return _scalar
        if package == "scipy" and name in ("csc_matrix", "csc_array"):
            return _Compressed
        if package == "scipy" and name in ("csr_matrix", "csr_array"):
            return _CompressedRows
        if package == "scipy" and name in ("coo_matrix", "coo_array"):
            return _Coordinates
        if package == "chumpy":
            return _Chumpy
        if (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return _rebuilt
        if (module, name) in (("__builtin__", "object"), ("builtins", "object")):
            return object
        if (module, name) == ("_codecs", "encode"):
            return _encoded
        raise ChainRigError(f"it asks for {module}.{name}")


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype)[0]


def read_pickle(file: Path) -> dict[str, np.ndarray | str]:
    """Name → array, of a pickled dict of numpy, scipy.sparse or chumpy arrays.

    Raises:
        ChainRigError: the file asks for anything else (which is not run), is damaged, or holds no dict.
    """
    try:
        with file.open("rb") as stream:
            found = _Unpickler(stream, encoding="latin1").load()
    except ChainRigError as refused:
        raise ChainRigError(
            f"{file} was not read: {refused}, which is no array and could be any program; get the model from "
            "its makers again."
        ) from None
    except OSError as refused:
        raise ChainRigError(f"{file} cannot be read ({refused.strerror}): check the path.") from None
    except Exception as error:  # a damaged pickle may end in any exception
        raise ChainRigError(f"{file} is no pickle of arrays ({error!r:.100}): get it again.") from None
    if not isinstance(found, dict):
        raise ChainRigError(f"{file} holds no named arrays: give a FLAME model.")
    try:
        arrays = {str(name): _dense(value) for name, value in found.items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ChainRigError(f"{file} holds a damaged array ({error!r:.80}): get it again.") from None
    return {name: value for name, value in arrays.items() if value is not None}


def _dense(value: Any) -> np.ndarray | str | None:
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "fiub" else None
    if isinstance(value, str):
        return value
    if isinstance(value, _Chumpy):
        held = value.held[1] if isinstance(value.held, tuple) else value.held
        return np.asarray(held["x"], np.float64) if isinstance(held.get("x"), np.ndarray) else None
    if isinstance(value, _Coordinates):
        shape = value.held.get("_shape") or value.held["shape"]
        found = np.zeros(shape)
        rows, columns = value.held.get("coords") or (value.held["row"], value.held["col"])
        np.add.at(found, (rows, columns), value.held["data"])
        return found
    if isinstance(value, _Compressed):
        shape = tuple(value.held.get("_shape") or value.held["shape"])
        starts, indices = np.asarray(value.held["indptr"]), np.asarray(value.held["indices"])
        outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        found = np.zeros(shape)
        np.add.at(found, (indices, outer) if value.by_column else (outer, indices), value.held["data"])
        return found
    return None
