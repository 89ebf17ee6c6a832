"""The head's texture: a fixed map of regions, whose colours and roughness are parameters C2."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import assets
from pipeline.errors import ChainRigError
from pipeline.render import srgb

REGIONS = (
    "skin", "flush", "lid", "lip", "brow", "hair", "mouth",
    "sclera", "iris", "pupil", "lash", "teeth", "gum",
)  # fmt: skip

# Linear RGB. `flush`, `lid` and `lip` are tints of the skin, not colours of their own.
SKIN_TONES = {
    "light": (0.60, 0.37, 0.27),
    "medium": (0.43, 0.235, 0.15),
    "tan": (0.27, 0.135, 0.08),
    "dark": (0.095, 0.045, 0.027),
}
DEFAULT_COLOURS = {
    "skin": SKIN_TONES["medium"],
    "flush": (1.08, 0.80, 0.76),
    "lid": (0.80, 0.70, 0.68),
    "lip": (0.78, 0.54, 0.66),
    "brow": (0.045, 0.026, 0.018),
    "hair": (0.030, 0.019, 0.014),
    "mouth": (0.045, 0.012, 0.010),
    "sclera": (0.70, 0.67, 0.64),
    "iris": (0.085, 0.048, 0.025),
    "pupil": (0.006, 0.006, 0.006),
    "lash": (0.016, 0.011, 0.009),
    "teeth": (0.66, 0.61, 0.50),
    "gum": (0.26, 0.08, 0.075),
}
# Of GGX. Skin is oiliest at the lips; the eye is wet.
DEFAULT_ROUGHNESS = {
    "skin": 0.55,
    "flush": 0.55,
    "lid": 0.5,
    "lip": 0.4,
    "brow": 0.8,
    "hair": 0.8,
    "mouth": 0.7,
    "sclera": 0.2,
    "iris": 0.2,
    "pupil": 0.2,
    "lash": 0.9,
    "teeth": 0.3,
    "gum": 0.4,
}
_TINTS = ("flush", "lid", "lip")


class HeadTexture(nn.Module):
    """Colour = detail · Σ_k weight_k colour_k, roughness = Σ_k weight_k roughness_k: linear in both.

    In the file, `weights` (M, H, W) are the regions' shares of a texel in 1/255 and `detail` (H, W) is
    a factor in 1/160 (pores, creases, strokes of hair).

    Args:
        weights: (M, H, W) uint8, row 0 at v = 1.
        detail: (H, W) uint8, or (H, W, 3) float where a picture has its own colours.
        colours: region → linear RGB in [0, 1]; `flush`, `lid` and `lip` are factors on the skin's colour.
        roughness: region → GGX roughness in [0, 1].

    Raises:
        ChainRigError: a region does not exist.
    """

    weights: Tensor
    detail: Tensor
    colours: Tensor
    roughness: Tensor

    def __init__(
        self,
        weights: Tensor,
        detail: Tensor,
        colours: Mapping[str, Sequence[float]] | None = None,
        roughness: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        chosen, rough = {**DEFAULT_COLOURS, **(colours or {})}, {**DEFAULT_ROUGHNESS, **(roughness or {})}
        for name in [*chosen, *rough]:
            if name not in REGIONS:
                raise ChainRigError(f"There is no region {name}: choose from {', '.join(REGIONS)}.")
        self.register_buffer("weights", weights)
        self.register_buffer("detail", detail)
        self.register_buffer("colours", torch.tensor([tuple(chosen[name]) for name in REGIONS]))  # [M, 3]
        self.register_buffer("roughness", torch.tensor([rough[name] for name in REGIONS]))  # [M]

    @classmethod
    def load(cls, path: str | Path | None = None, **colours: Sequence[float]) -> "HeadTexture":
        """The shipped head's regions, in other colours if given: `HeadTexture.load(skin=SKIN_TONES["dark"])`.

        Raises:
            ChainRigError: the file is missing or damaged, or a region does not exist.
        """
        file = Path(path) if path is not None else assets.path("albedo.npz")
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                names, weights, detail = archive["materials"], archive["weights"], archive["detail"]
        except Exception as error:  # zip, zlib and numpy each have their own for a damaged file
            raise ChainRigError(
                f"The albedo file {file} cannot be read ({error}): copy or rebuild it."
            ) from None
        if tuple(names) != REGIONS or weights.shape != (len(REGIONS), *detail.shape):
            raise ChainRigError(f"The albedo file {file} is of another version: rebuild it.")
        return cls(torch.from_numpy(weights), torch.from_numpy(detail), colours)

    @classmethod
    def of_picture(cls, picture: Tensor) -> "HeadTexture":
        """A texture that somebody has painted: all of it is skin, of the picture's median colour.

        As it is, it looks like the picture; another colour of the skin tints all of it.

        Args:
            picture: (H, W, 3) uint8 sRGB, row 0 at v = 1, sides powers of two.
        """
        weights = torch.zeros(len(REGIONS), *picture.shape[:2], dtype=torch.uint8)
        weights[REGIONS.index("skin")] = 255
        linear = srgb.decode(picture.float() / 255)
        skin = linear.flatten(0, 1).median(0).values.clamp(min=0.01)
        return cls(weights, 160 * linear / skin, {"skin": skin.tolist()})

    def grey_detail(self) -> Tensor:
        """(H, W): the detail without the colours that a picture brings."""
        return self.detail if self.detail.ndim == 2 else self.detail.mean(-1)

    def forward(self) -> Tensor:
        """(H, W, 4) linear RGB and roughness, for a `Material`; differentiable in both parameters."""
        colours = mixed_with_skin(self.colours)
        shares = self.weights.flatten(1).to(colours.dtype).mT / 255  # [HW, M]
        detail = self.detail.flatten(0, 1).to(colours.dtype).reshape(len(shares), -1) / 160  # [HW, 1 or 3]
        mixed = torch.cat(
            [shares @ colours * detail, shares @ self.roughness[:, None].to(shares.dtype)], dim=-1
        )
        return mixed.unflatten(0, self.detail.shape[:2])


def mixed_with_skin(colours: Tensor) -> Tensor:
    """Linear RGB `(M, 3)` of the regions, those that are tints of the skin multiplied by it."""
    skin = colours[REGIONS.index("skin")]
    tinted = torch.tensor([name in _TINTS for name in REGIONS], device=colours.device)
    return torch.where(tinted[:, None], colours * skin, colours)
