"""Which triangle does a pixel see? An integer, without derivatives: the one question that needs a backend.

Every backend is a module of `pipeline.render.backends` with one function,

    ids(clip (B, V, 4), triangles (F, 3), size (height, width)) → (B, H, W) int64, −1 where nothing is seen,

for OpenGL clip coordinates (x right, y up, near plane z = −w), row 0 at the top, pixel centres at +0.5.
Triangles are seen from both sides and clipped at the near plane; those without area on the screen, or with a
vertex that is not finite, are not seen.
"""

import importlib
import math

import torch
from torch import Tensor

BACKENDS = ("cpu",)


def triangle_ids(clip: Tensor, triangles: Tensor, size: tuple[int, int], backend: str = "auto") -> Tensor:
    """The triangle that each pixel's centre sees.

    Args:
        clip: `(*B, V, 4)` OpenGL clip coordinates, float32 or float64.
        triangles: `(F, 3)` int64 vertex indices, either winding.
        size: (height, width) in pixels.
        backend: one of `BACKENDS`, or "auto": the one for the device of `clip`.

    Returns:
        `(*B, H, W)` int64, −1 where no triangle is seen. Coverage follows the top-left rule on snapped
        vertices; triangles are clipped at the near plane; where a vertex is not finite its triangles are
        left out.
    """
    if backend == "auto":
        backend = "cpu"
    batch = clip.shape[:-2]
    flat = clip.detach().reshape(math.prod(batch), *clip.shape[-2:])
    return _triangle_ids(flat, triangles, *size, backend).reshape(*batch, *size)


@torch.library.custom_op("chainrig::triangle_ids", mutates_args=())
def _triangle_ids(clip: Tensor, triangles: Tensor, height: int, width: int, backend: str) -> Tensor:
    module = importlib.import_module(f"pipeline.render.backends.{backend}")
    return module.ids(clip, triangles, (height, width))


@_triangle_ids.register_fake
def _(clip: Tensor, triangles: Tensor, height: int, width: int, backend: str) -> Tensor:
    return clip.new_empty((clip.shape[0], height, width), dtype=torch.int64)


@_triangle_ids.register_vmap
def _(info, in_dims, clip: Tensor, triangles: Tensor, height: int, width: int, backend: str):
    clip = clip.movedim(in_dims[0], 0)
    ids = _triangle_ids(clip.flatten(0, 1), triangles, height, width, backend)
    return ids.unflatten(0, clip.shape[:2]), 0
