"""A face rig as data: its mesh, shapes, skeleton and landmark embedding."""

import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import assets
from pipeline.controls import ControlSpace
from pipeline.errors import ChainRigError


@dataclass(frozen=True)
class Rig:
    """All that is fixed about a head: y up, face toward +z, subject's left = +x, origin between the eyes.

    Lengths are metres. V vertices, T texture coordinates, F triangles, E expressions, N identity controls,
    J joints, L landmarks.

    In the file (a compressed npz written by scripts/build_rig.py) the three `*_deltas` are int16 multiples of
    `delta_unit` metres (20 µm: at most 0.01 mm off), indices are small unsigned integers, names are strings.

    Attributes:
        rest: (V, 3) the mean head: an androgynous average adult.
        triangles: (F, 3) vertex indices, counter-clockwise seen from outside.
        uv: (T, 2) in [0, 1], v up; no two charts overlap.
        uv_triangles: (F, 3) indices into uv.
        part_names: names of the mesh's parts (skin, eye_left, teeth_upper, …).
        part_of_triangle: (F,) index into part_names.
        expression_names: E ARKit names.
        expression_deltas: (E, V, 3) of control = 1, to be added before skinning.
        identity_names: N names.
        identity_deltas: (N, V, 3) of control = 1, free of whole-head motion.
        identity_low, identity_high: (N,) ranges.
        joint_names: J names.
        joint_parents: (J,) −1 for the root; parents come first.
        joint_rest: (J, 3) positions in the mean head.
        joint_identity_deltas: (N, J, 3) motion of the joints of control = 1.
        skin_weights: (V, J), rows sum to 1.
        drivers: (E, J, 3) rotation vector (rad) of each joint of control = 1.
        landmark_triangle: (L,) the triangle that each detector landmark lies on, or None.
        landmark_barycentric: (L, 3) where in that triangle.
        landmark_spread: (L,) metres, how far the detector's landmark strays from there.
    """

    rest: Tensor
    triangles: Tensor
    uv: Tensor
    uv_triangles: Tensor
    part_names: tuple[str, ...]
    part_of_triangle: Tensor
    expression_names: tuple[str, ...]
    expression_deltas: Tensor
    identity_names: tuple[str, ...]
    identity_deltas: Tensor
    identity_low: Tensor
    identity_high: Tensor
    joint_names: tuple[str, ...]
    joint_parents: Tensor
    joint_rest: Tensor
    joint_identity_deltas: Tensor
    skin_weights: Tensor
    drivers: Tensor
    landmark_triangle: Tensor | None = None
    landmark_barycentric: Tensor | None = None
    landmark_spread: Tensor | None = None

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Rig":
        """Reads a rig file (default: the shipped head) as float32 and int64 tensors on the CPU.

        Raises:
            ChainRigError: the file is missing, truncated, not a rig, or its arrays do not fit together.
        """
        file = Path(path) if path is not None else assets.path("head_rig.npz")
        arrays = _read(file)
        optional = {field.name for field in fields(cls) if field.default is None}
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in arrays:
                values[field.name] = _as_field(arrays[field.name], arrays.get("delta_unit"))
            elif field.name not in optional:
                raise _unfit(file, f"it has no {field.name}")
        rig = cls(**values)
        rig._check(file)
        return rig

    def _check(self, file: Path) -> None:
        sizes = {
            "V": len(self.rest), "F": len(self.triangles), "E": len(self.expression_names),
            "N": len(self.identity_names), "J": len(self.joint_names), "T": len(self.uv),
            "L": 0 if self.landmark_triangle is None else len(self.landmark_triangle),
        }  # fmt: skip
        for name, axes in _AXES.items():
            value = getattr(self, name)
            shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in axes)
            if value is not None and value.shape != shape:
                raise _unfit(file, f"{name} has shape {tuple(value.shape)} where {shape} is needed")
            if value is not None and value.is_floating_point() and not value.isfinite().all():
                raise _unfit(file, f"{name} holds numbers that are not finite")
        for name, count in _INDICES.items():
            value, end = getattr(self, name), sizes.get(count, len(self.part_names))
            if value is not None and value.numel() and not (0 <= int(value.min()) and int(value.max()) < end):
                raise _unfit(file, f"{name} points beyond the {end} entries there are")
        if any(parent >= joint for joint, parent in enumerate(self.joint_parents.tolist())):
            raise _unfit(file, "a joint comes before its parent")
        if (self.skin_weights.sum(1) - 1).abs().max() > 1e-3:
            raise _unfit(file, "the skin weights of a vertex do not sum to 1")

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Rig":
        """The same rig on another device, its floating-point arrays in another precision."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(device, dtype if value.is_floating_point() else value.dtype)
        return replace(self, **moved)

    def at_landmarks(self) -> "Rig":
        """The same rig with only the vertices that carry landmarks; triangle i is landmark i's.

        Raises:
            ChainRigError: the rig has no landmark embedding.
        """
        if self.landmark_triangle is None:
            raise ChainRigError(
                "The rig has no landmark embedding: build one with scripts/build_embedding.py."
            )
        corners = self.triangles[self.landmark_triangle]
        kept, triangles = corners.unique(return_inverse=True)
        return replace(
            self,
            rest=self.rest[kept],
            triangles=triangles,
            uv_triangles=self.uv_triangles[self.landmark_triangle],
            part_of_triangle=self.part_of_triangle[self.landmark_triangle],
            expression_deltas=self.expression_deltas[:, kept],
            identity_deltas=self.identity_deltas[:, kept],
            skin_weights=self.skin_weights[kept],
            landmark_triangle=torch.arange(len(triangles)),
        )

    @cached_property
    def controls(self) -> ControlSpace:
        """The axis of X1 of this rig."""
        low, high = self.identity_low.tolist(), self.identity_high.tolist()
        return ControlSpace.of_rig(self.expression_names, self.identity_names, low, high)


_AXES: dict[str, tuple[str | int, ...]] = {
    "rest": ("V", 3), "triangles": ("F", 3), "uv": ("T", 2), "uv_triangles": ("F", 3),
    "part_of_triangle": ("F",),
    "expression_deltas": ("E", "V", 3), "identity_deltas": ("N", "V", 3), "identity_low": ("N",),
    "identity_high": ("N",), "joint_parents": ("J",), "joint_rest": ("J", 3),
    "joint_identity_deltas": ("N", "J", 3),
    "skin_weights": ("V", "J"), "drivers": ("E", "J", 3), "landmark_triangle": ("L",),
    "landmark_barycentric": ("L", 3), "landmark_spread": ("L",),
}  # fmt: skip
_INDICES = {
    "triangles": "V", "uv_triangles": "T", "part_of_triangle": "parts", "landmark_triangle": "F",
}  # fmt: skip


def _unfit(file: Path, reason: str) -> ChainRigError:
    return ChainRigError(f"The rig file {file} is of no use: {reason}. Rebuild it with scripts/build_rig.py.")


def _read(file: Path) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ChainRigError(f"There is no rig file {file}: check the path.") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ChainRigError(f"The rig file {file} cannot be read ({error}): copy or rebuild it.") from None


def _as_field(array: np.ndarray, delta_unit: np.ndarray | None) -> Tensor | tuple[str, ...]:
    if array.dtype.kind == "U":
        return tuple(array.tolist())
    if array.dtype == np.int16 and delta_unit is not None:
        return torch.from_numpy(array.astype(np.float32) * np.float32(delta_unit))
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(np.int64))
