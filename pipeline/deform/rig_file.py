"""The bytes of a rig: one npz, described in docs/rigs.md.

Names are strings, indices small integers. Deltas of shapes lie there in one of three ways: as an array of
floats; as int16 multiples of `delta_unit` metres; or, where most vertices stand still, as what moves only:
`X.vertex` (M,) and `X.value` (M, 3), of which shape k has the rows `X.start[k]` to `X.start[k + 1]`.
"""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ChainRigError

FORMAT = "chainrig.rig/1"
PICTURES = ("albedo", "paint")
_SINGLE = ("skinning", "source")


def read(file: Path) -> dict[str, Any]:
    """Field → value: float32, int64 or uint8 (albedo) tensors, tuples of names, or a word.

    Raises:
        ChainRigError: the file is missing, cannot be read, or is of a format that is not known.
    """
    arrays = _arrays(file)
    written = str(arrays.pop("format", FORMAT))
    if written != FORMAT:
        raise ChainRigError(f"The rig file {file} has the format {written!r}: this version reads {FORMAT}.")
    try:
        for name in [name.removesuffix(".value") for name in arrays if name.endswith(".value")]:
            start, vertex, value = (arrays.pop(f"{name}.{part}") for part in ("start", "vertex", "value"))
            arrays[name] = _dense(start, vertex, value, len(arrays["rest"]))
        return {name: _as_field(name, array, arrays.get("delta_unit")) for name, array in arrays.items()}
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ChainRigError(f"The rig file {file} cannot be read ({error}): import the rig again.") from None


def write(file: Path, values: dict[str, Any]) -> None:
    """Writes what `read` reads; None and empty fields are left out, time stamps are fixed.

    Raises:
        ChainRigError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {"format": np.array(FORMAT)}
    for name, value in values.items():
        if isinstance(value, str):
            arrays |= {name: np.array(value)} if value else {}
        elif isinstance(value, tuple):
            arrays[name] = np.array(value, dtype=np.str_)
        elif isinstance(value, Tensor):
            arrays |= _packed(name, value.detach().cpu().numpy())
    try:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_bytes(buffer.getvalue())
        part.replace(file)
    except OSError as refused:
        raise ChainRigError(
            f"The rig cannot be written to {file} ({refused.strerror or refused}): choose another --out."
        ) from None


def _arrays(file: Path) -> dict[str, np.ndarray]:
    if file.is_file() and not zipfile.is_zipfile(file):
        raise ChainRigError(
            f"The rig file {file} cannot be read: it is no whole .npz archive; chainrig rig import makes one."
        )
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ChainRigError(f"There is no rig file {file}: check the path.") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ChainRigError(f"The rig file {file} cannot be read ({error}): copy or rebuild it.") from None


def _as_field(name: str, array: np.ndarray, delta_unit: np.ndarray | None) -> Any:
    if array.dtype.kind == "U":
        return str(array) if name in _SINGLE else tuple(array.tolist())
    if array.dtype == np.int16 and delta_unit is not None:
        return torch.from_numpy(array.astype(np.float32) * np.float32(delta_unit))
    if array.dtype.kind == "f":
        if array.size == 0 and name.endswith("_names"):
            return ()
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(np.uint8 if name in PICTURES else np.int64))


def _packed(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
        if name.endswith("_deltas") and not name.startswith("joint") and array.size:
            moved = (array != 0).any(-1)  # [K, V]
            if moved.mean() < 0.5:
                start = np.concatenate([[0], moved.sum(1).cumsum()])
                sparse = {"start": start, "vertex": np.nonzero(moved)[1], "value": array[moved]}
                return {f"{name}.{part}": _small(value) for part, value in sparse.items()}
        return {name: array}
    return {name: array if name in PICTURES else _small(array)}


def _dense(start: np.ndarray, vertex: np.ndarray, value: np.ndarray, vertices: int) -> np.ndarray:
    shape = np.repeat(np.arange(len(start) - 1), np.diff(start.astype(np.int64)))
    found = np.zeros((len(start) - 1, vertices, 3), np.float32)
    found[shape, vertex] = value
    return found


def _small(array: np.ndarray) -> np.ndarray:
    """Integers in the smallest type that holds them."""
    if array.dtype.kind != "i" or not array.size or array.min() < 0:
        return array
    return array.astype(np.min_scalar_type(int(array.max())))
