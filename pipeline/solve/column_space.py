"""Column-space search: a step that uses few columns of the Jacobian, those most like the residual.

Least squares spreads a residual over all columns, of which many only undo each other: it matches landmarks
with controls that mean nothing. Seen from the residual, a column says something if the angle between them is
small. So the columns are chosen first, by their correlation

    c_k = |a_kᵀ r| / (‖a_k‖ ‖r‖),

the largest first; what it explains is taken off the residual, and the next one is chosen by what is left, as
in matching pursuit (Mallat and Zhang, 1993), until `columns` are chosen or none reaches `least`. A column
that its control's range blocks is none. Among the chosen, the step is Levenberg–Marquardt's; the others stay
where they are. Sparse and readable without a term that pulls at the solution (after Hyde, Bao and Fedkiw, "On
obtaining sparse semantic solutions for inverse problems, control, and neural network training", 2020, and
Bao, Hyde, Hua and Fedkiw, "Improved search strategies with application to estimating facial blendshape
parameters", 2018; the selection by pursuit and the damping are ours).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.solve.descent import Point
from pipeline.solve.levenberg_marquardt import Damped
from pipeline.solve.line_search import Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.quadratic_model import damped_step
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver
from pipeline.solve.trust_region import Nielsen


@dataclass(frozen=True, kw_only=True)
class ColumnSpace(Solver):
    """Needs `Differentiable`.

    Attributes:
        columns: that take part in one step at most, besides `always`.
        least: correlation with what is left of the residual that a column must have.
        always: `(K,)` bool, controls that take part in any case, as the pose of a head should.
        damping: λ of the first step.
    """

    search: Search = Nielsen()
    patience: int = 10
    columns: int = 8
    least: float = 0.05
    always: Tensor | None = None
    damping: float = 1e-3

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Chosen":
        return Chosen(prior, self)


class Chosen(Damped):
    """Levenberg–Marquardt among the columns that were chosen at a point."""

    chosen: Tensor

    def __init__(self, prior: Regulariser, search: ColumnSpace) -> None:
        super().__init__(prior, search.damping)
        self.settings = search

    def arrive(self, here: Point, moved: Tensor) -> None:
        super().arrive(here, moved)
        self.chosen = self.choose(here)

    def among(self, here: Point) -> Tensor:
        return self.chosen

    def choose(self, here: Point) -> Tensor:
        """`(*B, K)` bool."""
        assert here.jacobian is not None
        root = here.weight.sqrt()
        columns, residual = root[..., None] * here.jacobian, root * here.residual
        left, norms = residual, columns.square().sum(-2).sqrt().clamp(min=1e-300)
        may = self.prior.projected_gradient(here.x, here.gradient) != 0
        chosen = torch.zeros_like(may)
        if self.settings.always is not None:
            chosen = chosen | self.settings.always
            left = residual + self.explained(here, columns, chosen)
        for _ in range(self.settings.columns):
            towards = -(columns.mT @ left[..., None]).squeeze(-1)
            free = self.prior.projected_gradient(here.x, -towards) != 0
            alike = towards.abs() / norms / left.norm(dim=-1, keepdim=True).clamp(min=1e-300)
            alike = torch.where(free & may & ~chosen, alike, 0)
            best, where = alike.max(-1)
            new = functional.one_hot(where, alike.shape[-1]).bool() & (best >= self.settings.least)[..., None]
            if not bool(new.any()):
                break
            chosen = chosen | new
            left = residual + self.explained(here, columns, chosen)
        return chosen

    def explained(self, here: Point, columns: Tensor, chosen: Tensor) -> Tensor:
        """`(*B, M)` what the chosen columns add to the linear residual at their best."""
        d = damped_step(self.prior, here.x, self.hessian, here.gradient, 1e-6, chosen)
        return (columns @ d[..., None]).squeeze(-1)
