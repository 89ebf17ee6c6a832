"""Continuation: a row of problems, each started where the last one ended, from smooth to sharp.

Widths of smoothed steps and of robust losses are such rows: a wide Geman–McClure loss has one minimum, a
narrow one ignores what is wrong (Blake and Zisserman, "Visual Reconstruction", 1987, graduated
non-convexity).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from pipeline.solve.priors import Regulariser
from pipeline.solve.robust import Loss, Squares
from pipeline.solve.solver import Measure, Solution, Solver


class Stage(NamedTuple):
    """One problem of the row."""

    prior: Regulariser
    loss: Loss = Squares()


def continuation(
    solver: Solver, problem: Any, stages: Iterable[Stage], start: Tensor, measure: Measure | None = None
) -> Solution:
    """The last stage's solution; its trace and its passes are those of all.

    Raises:
        ValueError: there is no stage.
    """
    solution = None
    for prior, loss in stages:
        x = start if solution is None else solution.x
        found = solver.minimize(problem, prior, x, loss, measure)
        solution = found if solution is None else solution.then(found)
    if solution is None:
        raise ValueError("A continuation needs at least one stage.")
    return solution


def widths(first: float, last: float, count: int) -> list[float]:
    """`count` widths from `first` to `last`, each the same part of the one before."""
    if count == 1:
        return [last]
    return [first * (last / first) ** (i / (count - 1)) for i in range(count)]
