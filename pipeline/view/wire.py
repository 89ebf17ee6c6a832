"""Arrays between Python and the page: little-endian bytes as base64, which the page reads as typed arrays."""

import base64

import numpy as np
from torch import Tensor


def packed(values: Tensor | np.ndarray) -> str:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
