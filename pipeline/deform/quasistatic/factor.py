"""Symmetric sparse systems: factored anew only when the last factor no longer helps."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from pipeline.deform.quasistatic.conjugate_gradients import conjugate_gradients

FEW = 12  # iterations of conjugate gradients, half as expensive as a factorisation of the head's Hessian
MANY = 80  # of them, where a factorisation would probably be in vain: the last Hessian was indefinite
EXACT = 1e-11  # residual of a solve for a derivative


class Factor:
    """A = L D Lᵀ of a symmetric matrix whose order keeps L sparse, by SuperLU with diagonal pivots.

    Attributes:
        positive: whether A is positive definite: so are then its pivots D.

    Raises:
        RuntimeError: A is singular.
    """

    def __init__(self, A: sp.csc_matrix) -> None:
        self._factors = splu(A, "NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        self.positive = bool((self._factors.U.diagonal() > 0).all())

    def solve(self, right: np.ndarray) -> np.ndarray:
        """A⁻¹ of (n,) or of the columns of (n, m)."""
        return self._factors.solve(right)


class Factors:
    """The latest positive definite factor, and solves that use it for matrices nearby.

    Attributes:
        made: how many factorisations there were.
    """

    def __init__(self) -> None:
        self.made = 0
        self._latest: Factor | None = None
        self._indefinite = False  # the latest matrix that `descent` was given

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles go without the factor, which is SuperLU's and cannot."""
        return {"made": self.made, "_latest": None, "_indefinite": False}

    def make(self, A: sp.csc_matrix) -> Factor:
        """Factors A; keeps that if it is positive."""
        self.made += 1
        factor = Factor(A)
        if factor.positive:
            self._latest = factor
        return factor

    def descent(
        self,
        A: sp.csc_matrix,
        gradient: np.ndarray,
        tolerance: float,
        projected: Callable[[], sp.csc_matrix],
        near: bool,
    ) -> np.ndarray:
        """−A⁻¹ gradient, roughly, or where A is not positive definite another direction that descends.

        Args:
            projected: a positive definite matrix beside A.
            near: whether a direction of negative curvature is worth to be gone along.
        """
        most, self._indefinite = MANY if self._indefinite else FEW, False
        for B in (lambda: A, projected):
            matrix, found = B(), None
            if self._latest is not None:
                found = conjugate_gradients(matrix, -gradient, self._latest.solve, tolerance, most)
                if found.converged or (found.indefinite and near):
                    self._indefinite |= found.indefinite
                    return found.x
            if found is None or not found.indefinite:
                with contextlib.suppress(RuntimeError):  # singular: elements collapsed to a point
                    factor = self.make(matrix)
                    if factor.positive:
                        return -factor.solve(gradient)
            most, self._indefinite = FEW, True
        raise AssertionError("the projected matrix is positive definite")

    def solve(self, A: sp.csc_matrix, right: np.ndarray) -> np.ndarray:
        """A⁻¹ of the columns of (n, m), as exactly as float64 allows."""
        if self._latest is not None and right.shape[1] == 1:
            found = conjugate_gradients(A, right[:, 0], self._latest.solve, EXACT, 2 * FEW)
            if found.converged:
                return found.x[:, None]
        return self.make(A).solve(right)
