"""Symmetric sparse systems: factored anew only when the last factor no longer helps."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from pipeline.deform.quasistatic.conjugate_gradients import conjugate_gradients

FEW = 12  # iterations of conjugate gradients, half as expensive as a factorisation of the head's Hessian
EXACT = 1e-11  # residual of a solve for a derivative


class Factor:
    """A = L D Lᵀ of a symmetric matrix whose order keeps L sparse, by SuperLU with diagonal pivots.

    Raises:
        RuntimeError: A is singular.
    """

    def __init__(self, A: sp.csc_matrix) -> None:
        self._factors = splu(A, "NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(self, right: np.ndarray) -> np.ndarray:
        """A⁻¹ of (n,) or of the columns of (n, m)."""
        return self._factors.solve(right)

    @property
    def positive(self) -> bool:
        """Whether A is positive definite: so are then its pivots D."""
        return bool((self._factors.U.diagonal() > 0).all())


class Factors:
    """The latest factor, and solves that use it for matrices nearby.

    Attributes:
        made: how many factorisations there were.
    """

    def __init__(self) -> None:
        self.made = 0
        self._latest: Factor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles go without the factor, which is SuperLU's and cannot."""
        return {"made": self.made, "_latest": None}

    def make(self, A: sp.csc_matrix) -> Factor:
        """Factors A and keeps that."""
        self.made += 1
        self._latest = Factor(A)
        return self._latest

    def descent(self, A: sp.csc_matrix, gradient: np.ndarray, tolerance: float) -> np.ndarray | None:
        """−A⁻¹ gradient, or None if A shows that it is not positive definite."""
        if self._latest is not None:
            found = conjugate_gradients(A, -gradient, self._latest.solve, tolerance, FEW)
            if found.converged:
                return found.x
            if found.indefinite:
                return None
        try:
            step = -self.make(A).solve(gradient)
        except RuntimeError:  # singular, as where elements are collapsed to a point
            return None
        return step if float(step @ gradient) < 0 else None

    def solve(self, A: sp.csc_matrix, right: np.ndarray) -> np.ndarray:
        """A⁻¹ of the columns of (n, m), as exactly as float64 allows."""
        if self._latest is not None and right.shape[1] == 1:
            found = conjugate_gradients(A, right[:, 0], self._latest.solve, EXACT, 2 * FEW)
            if found.converged:
                return found.x[:, None]
        return self.make(A).solve(right)
