"""Equilibria of one flesh, drive after drive: what is worth keeping from one solve to the next."""

from collections.abc import Sequence

import numpy as np

from pipeline.deform.quasistatic.contact import Obstacles
from pipeline.deform.quasistatic.factor import Factors
from pipeline.deform.quasistatic.flesh import Drive, Flesh
from pipeline.deform.quasistatic.newton import Equilibrium, find_equilibrium
from pipeline.deform.quasistatic.potential import Potential
from pipeline.deform.quasistatic.sparsity import Sparsity

TIGHT = 1e-7  # residual at which the derivative of the solution is as good as it needs to be


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
        self.sparsity, self._factors = Sparsity(flesh), Factors()
        self.last: Equilibrium | None = None
        self._ahead: np.ndarray | None = None

    def solve(self, drive: Drive, guess: np.ndarray) -> np.ndarray:
        """x (free, 3) of a drive of numpy arrays, without batch axes."""
        potential = Potential(drive, self.flesh, self.sparsity)
        start = guess
        if self._ahead is not None and potential.energy(guess + self._ahead) < potential.energy(guess):
            start = guess + self._ahead
        self.last = find_equilibrium(potential, start, self._factors, self.tolerance)
        self._ahead = self.last.x - guess
        return self.last.x

    def refined(self, x: np.ndarray, drive: Drive) -> np.ndarray:
        """The latest equilibrium x (free, 3), after one more Newton step if it was not solved for tightly."""
        if self.last is not None and self.last.residual <= TIGHT:
            return x
        gradient, _ = Potential(drive, self.flesh, self.sparsity).gradient(x)
        return x - self.solve_linear(gradient, x, drive)

    def forget(self) -> None:
        """The next solve starts from its guess."""
        self._ahead = None

    def solve_linear(self, right: np.ndarray, x: np.ndarray, drive: Drive) -> np.ndarray:
        """H⁻¹ of right-hand sides (..., free, 3), H = ∂g/∂x true, unprojected, at x (free, 3)."""
        A = self.sparsity.matrix(Potential(drive, self.flesh, self.sparsity).hessian(x))
        flat = self.sparsity.into_order(right).reshape(-1, 3 * self.flesh.free)
        found = self._factors.solve(A, np.ascontiguousarray(flat.T)).T
        return self.sparsity.out_of_order(found).reshape(right.shape)


def drive_of(arrays: Sequence[np.ndarray]) -> Drive:
    """Of the arrays of `flat`, without batch axes."""
    rest, driven, target, gravity, *others = arrays
    return Drive(rest, driven, target, gravity, Obstacles(*others))  # type: ignore[arg-type]  # numpy here


def flat(drive: Drive) -> tuple:
    """All that may vary, in a row."""
    return *drive[:4], *drive.obstacles
