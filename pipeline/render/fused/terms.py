"""Sums of small products, fused: how pixels change when vertices move."""

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from pipeline.render import fused

AT_ONCE = 4096  # terms of the plain function, whose corners' motions are gathered


def add_up(place: Tensor, corner: Tensor, values: Tensor, motion: Tensor, places: int) -> Tensor:
    """out[place] += Σₘᵢ values[m, i] · motion[corner m, i], over all terms.

    Args:
        place: `(E,)` int64.
        corner: `(E, M)` int64.
        values: `(E, M, A, C)`.
        motion: `(N, A, n)`.
        places: how many there are.

    Returns:
        `(places, C, n)`.
    """
    out = motion.new_zeros(places, values.shape[-1], motion.shape[-1])
    if fused.serves(values, motion):
        arguments: list[Any] = [x.contiguous().numpy() for x in (place, corner, values, motion, out)]
        _add_up(*arguments)
        return out
    for some in torch.arange(len(place), device=place.device).split(AT_ONCE):
        moved = motion[corner[some]].flatten(1, 2)  # [e, M·A, n]
        out.index_add_(0, place[some], values[some].flatten(1, 2).mT @ moved)
    return out


@numba.njit(cache=True, fastmath={"contract"})
def _add_up(
    place: np.ndarray, corner: np.ndarray, values: np.ndarray, motion: np.ndarray, out: np.ndarray
) -> None:
    for e in range(len(place)):
        here = out[place[e]]
        for m in range(corner.shape[1]):
            moved = motion[corner[e, m]]
            for c in range(values.shape[3]):
                for i in range(values.shape[2]):
                    amount = values[e, m, i, c]
                    for k in range(motion.shape[2]):
                        here[c, k] += amount * moved[i, k]
