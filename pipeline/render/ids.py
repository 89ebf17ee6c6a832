"""Which triangle does a pixel see? An integer, without derivatives: the one question that needs a backend.

Every backend is a module of `pipeline.render.backends` with one function,

    ids(clip (B, V, 4), triangles (F, 3), size (height, width)) → (B, H, W) int64, −1 where nothing is seen,

for OpenGL clip coordinates (x right, y up, near plane z = −w), row 0 at the top, pixel centres at +0.5, and
nothing of size 0. Triangles are seen from both sides and clipped at the near plane; those without area on the
screen, or with a vertex that is not finite, are not seen. Backends agree up to what snapping makes of edges.
"""

import importlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from pipeline.environment import lacking
from pipeline.errors import ChainRigError

Ids = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]


@dataclass(frozen=True)
class Backend:
    """What there is to know of a backend before it is imported.

    Attributes:
        package: the Python package it needs.
        install: how to get that package.
        licence: of that package; our part is free.
        verified: the types of device on which it has passed its tests.
        cuda_only: whether it takes no mesh on the CPU.
    """

    package: str
    install: str
    licence: str
    verified: tuple[str, ...]
    cuda_only: bool = False


BACKENDS = {
    "cpu": Backend("numba", "install chainrig again", "BSD licence", ("cpu",)),
    "triton": Backend("triton", "it comes with torch's CUDA builds for Linux", "MIT licence", (), True),
    "pytorch3d": Backend("pytorch3d", "build it as docs/rasterizers.md says", "BSD licence", ("cpu",)),
    "nvdiffrast": Backend(
        "nvdiffrast",
        "pip install 'chainrig[nvdiffrast]'",
        "NVIDIA's research licence, not for commercial use",
        (),
        True,
    ),
}
_ON_CUDA = ("triton", "pytorch3d", "nvdiffrast")  # the order of choice; without them, cpu


def triangle_ids(clip: Tensor, triangles: Tensor, size: tuple[int, int], backend: str = "auto") -> Tensor:
    """The triangle that each pixel's centre sees.

    Args:
        clip: `(*B, V, 4)` OpenGL clip coordinates, float32 or float64.
        triangles: `(F, 3)` int64 vertex indices, either winding, on the same device.
        size: (height, width) in pixels.
        backend: one of `BACKENDS`, or "auto": the best that is there for the device of `clip`.

    Returns:
        `(*B, H, W)` int64, −1 where no triangle is seen. Coverage follows the top-left rule on snapped
        vertices; triangles are clipped at the near plane; where a vertex is not finite its triangles are
        left out.

    Raises:
        ChainRigError: the backend does not exist, or does not run here.
    """
    device = clip.device.type
    name = choose(device) if backend == "auto" else backend
    find(name, device)  # complains before any transform of functions has begun
    batch = clip.shape[:-2]
    flat = clip.detach().reshape(math.prod(batch), *clip.shape[-2:])
    return _triangle_ids(flat, triangles, *size, name).reshape(*batch, *size)


@cache
def choose(device: str) -> str:
    """What "auto" means for a type of device: cpu, but on a GPU the first that loads of triton (ours),
    pytorch3d and nvdiffrast."""
    candidates = _ON_CUDA if device == "cuda" else ()
    return next((name for name in candidates if obstacle(name, device) is None), "cpu")


def obstacle(name: str, device: str) -> str | None:
    """What keeps a backend from meshes on a type of device ("needs …", "does not run here: …"), or None."""
    loaded = _load(name, device)
    return loaded if isinstance(loaded, str) else None


def find(name: str, device: str) -> Ids:
    """The function `ids` of a backend for a type of device; ChainRigError if it cannot run."""
    if name not in BACKENDS:
        raise ChainRigError(f"There is no rasterizer {name!r}: choose auto, {', '.join(BACKENDS)}.")
    loaded = _load(name, device)
    if isinstance(loaded, str):
        raise ChainRigError(f"The rasterizer {name} {loaded}; choose auto to take what is there.")
    return loaded


@cache
def _load(name: str, device: str) -> Ids | str:
    backend = BACKENDS[name]
    package = f"the Python package {backend.package} ({backend.install})"
    interpreted = name == "triton" and os.environ.get("TRITON_INTERPRET") == "1"  # its debugger, on the CPU
    if backend.cuda_only and device != "cuda" and not interpreted:
        return f"needs a mesh on a CUDA GPU, and {package}"
    try:
        ids = importlib.import_module(f"pipeline.render.backends.{name}").ids
        if name != "cpu":  # the others stand on drivers and compilers of this machine
            _prove(ids, device)
        return ids
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == backend.package:
            return f"needs {package}"
        return f"does not run here: {lacking(error) or ' '.join(str(error).split())[:300]}".rstrip(".")


def _prove(ids: Ids, device: str) -> None:
    """Raises if a backend does not see a triangle that fills the picture."""
    clip = torch.tensor([[[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]], device=device)
    found = ids(clip, torch.tensor([[0, 1, 2]], device=device), (2, 3))
    if found.tolist() != [[[0, 0, 0], [0, 0, 0]]]:
        raise RuntimeError("it misses a triangle that fills the picture")


@torch.library.custom_op("chainrig::triangle_ids", mutates_args=())
def _triangle_ids(clip: Tensor, triangles: Tensor, height: int, width: int, backend: str) -> Tensor:
    if 0 in (clip.shape[0], clip.shape[1], len(triangles), height, width):
        return clip.new_full((clip.shape[0], height, width), -1, dtype=torch.int64)
    return find(backend, clip.device.type)(clip, triangles, (height, width))


@_triangle_ids.register_fake
def _(clip: Tensor, triangles: Tensor, height: int, width: int, backend: str) -> Tensor:
    return clip.new_empty((clip.shape[0], height, width), dtype=torch.int64)


@_triangle_ids.register_vmap
def _(info, in_dims, clip: Tensor, triangles: Tensor, height: int, width: int, backend: str):
    clip = clip.movedim(in_dims[0], 0)
    ids = _triangle_ids(clip.flatten(0, 1), triangles, height, width, backend)
    return ids.unflatten(0, clip.shape[:2]), 0
