"""A symmetric sparse matrix, factored once and solved with many times."""

import numpy as np
from scipy.sparse.linalg import splu

from pipeline.deform.quasistatic.sparsity import Sparsity


class Factor:
    """P H Pᵀ = L D Lᵀ in the order of a `Sparsity`, by SuperLU with its pivots kept on the diagonal.

    Raises:
        RuntimeError: H is singular.
    """

    def __init__(self, blocks: np.ndarray, sparsity: Sparsity) -> None:
        self._order = sparsity.order
        self._factors = splu(
            sparsity.matrix(blocks),
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            relax=12,
            panel_size=6,
            options={"SymmetricMode": True},
        )

    def solve(self, right: np.ndarray) -> np.ndarray:
        """H⁻¹ of right-hand sides (..., free, 3)."""
        flat = right.reshape(-1, len(self._order))
        out = np.empty_like(flat)
        out[:, self._order] = self._factors.solve(np.ascontiguousarray(flat[:, self._order].T)).T
        return out.reshape(right.shape)

    @property
    def positive(self) -> bool:
        """Whether H is positive definite: so are then its pivots D, and an equilibrium is a minimum."""
        return bool((self._factors.U.diagonal() > 0).all())
