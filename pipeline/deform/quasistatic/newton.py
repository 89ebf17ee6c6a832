"""Projected Newton with a line search."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pipeline.deform.quasistatic.factor import Factors
from pipeline.deform.quasistatic.potential import Potential
from pipeline.errors import ChainRigError

SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
NEAR = 0.1  # residual below which directions of negative curvature are gone along
ROUNDING = 1e-11  # of the energy: below it, energies do not tell which of two points is better


@dataclass(frozen=True)
class Equilibrium:
    """Attributes:
    x: (free, 3) metres.
    residual: |g| as a share of the forces that g sums.
    iterations: Newton steps taken.
    projections: in how many of them the Hessian was projected.
    factorizations: how many there were.
    """

    x: np.ndarray
    residual: float
    iterations: int
    projections: int
    factorizations: int


def find_equilibrium(
    potential: Potential, start: np.ndarray, factors: Factors, tolerance: float = 1e-9, most: int = 200
) -> Equilibrium:
    """The x near `start` at which the forces balance.

    Newton's method with the true Hessian, its systems solved by conjugate gradients, roughly as long as the
    solution is far (Eisenstat and Walker, 1996). Far from it, where the Hessian is not positive, one whose
    elements are projected to positive semidefinite ones takes its place (Teran, Sifakis, Irving and Fedkiw,
    "Robust Quasistatic Finite Elements and Flesh Simulation", 2005); near it, directions of negative
    curvature are followed. So every step descends, from inverted starts too.

    Args:
        factors: of Hessians nearby, if it has any.

    Raises:
        ChainRigError: the forces do not balance to `tolerance` in `most` steps.
    """
    sparsity, made = potential.sparsity, factors.made
    x, energy = start.copy(), potential.energy(start)
    gradient, size = potential.gradient(x)
    projections, residual = 0, float(np.linalg.norm(gradient)) / size

    def projected() -> sp.csc_matrix:
        nonlocal projections
        projections += 1
        return sparsity.matrix(potential.hessian(x, projected=True))

    for iteration in range(most):
        if residual <= tolerance:
            return Equilibrium(x, residual, iteration, projections, factors.made - made)
        right = sparsity.into_order(gradient)
        A = sparsity.matrix(potential.hessian(x))
        step = factors.descent(A, right, min(0.1, residual), projected, residual < NEAR)
        x, energy = _search(potential, x, energy, sparsity.out_of_order(step), gradient)
        gradient, size = potential.gradient(x)
        residual = float(np.linalg.norm(gradient)) / size
    raise ChainRigError(
        f"The flesh found no equilibrium in {most} steps (its forces balance to {residual:.0e} only): "
        "bring the controls nearer to their ranges."
    )


def _search(
    potential: Potential, x: np.ndarray, energy: float, step: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, float]:
    """Halves the step until the energy falls enough, or is too near to the minimum to tell."""
    slope = float((step * gradient).sum())
    length = 1.0
    while True:
        there = x + length * step
        value = potential.energy(there)
        if value <= energy + SUFFICIENT * length * slope or -length * slope <= ROUNDING * abs(energy):
            return there, value
        length /= 2
