"""Equilibria of one flesh, drive after drive: what is worth keeping from one solve to the next."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from pipeline.deform.quasistatic.contact import Planes
from pipeline.deform.quasistatic.factor import Factor
from pipeline.deform.quasistatic.flesh import Drive, Flesh
from pipeline.deform.quasistatic.newton import Equilibrium, find_equilibrium
from pipeline.deform.quasistatic.potential import Potential
from pipeline.deform.quasistatic.sparsity import Sparsity

FACTORS_KEPT = 2  # of the head's Hessian one has 60 MB


class EquilibriumSolver:
    """Finds equilibria and solves with the Hessian there.

    It starts from where the last equilibrium lay beside its own guess, if that has the lower energy. That
    changes the time it takes, and the result by no more than the tolerance.

    Args:
        flesh: what does not change.
        tolerance: |g| as a share of the forces that it sums.

    Attributes:
        last: the latest equilibrium, for reports.
    """

    def __init__(self, flesh: Flesh, tolerance: float = 1e-9) -> None:
        self.flesh, self.tolerance = flesh, tolerance
        self.sparsity = Sparsity(flesh)
        self.last: Equilibrium | None = None
        self._beside: np.ndarray | None = None
        self._factors: OrderedDict[int, Factor] = OrderedDict()

    def solve(self, drive: Drive, guess: np.ndarray) -> np.ndarray:
        """x (free, 3) of a drive of numpy arrays, without batch axes."""
        potential = Potential(drive, self.flesh, self.sparsity)
        start = guess
        if self._beside is not None and potential.energy(guess + self._beside) < potential.energy(guess):
            start = guess + self._beside
        self.last = find_equilibrium(potential, start, self.tolerance)
        self._beside = self.last.x - guess
        return self.last.x

    def forget(self) -> None:
        """The next solve starts from its guess."""
        self._beside = None

    def solve_linear(self, right: np.ndarray, x: np.ndarray, drive: Drive) -> np.ndarray:
        """H⁻¹ of right-hand sides (..., free, 3), H = ∂g/∂x true, unprojected, at x (free, 3)."""
        key = hash(tuple(np.asarray(a).tobytes() for a in (x, *drive[:-1], *drive.planes)))
        if key not in self._factors:
            blocks = Potential(drive, self.flesh, self.sparsity).hessian(x)
            self._factors[key] = Factor(blocks, self.sparsity)
            while len(self._factors) > FACTORS_KEPT:
                self._factors.popitem(last=False)
        self._factors.move_to_end(key)
        return self._factors[key].solve(right)


def drive_of(arrays: Sequence[np.ndarray], node: np.ndarray) -> Drive:
    """Of the arrays of `flat`, without batch axes."""
    return Drive(*arrays[:4], Planes(node, *arrays[4:]))


def flat(drive: Drive) -> tuple:
    """All that may vary, in a row."""
    return *drive[:4], *drive.planes[1:]
