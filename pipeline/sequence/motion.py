"""What is known of a face from frame to frame: controls walk at random, and seldom far.

    −log p(x_1 … x_T) = ½ Σ_t (x_{t+1} − x_t)ᵀ S (x_{t+1} − x_t) / gap_t  +  Σ_t prior(x_t)

with S = diag(1/σ²), σ the standard deviation of a control's step in one frame: a random walk, whose variance
grows with the time between two frames. Given its neighbours, a frame without data lies on the straight line
between them; a frame with data is drawn to that line by as much as its own data leave open.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.controls import ControlSpace
from pipeline.solve.priors import Prior


@dataclass(frozen=True)
class Motion:
    """Standard deviations of a step in a 30th of a second.

    Attributes:
        expression: of most expressions, whose range is 0 to 1.
        eyes: of lids and gaze: a blink takes a tenth of a second.
        rotation, translation: of the head, radians and metres.
        steadiness: factor of all precisions; more is smoother.
    """

    expression: float = 0.06
    eyes: float = 0.15
    rotation: float = 0.02
    translation: float = 0.003
    steadiness: float = 1.0

    def stiffness(self, space: ControlSpace, fps: float) -> Tensor:
        """S's diagonal `(K,)` float64, for frames of a sequence; 0 for identity, which does not move."""
        widths = {"rad": self.rotation, "m": self.translation}
        found = []
        for control in space.controls:
            if control.group == "identity":
                found.append(0.0)
                continue
            width = self.eyes if control.name.startswith("eye") else self.expression
            if control.group == "pose":
                width = widths[control.unit]
            found.append(self.steadiness * fps / 30 / width**2)
        return torch.tensor(found, dtype=torch.float64)


def tied(prior: Prior, stiffness: Tensor, neighbours: Sequence[tuple[int, Tensor]]) -> Prior:
    """The prior of a frame whose neighbours are known.

    Args:
        stiffness: `(K,)`.
        neighbours: how many frames away, and their controls `(K,)`.
    """
    precision, pull = prior.precision, prior.precision * prior.mean
    for gap, x in neighbours:
        precision, pull = precision + stiffness / gap, pull + stiffness / gap * x
    mean = torch.where(precision > 0, pull / precision.clamp(min=1e-30), prior.mean)
    return replace(prior, mean=mean, precision=precision)
