"""What a solver did, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One evaluation; tensors are `(*B,)`.

    Attributes:
        objective: value of the point that every item holds afterwards.
        tried: value of the trial.
        residual: of the held point by the caller's measure, say % of the outer-eye distance; NaN without one.
        gradient_norm: at the point from which the step left, without what pushes out of the box.
        step: length of x + d − x in the controls' own units.
        damping: 1 / size: λ of a damped step, 1 / radius, 1 / distance along a line.
        predicted: decrease by the model.
        gain: which part of that came true.
        accepted: whether the item moved.
        evaluations, gradients, jacobians: passes of all the batch so far.
    """

    objective: Tensor
    tried: Tensor
    residual: Tensor
    gradient_norm: Tensor
    step: Tensor
    damping: Tensor
    predicted: Tensor
    gain: Tensor
    accepted: Tensor
    evaluations: int
    gradients: int
    jacobians: int


@dataclass
class Trace:
    """Rows in order; the first is the start, with NaN where there is no step yet.

    Attributes:
        solver: its name.
        rows: one an evaluation.
    """

    solver: str
    rows: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Tensor:
        """`(T, *B)` of the rows."""
        values = [getattr(row, name) for row in self.rows]
        return torch.stack([torch.as_tensor(value) for value in values])

    def records(self) -> Iterator[dict[str, float | int | bool]]:
        """One dictionary for every row and every item, counted along the flattened batch."""
        for number, row in enumerate(self.rows):
            for item in range(row.objective.numel()):
                record: dict[str, float | int | bool] = {"step_number": number, "item": item}
                for one in fields(row):
                    value = getattr(row, one.name)
                    record[one.name] = value.flatten()[item].item() if isinstance(value, Tensor) else value
                yield record

    def then(self, later: "Trace") -> "Trace":
        """Both as one run; the passes of the later count on."""
        last = self.rows[-1]
        moved = [
            Row(**(values(row) | {name: getattr(row, name) + getattr(last, name) for name in COUNTS}))
            for row in later.rows
        ]
        return Trace(self.solver, self.rows + moved)


COUNTS = ("evaluations", "gradients", "jacobians")


def values(row: Row) -> dict:
    return {one.name: getattr(row, one.name) for one in fields(row)}
