"""Powell's dogleg: along steepest descent to the lowest point there, then across to the Gauss–Newton point.

The radius Δ of the trust region ends the path: ‖D d‖ ≤ Δ, where D² is the diagonal of H = JᵀWJ + ∇²prior, so
that controls may differ in units (Powell, "A hybrid method for nonlinear equations", 1970). One solve with H
serves every radius. Controls that are pushed against their bounds take no part; where the path leaves the box
it is cut off, and where the steepest descent so cut off promises more, it is taken instead.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.solve.box_qp import solve_masked
from pipeline.solve.descent import Memoryless, Point, Step, dot, length
from pipeline.solve.line_search import Search
from pipeline.solve.priors import Regulariser
from pipeline.solve.quadratic_model import decrease, normal_matrix
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
    """Both legs of a point, in scaled controls D d; sizes are radii."""

    needs = "jacobian"
    hessian: Tensor
    scale: Tensor
    cauchy: Tensor
    newton: Tensor

    def __init__(self, prior: Regulariser) -> None:
        self.prior = prior

    def arrive(self, here: Point, moved: Tensor) -> None:
        assert here.jacobian is not None
        self.hessian = normal_matrix(here.jacobian, here.weight, self.prior, here.x)
        diagonal = self.hessian.diagonal(dim1=-2, dim2=-1)
        self.scale = diagonal.masked_fill(diagonal <= 0, 1).sqrt()
        slope = self.prior.projected_gradient(here.x, here.gradient) / self.scale
        scaled = self.hessian / (self.scale[..., :, None] * self.scale[..., None, :])
        bent = dot(slope, (scaled @ slope[..., None]).squeeze(-1))
        far = dot(slope, slope) / bent.clamp(min=torch.finfo(slope.dtype).tiny)
        self.cauchy = -far[..., None] * slope
        self.newton = solve_masked(scaled, (slope != 0) & (diagonal > 0), -slope)

    def first_size(self, here: Point) -> Tensor:
        """All the way to the Gauss–Newton point."""
        return length(self.newton)

    def step(self, here: Point, size: Tensor) -> Step:
        first, whole = length(self.cauchy), length(self.newton)
        straight = self.cauchy * (size / first.clamp(min=1e-300)).clamp(max=1)[..., None]
        across = self.newton - self.cauchy
        a, b, c = dot(across, across), dot(self.cauchy, across), first.square() - size.square()
        root = (b.square() - a * c).clamp(min=0).sqrt()
        share = ((root - b) / a.clamp(min=1e-300)).clamp(0, 1)[..., None]  # ‖cauchy + share · across‖ = size
        path = torch.where((first < size)[..., None], self.cauchy + share * across, straight)
        path, straight = self.cut(here, path), self.cut(here, straight)
        predicted = decrease(here.gradient, self.hessian, path)
        otherwise = decrease(here.gradient, self.hessian, straight)
        better = (predicted >= otherwise)[..., None]
        d, predicted = torch.where(better, path, straight), torch.maximum(predicted, otherwise)
        return Step(d, predicted, predicted, here.gradient, used=torch.minimum(size, whole))

    def cut(self, here: Point, scaled: Tensor) -> Tensor:
        return self.prior.project(here.x + scaled / self.scale) - here.x
