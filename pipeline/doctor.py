"""What of ChainRig works on this machine, and why the rest does not."""

import importlib
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from pipeline import assets
from pipeline.environment import lacking
from pipeline.errors import ChainRigError

_PACKAGES = [
    "chainrig",
    "torch",
    "numpy",
    "numba",
    "opencv-python",
    "face-alignment",
    "pillow",
    "safetensors",
]


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        usable: None where that is no question (a version).
        essential: no fit without it.
    """

    name: str
    usable: bool | None
    note: str
    essential: bool = False


def examine() -> dict[str, list[Check]]:
    """The report: checks by title."""
    return {
        "Versions": [
            Check("Python", None, f"{platform.python_version()} on {platform.platform()}"),
            *_versions(),
        ],
        "Devices": _devices(),
        "Rasterizers": _rasterizers(),
        "Ray tracer": [_mitsuba()],
        "Detectors": [_facemesh(), _fan()],
        "Libraries": [_opencv()],
    }


def _versions() -> list[Check]:
    checks = []
    for package in _PACKAGES:
        try:
            checks.append(Check(package, None, version(package)))
        except PackageNotFoundError:
            checks.append(Check(package, False, "not installed: install chainrig again", essential=True))
    return checks


def _devices() -> list[Check]:
    import torch

    checks = [Check("CPU", True, f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        checks.append(Check("CUDA", True, ", ".join(names)))
    elif torch.version.cuda is None:
        checks.append(Check("CUDA", False, "this build of torch has no CUDA"))
    else:
        checks.append(
            Check("CUDA", False, f"torch has CUDA {torch.version.cuda}, but finds no GPU or driver")
        )
    return checks


def _rasterizers() -> list[Check]:
    import torch

    from pipeline.render import ids

    device = "cuda" if torch.cuda.is_available() else "cpu"
    checks = []
    for name, backend in ids.BACKENDS.items():
        obstacle = ids.obstacle(name, device)
        note = obstacle or f"works here on {device}"
        note += ", the default" if name == ids.choose(device) else ""
        note += f"; {backend.licence}"
        note += "" if "cuda" in backend.verified else "; unverified on a GPU"
        checks.append(Check(name, obstacle is None, note, essential=name == "cpu"))
    return checks


def _mitsuba() -> Check:
    from pipeline.render import llvm, raycast

    if find_spec("mitsuba") is None:
        return Check("Mitsuba", False, f"not installed: {raycast.HOW_TO_INSTALL}")
    name = f"Mitsuba {version('mitsuba')}"
    library = llvm.find()
    if library is not None:
        return Check(name, True, f"CPU, with {library}; its CUDA variant is unverified")
    tried = "".join(f"; {trial.library}: {trial.reason}" for trial in llvm.trials())
    return Check(name, False, f"no LLVM library that it works with: {llvm.HOW_TO_GET_ONE}{tried}")


def _facemesh() -> Check:
    name = "FaceMesh v2"
    try:
        from pipeline.detect.facemesh import FaceMesh

        FaceMesh.load()
    except ChainRigError as error:
        return Check(name, False, str(error), essential=True)
    except Exception as error:
        return Check(name, False, lacking(error) or f"{type(error).__name__}: {error}", essential=True)
    return Check(
        name, True, f"478 points, the default; weights in {assets.path('face_landmarks.safetensors')}"
    )


def _fan() -> Check:
    from pipeline.detect import fan_weights

    if find_spec("face_alignment") is None:
        return Check("FAN", False, "face-alignment is not installed: install chainrig again")
    paths = [fan_weights.place(variant) for variant in fan_weights.FILES]
    there = [path.name for path in paths if path.is_file()]
    if not there:
        return Check(
            "FAN",
            False,
            f"its weights are not in {paths[0].parent}: the first fit with --detector fan downloads them, or "
            f"put {' or '.join(fan_weights.ADDRESS + path.name for path in paths)} there yourself",
        )
    return Check("FAN", True, f"weights {', '.join(there)}; chainrig doctor --detector fan tries them")


def _opencv() -> Check:
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        return Check("OpenCV", False, lacking(error) or str(error))
    return Check("OpenCV", True, f"imports in Python {sys.version_info.major}.{sys.version_info.minor}")
