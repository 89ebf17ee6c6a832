"""Projected Newton with a line search."""

from dataclasses import dataclass

import numpy as np

from pipeline.deform.quasistatic.factor import Factor
from pipeline.deform.quasistatic.potential import Potential
from pipeline.errors import ChainRigError

SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
ROUNDING = 1e-11  # of the energy: below it, energies do not tell which of two points is better


@dataclass(frozen=True)
class Equilibrium:
    """Attributes:
    x: (free, 3) metres.
    residual: |g| as a share of the forces that g sums.
    iterations: Newton steps taken.
    projections: in how many of them the Hessian was projected.
    """

    x: np.ndarray
    residual: float
    iterations: int
    projections: int


def find_equilibrium(
    potential: Potential, start: np.ndarray, tolerance: float = 1e-9, most: int = 100
) -> Equilibrium:
    """The x near `start` at which the forces balance.

    Newton's method with the true Hessian where its step descends, else with one whose elements are
    projected to positive semidefinite ones (Teran, Sifakis, Irving and Fedkiw, "Robust Quasistatic Finite
    Elements and Flesh Simulation", 2005), so that a step always descends, from inverted starts too.

    Raises:
        ChainRigError: the forces do not balance to `tolerance` in `most` steps.
    """
    x, energy = start.copy(), potential.energy(start)
    gradient, size = potential.gradient(x)
    projections, cautious = 0, False
    for iteration in range(most + 1):
        residual = float(np.linalg.norm(gradient)) / size
        if residual <= tolerance:
            return Equilibrium(x, residual, iteration, projections)
        if iteration == most:
            break
        step = None if cautious else -Factor(potential.hessian(x), potential.sparsity).solve(gradient)
        if step is None or (step * gradient).sum() >= 0:
            projections += 1
            step = -Factor(potential.hessian(x, projected=True), potential.sparsity).solve(gradient)
        x, energy, length = _search(potential, x, energy, step, gradient)
        gradient, size = potential.gradient(x)
        cautious = length < 0.5
    raise ChainRigError(
        f"The flesh found no equilibrium in {most} steps (its forces balance to {residual:.0e} only): "
        "bring the controls nearer to their ranges."
    )


def _search(
    potential: Potential, x: np.ndarray, energy: float, step: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Halves the step until the energy falls enough, or is too near to the minimum to tell."""
    slope = float((step * gradient).sum())
    length = 1.0
    while True:
        there = x + length * step
        value = potential.energy(there)
        if value <= energy + SUFFICIENT * length * slope or -length * slope <= ROUNDING * abs(energy):
            return there, value, length
        length /= 2
