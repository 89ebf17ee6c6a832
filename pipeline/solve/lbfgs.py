"""L-BFGS: a quasi-Newton direction from the last few steps and what they did to the slope.

    d = −t · B ∇f

B is the inverse Hessian after BFGS updates by the pairs s = x₊ − x, y = ∇f₊ − ∇f, applied to γ·M by the
two-loop recursion, γ = sᵀy / yᵀMy (Nocedal, "Updating quasi-Newton matrices with limited storage", 1980). The
strong Wolfe conditions see to sᵀy > 0. Controls that are pushed against their bounds take no part: the pairs
are cut to the others (Bertsekas's two-metric projection, 1982).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step, along, dot
from pipeline.solve.gradient_descent import REACH
from pipeline.solve.line_search import Search, StrongWolfe
from pipeline.solve.priors import Regulariser
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver


@dataclass(frozen=True, kw_only=True)
class LBFGS(Solver):
    """Needs `Pullable`.

    Attributes:
        pairs: that are remembered.
        metric: `(K,)` the diagonal of M, as of `GradientDescent`.
    """

    search: Search = StrongWolfe()
    pairs: int = 10
    metric: Tensor | None = None

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "QuasiNewton":
        return QuasiNewton(prior, self.pairs, self.metric)


class QuasiNewton(Memoryless):
    """Remembers pairs `(*B, P, K)`, the newest last; zeros where there is none yet."""

    needs = "gradient"

    def __init__(self, prior: Regulariser, pairs: int, metric: Tensor | None) -> None:
        self.prior, self.pairs, self.metric = prior, pairs, metric
        self.last: Point | None = None
        self.s = self.y = torch.zeros(())

    def arrive(self, here: Point, moved: Tensor) -> None:
        if self.last is None:
            self.s = self.y = here.x.new_zeros(*here.value.shape, self.pairs, here.x.shape[-1])
        else:
            new_s, new_y = here.x - self.last.x, here.gradient - self.last.gradient
            curved = dot(new_s, new_y) > 1e-12 * dot(new_y, new_y) * REACH
            taken = (moved & curved)[..., None, None]
            self.s = torch.where(taken, torch.cat([self.s[..., 1:, :], new_s[..., None, :]], -2), self.s)
            self.y = torch.where(taken, torch.cat([self.y[..., 1:, :], new_y[..., None, :]], -2), self.y)
        self.last = here

    def step(self, here: Point, size: Tensor) -> Step:
        slope = self.prior.projected_gradient(here.x, here.gradient)
        free = slope != 0
        s, y = self.s * free[..., None, :], self.y * free[..., None, :]
        products = dot(s, y)
        known = products > 0
        inverse = (
            torch.where(known, products, 1).reciprocal() * known
        )  # a pair that is cut to nothing counts 0
        newest = known * torch.arange(1, self.pairs + 1, device=known.device)
        newest = newest.argmax(-1)[..., None]
        metric = slope.new_ones(slope.shape[-1]) if self.metric is None else self.metric
        gamma = (products / dot(y, metric * y).clamp(min=torch.finfo(y.dtype).tiny)).gather(-1, newest)
        reach = (metric.sqrt() * slope).abs().amax(-1, keepdim=True).clamp(min=torch.finfo(y.dtype).tiny)
        first = metric * torch.where(known.any(-1, keepdim=True), gamma, REACH / reach)
        q, alphas = -slope, []
        for i in reversed(range(self.pairs)):
            alphas.append(inverse[..., i] * dot(s[..., i, :], q))
            q = q - alphas[-1][..., None] * y[..., i, :]
        q = first * q
        for i in range(self.pairs):
            beta = inverse[..., i] * dot(y[..., i, :], q)
            q = q + (alphas[self.pairs - 1 - i] - beta)[..., None] * s[..., i, :]
        return along(self.prior, here, q, size, -first * slope)
