"""The covered samples of a triangle-id buffer on a CPU, compiled: integers, in one pass."""

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


@torch.library.custom_op("chainrig::covered", mutates_args=(), device_types="cpu")
def covered(ids: Tensor, triangles: Tensor, vertices: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What `rasterize.covered` tells of ids `(B, H, W)`."""
    count = int((ids >= 0).sum())
    pixel, item, triangle = (torch.empty(count, dtype=torch.int64) for _ in range(3))
    centre, corners = torch.empty(count, 2), torch.empty(count, 3, dtype=torch.int64)
    found = (pixel, item, centre, triangle, corners)
    arguments: list[Any] = [ids.contiguous().numpy(), triangles.contiguous().numpy(), vertices]
    _covered(*arguments, *(x.numpy() for x in found))
    return found


@numba.njit(cache=True)
def _covered(
    ids: np.ndarray,
    triangles: np.ndarray,
    vertices: int,
    pixel: np.ndarray,
    item: np.ndarray,
    centre: np.ndarray,
    triangle: np.ndarray,
    corners: np.ndarray,
) -> None:
    count, height, width = ids.shape
    p = 0
    for b in range(count):
        for y in range(height):
            for x in range(width):
                t = ids[b, y, x]
                if t < 0:
                    continue
                pixel[p], item[p], triangle[p] = (b * height + y) * width + x, b, t
                centre[p, 0], centre[p, 1] = x + 0.5, y + 0.5
                for k in range(3):
                    corners[p, k] = triangles[t, k] + b * vertices
                p += 1
