"""Finds an LLVM library that Mitsuba's compiler for CPUs works with.

Dr.Jit, on which Mitsuba stands, loads LLVM when it is first used. Some versions abort the whole process, so
every library found is tried in a process of its own.
"""

import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "DRJIT_LIBLLVM_PATH"  # where Dr.Jit reads the library's path
PACKAGE = "libllvm19"  # Debian's and Ubuntu's
HOW_TO_GET_ONE = (
    f"install LLVM 19 (Debian, Ubuntu: apt-get install {PACKAGE}; macOS: brew install llvm@19), or name its "
    f"library in {VARIABLE}"
)
_FOLDERS = (
    "/usr/lib/*-linux-gnu",
    "/usr/lib/llvm-*/lib",
    "/usr/lib64",
    "/usr/lib64/llvm*/lib*",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm*/lib",
    "/usr/local/opt/llvm*/lib",
)
_NAMES = ("libLLVM.so*", "libLLVM-*.so*", "libLLVM.dylib", "libLLVM-*.dylib")
# Casts rays at a triangle and compiles a maximum, at which LLVM 15 and 16 abort ("Cannot select: fmaximum").
_TRIAL = """
import mitsuba as mi
mi.set_variant("llvm_ad_rgb")
import drjit as dr
scene = mi.load_dict({"type": "scene", "mesh": {"type": "rectangle"}})
height = dr.maximum(dr.arange(mi.Float, 32), 1)
ray = mi.Ray3f(mi.Point3f(0, 0, height), mi.Vector3f(0, 0, -1))
assert dr.all(scene.ray_intersect_preliminary(ray).is_valid() & scene.ray_test(ray))
"""


@dataclass(frozen=True)
class Trial:
    """What came of a library.

    Attributes:
        library: its path.
        reason: why Mitsuba cannot use it; None where it can.
    """

    library: Path
    reason: str | None


def find() -> Path | None:
    """The newest library that works, or the one named in `DRJIT_LIBLLVM_PATH`; None where there is none."""
    return next((trial.library for trial in trials() if trial.reason is None), None)


@functools.cache
def trials() -> tuple[Trial, ...]:
    """The libraries tried, up to the first that works."""
    tried = []
    for library in candidates():
        tried.append(Trial(library, _failure(library)))
        if tried[-1].reason is None:
            break
    return tuple(tried)


def candidates() -> list[Path]:
    """LLVM libraries, newest first; only the one that the user names, if any."""
    named = os.environ.get(VARIABLE)
    if named:
        return [Path(named)]
    found: dict[Path, Path] = {}  # by the file that the links lead to
    for folder in _FOLDERS:
        for name in _NAMES:
            for library in sorted(Path("/").glob(f"{folder[1:]}/{name}")):
                found.setdefault(library.resolve(), library)
    return sorted(found.values(), key=_version, reverse=True)


def _version(library: Path) -> tuple[int, ...]:
    """(19, 1) for libLLVM.so.19.1 and for libLLVM-19.so, whose link leads there."""
    return tuple(int(number) for number in re.findall(r"\d+", library.resolve().name))


def _failure(library: Path) -> str | None:
    if not library.is_file():
        return "there is no such file"
    environment = os.environ | {VARIABLE: str(library)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL], env=environment, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"it aborts the process (signal {-done.returncode})"
    lines = done.stderr.strip().splitlines() or ["unknown reason"]
    return next((line for line in lines if "too old" in line), lines[-1])
