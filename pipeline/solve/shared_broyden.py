"""Adjoint Broyden for one identity in several photos (`shared.py`): J̃ in blocks, its normal matrix an arrow.

Residuals are a sum over photos, and each photo's depend on what is shared and on its own controls. So each
has an estimate J̃ᵢ `(M, K)` of its own, corrected by the secant of its own residuals: n updates a step in
place of one, and none fills in what must be zero (Griewank and Toint, "Partitioned variable metric updates
for large structured optimization problems", 1982). Steps solve the normal equations as `block_arrow.py` does,
so that their cost grows with n, not with its cube.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipeline.solve.adjoint_broyden import AdjointBroyden, Estimate
from pipeline.solve.block_arrow import BlockArrow, solve_box_arrow
from pipeline.solve.descent import Point, Step, dot
from pipeline.solve.priors import Regulariser
from pipeline.solve.robust import Loss
from pipeline.solve.shared import Shared


@dataclass(frozen=True, kw_only=True)
class SharedBroyden(AdjointBroyden):
    """For a `Shared` of problems that are `Chain`s; one start, no batch. `correction` is `(n, M, K)`."""

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "Blocks":
        return Blocks(problem, prior, self)


class Blocks(Estimate):
    """J̃ᵢ = stand-in + what was learnt, `(n, M, K)` each; photos of fewer residuals end in zeros."""

    arrow: BlockArrow
    problem: Shared

    def arrive(self, here: Point, moved: Tensor) -> None:
        if self.stand_in is None or self.solver.refresh:
            each = [one.stand_in(x) for one, x in self.problem.at(here.x)]
            self.sizes = [len(block) for block in each]
            self.stand_in = pad_sequence(each, batch_first=True)
        if self.learnt is None:
            self.learnt = torch.zeros_like(self.stand_in)
        if self.solver.gradients:
            # A photo takes up what its own controls miss. Of what is shared the gradient is a sum: each
            # takes up the part that its residuals are of all.
            v = self.by_photo(here.weighted)
            missing = self.problem.apart(
                here.gradient - self.prior.gradient(here.x) - self.pull(here.weighted)
            )
            length = torch.where(self.problem.shared, v.square().sum(), v.square().sum(-1, keepdim=True))
            self.learn(v, missing / length.clamp(min=1e-30))

    def by_photo(self, flat: Tensor) -> Tensor:
        """Of residuals that follow each other: `(n, M)`."""
        return pad_sequence(list(flat.split(self.sizes)), batch_first=True)

    def pull(self, v: Tensor) -> Tensor:
        return self.problem.gathered((self.jacobian.mT @ self.by_photo(v)[..., None]).squeeze(-1))

    def learn(self, column: Tensor, row: Tensor, which: Tensor | None = None) -> None:
        assert self.learnt is not None
        self.learnt = self.learnt + column[..., :, None] * row[..., None, :]

    def step(self, here: Point, size: Tensor) -> Step:
        root = self.by_photo(here.weight.expand_as(here.residual)).sqrt()
        curvature = self.prior.curvature(here.x)
        self.arrow = BlockArrow.of_jacobians(root[..., None] * self.jacobian, self.problem.shared, curvature)
        gradient = self.pull(here.weighted) + self.prior.gradient(here.x)
        low, high = self.prior.low - here.x, self.prior.high - here.x
        d = solve_box_arrow(self.arrow, gradient, low, high, 1 / float(size))
        predicted = -dot(gradient, d) - 0.5 * dot(d, self.arrow.product(d))
        return Step(d, predicted, predicted, gradient)

    def tried(self, here: Point, step: Step, residual: Tensor, accepted: Tensor) -> None:
        """Broyden's update of every photo, of rejected steps too; in the objective's metric."""
        if not bool(residual.isfinite().all()):
            return
        d = self.problem.apart(step.d)
        scaled = self.problem.apart(self.arrow.diagonal()) * d
        missing = self.by_photo(residual - here.residual) - (self.jacobian @ d[..., None]).squeeze(-1)
        self.learn(missing, scaled / dot(scaled, d).clamp(min=1e-30)[..., None])
