"""Reads the arrays of a pickle without running anything that the pickle asks for.

A pickle is a program: it may name any function of any module and call it. Here it may name only what arrays
are made of, and gets inert containers in place of all of it: numpy's own types would let it read and write
memory where it likes. What the containers were told is turned into arrays afterwards.
"""

import pickle
import re
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


class _Array(_State):
    """numpy.ndarray: its state is (version, shape, type, whether columns come first, bytes)."""

    def numbers(self) -> np.ndarray:
        _, shape, dtype, by_column, data = self.held
        found = np.frombuffer(_bytes(data), dtype.plain())
        return found.reshape(tuple(shape), order="F" if by_column else "C").copy()


class _Type(_State):
    """numpy.dtype: its state has the order of bytes in the second place."""

    def __init__(self, code: Any = "", *arguments: Any) -> None:
        self.code, self.held = str(code), {}

    def plain(self) -> np.dtype:
        """Raises TypeError for what is no number: objects are pointers."""
        order = str(self.held[1]) if isinstance(self.held, tuple) else "|"
        if not re.fullmatch(r"[fiub][1248]", self.code) or order not in "<>|=":
            raise TypeError(f"an array of {self.code!r}")
        return np.dtype(order + self.code)


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


def _array(kind: Any, shape: Any, code: Any) -> _Array:
    """numpy's _reconstruct: an empty array, whose contents come with its state."""
    return _Array()


def _buffered(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """numpy's _frombuffer, as protocol 5 has arrays."""
    found = _Array()
    found.held = (1, shape, dtype, order == "F", data)
    return found


def _scalar(dtype: Any, data: Any) -> Any:
    return np.frombuffer(_bytes(data), dtype.plain())[0]


def _bytes(data: Any) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        package = module.split(".")[0]
        if package == "numpy":
            allowed = {
                "ndarray": _Array,
                "dtype": _Type,
                "_reconstruct": _array,
                "_frombuffer": _buffered,
                "scalar": _scalar,
            }
            if name in allowed:
                return allowed[name]
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
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, MemoryError) as error:
        raise ChainRigError(f"{file} holds a damaged array ({error!r:.80}): get it again.") from None
    return {name: value for name, value in arrays.items() if value is not None}


def _dense(value: Any) -> np.ndarray | str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, _Array):
        _, _, dtype, _, _ = value.held
        return value.numbers() if re.match("[fiub]", dtype.code) else None
    if isinstance(value, _Chumpy):
        held = value.held[1] if isinstance(value.held, tuple) else value.held
        x = held.get("x")
        return x.numbers().astype(np.float64) if isinstance(x, _Array) else None
    if isinstance(value, _Coordinates):
        found = np.zeros(_shape(value))
        coordinates = value.held.get("coords") or (value.held["row"], value.held["col"])
        rows, columns = (one.numbers() for one in coordinates)
        np.add.at(found, (rows, columns), value.held["data"].numbers())
        return found
    if isinstance(value, _Compressed):
        starts, indices, data = (value.held[name].numbers() for name in ("indptr", "indices", "data"))
        outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        found = np.zeros(_shape(value))
        np.add.at(found, (indices, outer) if value.by_column else (outer, indices), data)
        return found
    return None


def _shape(value: _State) -> tuple[int, ...]:
    return tuple(value.held.get("_shape") or value.held["shape"])
