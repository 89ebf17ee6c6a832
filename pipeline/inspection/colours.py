"""Colour scales that keep their order in grey and for colour-blind eyes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.outputs import overlay

Pixels = npt.NDArray[Any]

PAPER = np.array(overlay.PAPER, dtype=np.float32)


def _ramp(*colours: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    """`(256, 3)` sRGB from 0 to 255, through colours in OKLab, where equal steps look equal.

    Björn Ottosson, "A perceptual color space for image processing", 2020.
    """
    lab = _lab(np.array(colours, dtype=np.float64) / 255)
    at = np.linspace(0, len(colours) - 1, 256)
    between = np.stack([np.interp(at, np.arange(len(colours)), channel) for channel in lab.T], axis=-1)
    return (_rgb(between).clip(0, 1) * 255).astype(np.float32)


_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _lab(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _LMS.T) @ _OKLAB.T


def _rgb(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = ((lab @ np.linalg.inv(_OKLAB).T) ** 3 @ np.linalg.inv(_LMS).T).clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


# From the grey of clay through one hue to bright: lightness alone tells the order.
HEAT = _ramp((92, 94, 99), (140, 88, 62), (205, 104, 34), (246, 160, 48), (255, 240, 176))
# Blue where something is less, red where it is more, both brighter the further from the grey between.
CHANGE = _ramp((96, 190, 255), (44, 118, 214), (58, 60, 64), (206, 66, 42), (255, 150, 110))
