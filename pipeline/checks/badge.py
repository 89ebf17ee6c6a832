"""One question asked of one layer, and the answer."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Badge:
    """One question asked of one layer (or of the whole chain), and the answer.

    Attributes:
        layer: the layer's name ("deform", "render", "detect", …), or "chain".
        question: e.g. "adjoint identity".
        value: the error that was found, relative.
        limit: up to which it is taken as right.
        worst: the control or direction at which the error was found; empty where there is only one.
        note: what a reader should know of it, e.g. the step of the finite difference; may be empty.
    """

    layer: str
    question: str
    value: float
    limit: float
    note: str = ""
    worst: str = ""

    @property
    def passed(self) -> bool:
        return self.value <= self.limit  # a NaN does not pass

    @property
    def told(self) -> str:
        """Such as `render (against differences: 8 % off, 1 % are allowed; at outlines)`."""
        if not math.isfinite(self.value):
            return f"{self.layer} ({self.question})"
        sizes = f"{_size(self.value)} off, {_size(self.limit)} are allowed"
        return f"{self.layer} ({self.question}: {'; '.join(filter(None, (sizes, self.note)))})"


def _size(error: float) -> str:
    return f"{100 * error:.0f} %" if error >= 0.01 else f"{error:.0e}"
