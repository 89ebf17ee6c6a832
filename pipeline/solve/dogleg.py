"""Powell's dogleg: along steepest descent to the lowest point there, then across to the Gauss–Newton point.

    (JᵀWJ + ∇²prior) d = −(Jᵀ(w r) + ∇prior)   over the box, once for a point and every radius

The radius Δ of the trust region ends the path: ‖D d‖ ≤ Δ, where D² is the diagonal of H = JᵀWJ + ∇²prior, so
that controls may differ in units (Powell, "A hybrid method for nonlinear equations", 1970). Both ends lie in
the box, the first by projection and the second as the model's minimum over it, so all of the path does, and
the model falls all along it.
"""

from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.descent import Memoryless, Point, Step, dot, length
from pipeline.solve.line_search import Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.quadratic_model import damped_step, decrease, normal_matrix
from pipeline.solve.robust import Loss
from pipeline.solve.solver import Solver
from pipeline.solve.trust_region import TrustRegion


@dataclass(frozen=True, kw_only=True)
class Dogleg(Solver):
    """Needs `Differentiable`."""

    search: Search = TrustRegion()

    def begin(self, problem: Any, prior: Regulariser, loss: Loss) -> "TwoLegs":
        return TwoLegs(prior)


class TwoLegs(Memoryless):
    """Both ends of a point's legs; sizes are radii."""

    needs = "jacobian"
    hessian: Tensor
    scale: Tensor
    lowest: Tensor
    newton: Tensor

    def __init__(self, prior: Regulariser) -> None:
        self.prior = prior

    def arrive(self, here: Point, moved: Tensor) -> None:
        assert here.jacobian is not None
        prior, gradient = self.prior, here.gradient
        self.hessian = normal_matrix(here.jacobian, here.weight, prior, here.x)
        diagonal = self.hessian.diagonal(dim1=-2, dim2=-1)
        self.scale = diagonal.masked_fill(diagonal <= 0, 1).sqrt()
        steepest = -prior.projected_gradient(here.x, gradient) / self.scale.square()
        within = prior.project(here.x + self.lowest_along(gradient, steepest)) - here.x
        self.lowest = self.lowest_along(gradient, within, most=1.0)
        self.newton = damped_step(prior, here.x, self.hessian, gradient, 0.0)

    def lowest_along(self, gradient: Tensor, d: Tensor, most: float = inf) -> Tensor:
        """t d, where the model is lowest."""
        bend = dot(d, (self.hessian @ d[..., None]).squeeze(-1))
        t = -dot(gradient, d) / bend.clamp(min=torch.finfo(d.dtype).tiny)
        return t.clamp(0, most)[..., None] * d

    def first_size(self, here: Point) -> Tensor:
        """All the way to the Gauss–Newton point."""
        return length(self.scale * self.newton)

    def step(self, here: Point, size: Tensor) -> Step:
        first, across = self.scale * self.lowest, self.scale * (self.newton - self.lowest)
        on_first = (size / length(first).clamp(min=1e-300)).clamp(max=1)
        a, b, c = dot(across, across), dot(first, across), dot(first, first) - size.square()
        root = (b.square() - a * c).clamp(min=0).sqrt()
        on_second = ((root - b) / a.clamp(min=1e-300)).clamp(0, 1)  # ‖first + share · across‖ = size
        on_second = torch.where(on_first < 1, 0, on_second)
        d = on_first[..., None] * self.lowest + on_second[..., None] * (self.newton - self.lowest)
        predicted = decrease(here.gradient, self.hessian, d)
        used = torch.minimum(size, length(self.scale * d))
        return Step(d, predicted, predicted, here.gradient, used=used)
