"""What is done with a frame, as the work sees it; `face.py` does it by the chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pipeline.batch.work import FaceFiles
from pipeline.sequence.frames import Frame
from pipeline.sequence.joint import Found
from pipeline.solve.priors import Prior

Neighbours = Sequence[tuple[int, Tensor]]
"""How many frames away, and their controls `(K,)`."""


@dataclass(frozen=True)
class Tracked:
    """A frame that was found by itself.

    Attributes:
        index: which face of the picture it is, from 0, left to right.
        box: (4,) of that face, pixels.
    """

    found: Found
    index: int
    box: Tensor


class Performer(Protocol):
    """Who knows a person's face, and the rig."""

    @property
    def prior(self) -> Prior: ...

    @property
    def stiffness(self) -> Tensor:
        """`(K,)`, see `Motion.stiffness`."""
        ...

    def track(self, frame: Frame, before: Tracked | None) -> Tracked:
        """The frame by itself, beginning from the one before. Raises ChainRigError where no face is seen."""
        ...

    def polish(self, frame: Frame, index: int, x: Tensor, neighbours: Neighbours) -> FaceFiles:
        """The frame once more, tied to its neighbours, beginning from controls x `(K,)`."""
        ...
