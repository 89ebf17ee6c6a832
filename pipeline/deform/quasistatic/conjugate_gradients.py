"""Conjugate gradients, preconditioned by the factor of a nearby matrix."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

LEAST_CURVATURE = 0.1  # of a direction of negative curvature, as a share of what the preconditioner has


class Solved(NamedTuple):
    """Attributes:
    x: of the right-hand side's shape.
    converged: whether the residual came below the tolerance.
    indefinite: whether a direction p with pᵀAp ≤ 0 turned up; x then goes along it, too.
    """

    x: np.ndarray
    converged: bool
    indefinite: bool


def conjugate_gradients(
    A: sp.csc_matrix,
    b: np.ndarray,
    precondition: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    most: int,
) -> Solved:
    """A x = b for symmetric A `(n, n)`, stopped at directions of negative curvature (Steihaug, 1983).

    Such a direction is followed as far as if its curvature were positive and at least `LEAST_CURVATURE` of
    the preconditioner's: with b = −gradient, x descends. It also stops, unconverged, when a third of the
    iterations showed that the others will not be enough.

    Args:
        precondition: r → M⁻¹ r with M symmetric positive definite and near A.
        tolerance: of |b − A x|, as a share of |b|.
        most: iterations.
    """
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    p, rz, start = z, float(r @ z), float(np.linalg.norm(b))
    expected = rz  # pᵀMp
    goal = tolerance * start
    for i in range(most):
        Ap = A @ p
        curvature = float(p @ Ap)
        if curvature <= 0:
            return Solved(x + rz / max(-curvature, LEAST_CURVATURE * expected) * p, False, True)
        step = rz / curvature
        x += step * p
        r -= step * Ap
        left = float(np.linalg.norm(r))
        if left <= goal:
            return Solved(x, True, False)
        if i == most // 3 and (left / start) ** 3 > tolerance:
            break
        z = precondition(r)
        before, rz = rz, float(r @ z)
        p = z + (rz / before) * p
        expected = rz + (rz / before) ** 2 * expected
    return Solved(x, False, False)
