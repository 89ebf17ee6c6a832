"""The pictures of tests/data/runtime_reference.npz, made again from what is committed, bit for bit.

Plain NumPy, in float64 and rounded, so that no library's resampling is in them; shared by the test and by
scripts/record_runtime_reference.py, which runs where torch is not installed.
"""

import math
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLE = Path(__file__).parent.parent / "assets" / "example.png"  # 512 × 512, a face of 95 pixels

Pixels = np.ndarray  # (H, W, 3) uint8
RENDERS = {"profile_left": 55.0, "profile_right": -55.0}  # the rig's turn in degrees; kept as PNG files


def scenes(renders: dict[str, Pixels]) -> dict[str, Pixels]:
    """Pictures by name, of the example photo and of the rig's `renders` (288, 288, 3), named as `RENDERS`."""
    photo = np.asarray(Image.open(EXAMPLE).convert("RGB"))
    return {
        "example": photo,
        "rotated_30": warped(photo, turned(30), (512, 512)),
        "small": warped(photo, scaled(1.6), (320, 320)),  # a face of 60 pixels
        "dark": (photo // 4).astype(np.uint8),
        "two_faces": np.concatenate([photo[:300, 90:350], photo[:300, 350:90:-1]], axis=1),
        "odd_size": photo[7:340, 60:461],  # 401 × 333: half a pixel of letterbox
        "large": warped(photo[20:380, 50:410], scaled(0.36), (1000, 1000)),
        "close_up": warped(photo[20:270, 100:350], scaled(0.25), (1000, 1000)),  # a region of 570 pixels
        **{name: renders[name] for name in RENDERS},
    }


def turned(degrees: float) -> np.ndarray:
    """(2, 3): where each pixel of a picture turned counter-clockwise about (256, 256) comes from."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 256 - 256 * c + 256 * s], [s, c, 256 - 256 * s - 256 * c]])


def scaled(step: float) -> np.ndarray:
    """(2, 3): one pixel for each `step` pixels."""
    return np.array([[step, 0, 0], [0, step, 0]])


def warped(picture: Pixels, source: np.ndarray, shape: tuple[int, int]) -> Pixels:
    """Bilinear: pixel (x, y) of the result shows `source` (2, 3) times (x, y, 1); the last pixels go on."""
    rows, columns = np.indices(shape) + 0.5
    x, y = (np.tensordot(source, np.stack([columns, rows, np.ones(shape)]), axes=1) - 0.5).clip(0)
    x, y = np.minimum(x, picture.shape[1] - 1), np.minimum(y, picture.shape[0] - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right = np.minimum(left + 1, picture.shape[1] - 1)
    bottom = np.minimum(top + 1, picture.shape[0] - 1)
    u, v = (x - left)[..., None], (y - top)[..., None]
    above = (1 - u) * picture[top, left] + u * picture[top, right]
    below = (1 - u) * picture[bottom, left] + u * picture[bottom, right]
    return np.round((1 - v) * above + v * below).astype(np.uint8)
