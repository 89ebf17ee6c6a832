"""Where the Hessian's entries are: found once for a flesh, with an order that keeps its factors sparse."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from pipeline.deform.quasistatic.flesh import Flesh


class Sparsity:
    """The blocks (3 × 3) of a symmetric matrix over the free nodes, and the way to sparse columns.

    Attributes:
        blocks: how many there are.
        places: (T, 4, 4) the block of two corners of a tetrahedron, −1 where one of them is driven.
        diagonal: (free,) the block of a node with itself.
        passing: (Z, Z) the blocks of the nodes among which contacts pass forces.
    """

    def __init__(self, flesh: Flesh) -> None:
        n, tets = flesh.free, flesh.tets
        rows, columns = np.repeat(tets, 4, axis=1), np.tile(tets, (1, 4))
        inside = (rows < n) & (columns < n)
        keys = [rows[inside] * n + columns[inside], np.arange(n) * (n + 1)]
        passing = flesh.touching.passing
        passing = passing[:, None] * n + passing
        keys.append(passing.ravel())
        self._keys = np.unique(np.concatenate(keys))
        self.blocks = len(self._keys)
        self.places = np.full((len(tets), 16), -1)
        self.places[inside] = np.searchsorted(self._keys, keys[0])
        self.places = self.places.reshape(-1, 4, 4)
        self.diagonal = np.searchsorted(self._keys, keys[1])
        self.passing = np.searchsorted(self._keys, passing)
        self._compress(n)

    def matrix(self, blocks: np.ndarray) -> sp.csc_matrix:
        """(blocks, 3, 3) → the matrix, rows and columns in the order of `order`."""
        return sp.csc_matrix((blocks.ravel()[self._entries], self._rows, self._columns), shape=self._shape)

    def into_order(self, x: np.ndarray) -> np.ndarray:
        """(..., free, 3) → (..., 3 · free), as the matrix's rows go."""
        return x.reshape(*x.shape[:-2], -1)[..., self.order]

    def out_of_order(self, y: np.ndarray) -> np.ndarray:
        """The inverse of `into_order`."""
        x = np.empty_like(y)
        x[..., self.order] = y
        return x.reshape(*y.shape[:-1], -1, 3)

    def _compress(self, n: int) -> None:
        rows, columns = self._keys // n, self._keys % n
        where = np.empty(n, dtype=np.int64)
        order = _fill_reducing(rows, columns, n)
        where[order] = np.arange(n)
        self.order = (3 * order[:, None] + np.arange(3)).ravel()
        axis = np.arange(3)
        shape = (len(rows), 3, 3)
        row = np.broadcast_to(3 * where[rows][:, None, None] + axis[:, None], shape).ravel()
        column = np.broadcast_to(3 * where[columns][:, None, None] + axis, shape).ravel()
        self._entries = np.lexsort((row, column))
        self._rows = row[self._entries].astype(np.int32)
        self._columns = np.searchsorted(column[self._entries], np.arange(3 * n + 1)).astype(np.int32)
        self._shape = (3 * n, 3 * n)


def _fill_reducing(rows: np.ndarray, columns: np.ndarray, n: int) -> np.ndarray:
    """Minimum degree (Liu, 1985), as SuperLU brings it, of nodes instead of their three coordinates."""
    values = np.where(rows == columns, float(n), -1.0)
    graph = sp.csc_matrix((values, (rows, columns)), shape=(n, n))
    factors = splu(graph, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.argsort(factors.perm_c)
