"""What light and colours are like before any photo: standard normal numbers, and what they stand for.

A photo shows the product of light and paint. What tells them apart is that light is about white and the
eye's white is about white, that skins lie near one line from light to dark, and that lips, lids and brows
differ from person to person within limits. All of these are spreads of logarithms.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.render.head_texture import DEFAULT_COLOURS, REGIONS, SKIN_TONES
from pipeline.render.lighting import Light

LIMIT = 2.5  # standard deviations that no parameter leaves

# Standard deviations of the logarithm of a region's colour: (brightness, hue). Others cannot be told.
COLOUR_SPREAD = {
    "flush": (0.25, 0.10),
    "lid": (0.15, 0.05),
    "lip": (0.35, 0.15),
    "brow": (0.9, 0.15),
    "sclera": (0.35, 0.05),
    "iris": (0.6, 0.25),
    "teeth": (0.2, 0.05),
}
SKIN_HUE = 0.08  # across the line from light to dark skin
BRIGHTNESS, WHITENESS = 0.5, 0.08  # of the logarithm of ambient and directional light
TURN = 0.8  # of the vector to the light, whose default is about as long as 1
UNEVEN, COLOURED = 0.2, 0.03  # of the harmonics: grey, and the rest

_GREY = [1.0, 1.0, 1.0]
_COUNTS = {
    "ambient": 3,
    "directional": 3,
    "direction": 3,
    "harmonics": 24,
    "skin": 3,
    **dict.fromkeys(COLOUR_SPREAD, 3),
}
UNKNOWNS = sum(_COUNTS.values())


def decode(theta: Tensor) -> tuple[Light, Tensor]:
    """Light and colours `(M, 3)` of standard normal parameters `(K,)`."""
    part = dict(zip(_COUNTS, theta.split(list(_COUNTS.values())), strict=True))
    default = Light.default().to(theta.dtype)
    ambient, directional = (
        of.log() + _spread(part[name], _GREY, BRIGHTNESS, WHITENESS)
        for name, of in (("ambient", default.ambient), ("directional", default.directional))
    )
    uneven = _spread(part["harmonics"].view(8, 3), _GREY, UNEVEN, COLOURED)
    light = Light(
        ambient.exp(),
        directional.exp(),
        default.direction + TURN * part["direction"],
        torch.cat([torch.zeros_like(uneven[:1]), uneven]),  # the first is ambient light
    )
    tones = theta.new_tensor(list(SKIN_TONES.values())).log()
    line = tones[0] - tones[-1]  # from the darkest to the lightest
    scale = float((tones - tones.mean(0)).square().sum(-1).mean().sqrt())
    logs = {name: theta.new_tensor(colour).log() for name, colour in DEFAULT_COLOURS.items()}
    logs["skin"] = tones.mean(0) + _spread(part["skin"], line.tolist(), scale / math.sqrt(3), SKIN_HUE)
    for name, (brightness, hue) in COLOUR_SPREAD.items():
        logs[name] = logs[name] + _spread(part[name], _GREY, brightness, hue)
    # Hair is outside the mask: it is as much lighter than the default as the brows are.
    logs["hair"] = logs["hair"] + logs["brow"] - theta.new_tensor(DEFAULT_COLOURS["brow"]).log()
    return light, torch.stack([logs[name] for name in REGIONS]).exp()


def _spread(standard: Tensor, axis: Sequence[float], along: float, across: float) -> Tensor:
    """Normal `(*, 3)` RGB of standard normal `(*, 3)`: wide on an axis, narrow at right angles to it.

    `along` and `across` are root mean squares over the three channels.
    """
    first = functional.normalize(standard.new_tensor(axis), dim=0)
    second = functional.normalize(torch.linalg.cross(first, standard.new_tensor([1.0, 0.0, -1.0])), dim=0)
    basis = torch.stack([along * first, across * second, across * torch.linalg.cross(first, second)])
    return math.sqrt(3) * standard @ basis
