"""A Jacobian that knows what its rows and columns are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.derivatives.axes import Axis, Choice, choose, count, sizes
from pipeline.errors import ChainRigError


@dataclass(frozen=True)
class Jacobian:
    """∂Y/∂X of one layer, of a part of it, or of several in a row.

    Attributes:
        values: `(*B, *rows, *columns)`: entry (r, c) is ∂Y_r/∂X_c.
        rows: the axes of Y, e.g. (landmark, xyz).
        columns: the axes of X, e.g. (control,).
    """

    values: Tensor
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]

    def __post_init__(self) -> None:
        inner = sizes(self.rows) + sizes(self.columns)
        if tuple(self.values.shape[self.values.ndim - len(inner) :]) != inner:
            raise ValueError(f"The values have shape {tuple(self.values.shape)}, the axes say {inner}.")

    @property
    def batch(self) -> tuple[int, ...]:
        """*B."""
        return tuple(self.values.shape[: self.values.ndim - len(self.rows) - len(self.columns)])

    @property
    def matrix(self) -> Tensor:
        """`(*B, M, N)`: the axes of Y flattened to M rows, those of X to N columns."""
        return self.values.reshape(*self.batch, count(self.rows), count(self.columns))

    @classmethod
    def from_matrix(cls, matrix: Tensor, rows: tuple[Axis, ...], columns: tuple[Axis, ...]) -> "Jacobian":
        """From `(*B, M, N)`."""
        return cls(matrix.reshape(*matrix.shape[:-2], *sizes(rows), *sizes(columns)), rows, columns)

    def select(
        self,
        rows: Mapping[str, Choice] | None = None,
        columns: Mapping[str, Choice] | None = None,
    ) -> "Jacobian":
        """A part, by axis and by name, index or pattern: `select({"landmark": 4}, {"control": "mouth*"})`.

        Raises:
            ChainRigError: there is no such axis or coordinate.
        """
        kept_rows, m = choose(self.rows, rows)
        kept_columns, n = choose(self.columns, columns)
        device = self.values.device
        part = self.matrix.index_select(-2, m.to(device)).index_select(-1, n.to(device))
        return Jacobian.from_matrix(part, kept_rows, kept_columns)

    def column(self, label: str) -> Tensor:
        """`(*B, *rows)`: how Y moves with one coordinate of an X that has one axis."""
        if len(self.columns) != 1:
            raise ChainRigError(f"There are {len(self.columns)} column axes here: use select.")
        return self.values[..., self.columns[0].find(label)[0]]

    def row(self, label: str) -> Tensor:
        """`(*B, *columns)`: what one coordinate of a Y that has one axis depends on."""
        if len(self.rows) != 1:
            raise ChainRigError(f"There are {len(self.rows)} row axes here: use select.")
        return self.values.select(len(self.batch), self.rows[0].find(label)[0])

    def __matmul__(self, inner: "Jacobian") -> "Jacobian":
        """The chain rule: (∂Z/∂Y) @ (∂Y/∂X) = ∂Z/∂X.

        Raises:
            ChainRigError: the columns of the left are not the rows of the right.
        """
        if self.columns != inner.rows:
            left, right = (", ".join(axis.name for axis in axes) for axes in (self.columns, inner.rows))
            raise ChainRigError(f"A Jacobian by ({left}) does not multiply one of ({right}).")
        return Jacobian.from_matrix(self.matrix @ inner.matrix, self.rows, inner.columns)

    def detach(self) -> "Jacobian":
        return replace(self, values=self.values.detach())

    def arrays(self) -> dict[str, np.ndarray]:
        """For `numpy.savez`: `values`, and for every axis its name and its labels.

        `rows` and `columns` hold the axes' names in order; `row_AXIS` and `column_AXIS` their labels.
        """
        out: dict[str, np.ndarray] = {"values": self.values.detach().cpu().numpy()}
        for side, axes in (("row", self.rows), ("column", self.columns)):
            out[side + "s"] = np.array([axis.name for axis in axes])
            out |= {f"{side}_{axis.name}": np.array(axis.labels) for axis in axes}
        return out

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Jacobian":
        """The inverse of `arrays`."""
        sides = []
        for side in ("row", "column"):
            names = arrays[side + "s"].tolist()
            sides.append(tuple(Axis(name, tuple(arrays[f"{side}_{name}"].tolist())) for name in names))
        return cls(torch.from_numpy(np.array(arrays["values"])), *sides)
