"""The head's albedo: a fixed map of materials, coloured by a dozen parameters C2."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import assets
from pipeline.errors import ChainRigError

MATERIALS = (
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
_TINTS = ("flush", "lid", "lip")


class Albedo(nn.Module):
    """Texture = detail · Σ_k weight_k colour_k: linear in every colour.

    In the file, `weights` (M, H, W) are the materials' shares of a texel in 1/255 and `detail` (H, W) is
    a factor in 1/160 (pores, creases, strokes of hair).

    Args:
        weights: (M, H, W) uint8, row 0 at v = 1.
        detail: (H, W) uint8.
        colours: material → linear RGB in [0, 1]; `flush`, `lid` and `lip` are factors on the skin's colour.
    """

    weights: Tensor
    detail: Tensor
    colours: Tensor

    def __init__(
        self, weights: Tensor, detail: Tensor, colours: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        super().__init__()
        chosen = {**DEFAULT_COLOURS, **(colours or {})}
        for name in chosen:
            if name not in MATERIALS:
                raise ChainRigError(f"There is no material {name}: choose from {', '.join(MATERIALS)}.")
        self.register_buffer("weights", weights)
        self.register_buffer("detail", detail)
        self.register_buffer("colours", torch.tensor([tuple(chosen[name]) for name in MATERIALS]))  # [M, 3]

    @classmethod
    def load(cls, path: str | Path | None = None, **colours: Sequence[float]) -> "Albedo":
        """The shipped head's materials, in other colours if given: `Albedo.load(skin=SKIN_TONES["dark"])`.

        Raises:
            ChainRigError: the file is missing or damaged, or a material does not exist.
        """
        file = Path(path) if path is not None else assets.path("albedo.npz")
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                names, weights, detail = archive["materials"], archive["weights"], archive["detail"]
        except Exception as error:  # zip, zlib and numpy each have their own for a damaged file
            raise ChainRigError(
                f"The albedo file {file} cannot be read ({error}): copy or rebuild it."
            ) from None
        if tuple(names) != MATERIALS or weights.shape != (len(MATERIALS), *detail.shape):
            raise ChainRigError(f"The albedo file {file} is of another version: rebuild it.")
        return cls(torch.from_numpy(weights), torch.from_numpy(detail), colours)

    def forward(self) -> Tensor:
        """(H, W, 3) linear RGB; differentiable in `colours`."""
        skin = self.colours[MATERIALS.index("skin")]
        tinted = torch.tensor([name in _TINTS for name in MATERIALS], device=skin.device)
        colours = torch.where(tinted[:, None], self.colours * skin, self.colours)
        mixed = (self.weights.flatten(1).to(colours.dtype).mT @ colours) / 255  # [HW, 3]
        return (mixed * (self.detail.flatten().to(colours.dtype) / 160)[:, None]).unflatten(
            0, self.detail.shape
        )
