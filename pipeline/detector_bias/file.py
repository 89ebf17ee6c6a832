"""bias.npz: what a fit may know of where its detector errs on renders.

Everything is in % IOD (percent of the render's own distance between the outer eye corners), in the frame of
the face: x to the right of the picture, that is to the subject's left, y down, upright along the eyes, as the
detector's view is.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.errors import ChainRigError
from pipeline.target.schemes import SCHEMES


@dataclass(frozen=True)
class BiasFile:
    """Errors of a detector's L landmarks on renders of a rig. Floats are float64.

    A landmark that the rig has no place for is NaN throughout.

    Attributes:
        detector: its title, what `--detector` calls it.
        detector_sha256: `fingerprint_of_detector`.
        scheme: name of its landmarks' scheme.
        rig: name of the rig.
        rig_sha256: `fingerprint_of_rig`.
        renders: how many were looked at.
        independent: whether `bias` was measured against places that nobody found, or taught, with this very
            detector. Spread, and how bias depends on pose and expression, are its own in either case.
        bias: `(L, 2)` mean of detected − embedded, % IOD.
        spread: `(L,)` root mean square about that mean, of one coordinate, % IOD.
        covariance: `(L, 2, 2)` about that mean, (% IOD)².
        yaw_deg: `(Y,)` centres of the bins of yaw, increasing; positive toward the subject's left.
        bias_by_yaw: `(Y, L, 2)` % IOD.
    """

    detector: str
    detector_sha256: str
    scheme: str
    rig: str
    rig_sha256: str
    renders: int
    independent: bool
    bias: Tensor
    spread: Tensor
    covariance: Tensor
    yaw_deg: Tensor
    bias_by_yaw: Tensor

    @cached_property
    def known(self) -> Tensor:
        """`(L,)` bool: the landmarks that were measured."""
        return self.spread.isfinite()

    def at_yaw(self, degrees: float) -> Tensor:
        """`(L, 2)` the bias of a head that is turned: linear between the bins' centres, level beyond them."""
        turned = min(max(degrees, float(self.yaw_deg[0])), float(self.yaw_deg[-1]))
        right = int(torch.searchsorted(self.yaw_deg, turned).clamp(1, len(self.yaw_deg) - 1))
        left = right - 1
        share = (turned - self.yaw_deg[left]) / (self.yaw_deg[right] - self.yaw_deg[left])
        return torch.lerp(self.bias_by_yaw[left], self.bias_by_yaw[right], share)

    def is_of(self, detector: LandmarkDetector, rig: Rig) -> bool:
        """Whether it was measured with these very weights, on this very rig."""
        theirs = fingerprint_of_detector(detector), fingerprint_of_rig(rig)
        return theirs == (self.detector_sha256, self.rig_sha256)


def read_bias(path: str | Path, scheme: str | None = None) -> BiasFile:
    """What `chainrig detector bias` wrote.

    Args:
        scheme: name of the scheme that the landmarks must have, if any.

    Raises:
        ChainRigError: the file is missing, damaged, no such file, or of another scheme.
    """
    arrays = _read(Path(path))
    values: dict[str, Any] = {}
    for field in fields(BiasFile):
        if field.name not in arrays:
            raise _unfit(path, f"it has no {field.name}")
        array = arrays[field.name]
        if field.name in _AXES and array.dtype.kind == "f":
            values[field.name] = torch.from_numpy(array.astype(np.float64))
        elif field.name not in _AXES and array.ndim == 0:
            values[field.name] = array.item()
        else:
            raise _unfit(path, f"{field.name} is {array.dtype} of shape {array.shape}")
    found = BiasFile(**values)
    if found.scheme not in SCHEMES:
        raise _unfit(path, f"there is no landmark scheme '{found.scheme}'")
    if scheme is not None and found.scheme != scheme:
        raise ChainRigError(
            f"{path} tells of {found.scheme} landmarks, the detector has {scheme}: measure its own with "
            "chainrig detector bias."
        )
    sizes = {"L": len(SCHEMES[found.scheme]), "Y": len(found.yaw_deg)}
    for name, axes in _AXES.items():
        shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in axes)
        if values[name].shape != shape:
            raise _unfit(path, f"{name} has shape {tuple(values[name].shape)} where {shape} is needed")
        finite = values[name].movedim(axes.index("L"), 0)[found.known] if "L" in axes else values[name]
        if not finite.isfinite().all():
            raise _unfit(path, f"{name} holds numbers that are not finite")
    if not bool((found.spread[found.known] > 0).all()) or len(found.yaw_deg) < 2:
        raise _unfit(path, "a spread is not positive, or there are fewer than two bins of yaw")
    if not bool((found.yaw_deg.diff() > 0).all()):
        raise _unfit(path, "its bins of yaw do not increase")
    return found


def fingerprint_of_detector(detector: LandmarkDetector) -> str:
    """sha256 of its weights, the same on any device; floats count as float32."""
    return _fingerprint(detector.state_dict())


def fingerprint_of_rig(rig: Rig) -> str:
    """sha256 of what its shape and its landmarks are made of, the same on any device."""
    return _fingerprint({name: getattr(rig, name) for name in _RIG})


def _fingerprint(tensors: Mapping[str, Tensor | None]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        if value is not None:
            kept = value.float() if value.is_floating_point() else value.long()
            digest.update(f"{name}{tuple(kept.shape)}".encode())
            digest.update(kept.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


_RIG = (
    "rest", "triangles", "expression_deltas", "identity_deltas", "joint_rest", "skin_weights", "drivers",
    "landmark_triangle", "landmark_barycentric",
)  # fmt: skip
_AXES: dict[str, tuple[str | int, ...]] = {
    "bias": ("L", 2), "spread": ("L",), "covariance": ("L", 2, 2), "yaw_deg": ("Y",),
    "bias_by_yaw": ("Y", "L", 2),
}  # fmt: skip


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ChainRigError(f"There is no file {path}: make one with chainrig detector bias.") from None
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error):
        raise _unfit(path, "it cannot be read") from None


def _unfit(path: str | Path, reason: str) -> ChainRigError:
    return ChainRigError(f"The file {path} is of no use: {reason}; make it anew with chainrig detector bias.")
