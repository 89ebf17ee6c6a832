"""How fits use this machine, and what it may lack, said in one sentence instead of a traceback.

`python -m pipeline.environment` tells it right after the installation.
"""

import ctypes
import importlib
import platform
import sys

_DEBIAN_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libxcb.so.1": "libxcb1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
}


# of glibc's mallopt
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def use_machine(threads: int) -> None:
    """So many threads of torch; and memory that is freed stays with the process.

    The chain's large tensors come and go: glibc gives each back to the system, and fetching its pages
    anew costs a sixth of a fit.
    """
    import torch

    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for threshold in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(threshold, 1 << 30)


def lacking(error: BaseException) -> str | None:
    """The sentence for an exception that the machine, not the code, is to blame for; None for any other."""
    text = str(error)
    if isinstance(error, ImportError):
        for library, package in _DEBIAN_PACKAGES.items():
            if library in text:
                return (
                    f"The system library {library} is missing: install the package {package} "
                    f"(Debian, Ubuntu: apt install {package})."
                )
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("pipeline"):
            return f"The Python package {error.name} is missing: install chainrig again with pip."
    if isinstance(error, RuntimeError) and "no locator available" in text:
        return (
            "Numba finds no folder in which to keep its compiled code: "
            "set NUMBA_CACHE_DIR to one that you can write to."
        )
    if isinstance(error, MemoryError):
        return "There is not enough memory: scale the photograph down, or close other programs."
    return None


def main() -> None:
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        print(
            f"chainrig: {lacking(error) or error} Fits work without it, face-alignment does not.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
