"""What a rig looks like: its own albedo, its paint, or the shipped head's."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline import assets
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.head_texture import REGIONS, HeadTexture


def texture_of(rig: Rig) -> HeadTexture:
    """The texture that a `Material` takes, in the rig's texture coordinates.

    Raises:
        ChainRigError: its paint is of another version.
    """
    if rig.albedo is not None:
        return HeadTexture.of_picture(rig.albedo)
    if rig.paint is not None:
        if len(rig.paint) != len(REGIONS):
            raise ChainRigError("The rig's paint is of another version: import the rig again.")
        return HeadTexture(rig.paint, torch.full(rig.paint.shape[1:], 160, dtype=torch.uint8))
    if not rig.source:
        return HeadTexture.load(assets.path("albedo.npz"))
    return HeadTexture.of_picture(torch.full((16, 16, 3), 128, dtype=torch.uint8))


def albedo_of(rig: Rig, colours: Mapping[str, Sequence[float]] | None = None) -> Tensor:
    """(H, W, 3) uint8 sRGB: the picture for other tools.

    Args:
        colours: region → linear RGB, in place of the texture's own; of no use for a rig with a picture.
    """
    if rig.albedo is not None:
        return rig.albedo
    texture = texture_of(rig)
    if colours:
        texture = HeadTexture(texture.weights, texture.detail, colours)
    with torch.no_grad():
        encoded = srgb.encode(texture()[..., :3])
    return (encoded.clamp(0, 1) * 255).round().to(torch.uint8)
