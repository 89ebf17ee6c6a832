"""f̂(X4): how far the chain's landmarks are from those of the photo, by a detector or by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config import Fit
from pipeline.layer import Pipeline
from pipeline.solve.problem import Vjp
from pipeline.solve.robust import GemanMcClure, Huber, Loss, Squares
from pipeline.target.comparison import Comparison, own_points
from pipeline.target.schemes import MEDIAPIPE478, scheme

Term = Callable[[Tensor], Tensor]


@dataclass
class LandmarkObjective:
    """r(X1) = √share · (X4 − target) / σ over M points, flattened to `(2M,)`; then what `terms` add.

    Half the squared sum of the points' part is ½ · weighted mean of (distance / σ)². r is float64. Points
    that the detector does not have are read from the stand-in, also in the chain's residual.

    Attributes:
        chain: detect ∘ render ∘ deform, `(K,)` → `(L, 2 or 3)` landmarks in pixels of the view.
        stand_in_chain: embed ∘ deform, in float64, `(K,)` → `(R, 2 or 3)`.
        comparison: where the chain and its stand-in have the M points, and how much each counts.
        target: `(M, 2)` float64, the photo's points in pixels of the view.
        iod: the photo's outer-eye distance in pixels of the view.
        sigma_percent: how well points are meant to agree, in % of the outer-eye distance.
        chain_offset, stand_in_offset: `(M, 2)` float64 pixels of the view that are added to the points of
            the chain and of its stand-in: what a detector is known to err by.
        persons_offset: `(M, 2)` the same for both: how a person's points lie beside the rig's.
        terms: more residuals, functions of landmarks of the rig's scheme `(R, 3)`: of the detector's where
            that is its scheme too, which must be so.
        evaluations, gradients: forward and backward passes of the chain so far.
    """

    chain: Pipeline
    stand_in_chain: Pipeline
    comparison: Comparison
    target: Tensor
    iod: float
    sigma_percent: float
    chain_offset: Tensor | float = 0.0
    stand_in_offset: Tensor | float = 0.0
    persons_offset: Tensor | float = 0.0
    terms: tuple[Term, ...] = ()
    evaluations: int = 0
    gradients: int = 0

    def __post_init__(self) -> None:
        self.sigma = self.iod * self.sigma_percent / 100
        share = self.comparison.share.to(self.target)
        self.per_pixel = share.sqrt().repeat_interleave(2) / self.sigma  # (2M,) residual for a pixel
        floating = (value.dtype for value in self.chain.buffers() if value.is_floating_point())
        self.dtype = next(floating, self.target.dtype)  # of the chain

    @classmethod
    def towards(
        cls,
        landmarks: Tensor,
        chain: Pipeline,
        stand_in_chain: Pipeline,
        sigma_percent: float,
        of: str = MEDIAPIPE478.name,
        spread: Tensor | None = None,
        terms: tuple[Term, ...] = (),
    ) -> "LandmarkObjective":
        """Towards landmarks that the chain's own detector has read.

        Args:
            landmarks: `(L, 2 or 3)` in pixels of the view.
            of: name of their scheme.
            spread: `(L,)` by which they count, see `Comparison.whitened`; None: all the same.
        """
        eyes = scheme(of).outer_eyes
        assert eyes is not None, "every shipped scheme has them"
        comparison = own_points(of)
        target = comparison.detected(landmarks.double())
        iod = float((landmarks[eyes[0], :2] - landmarks[eyes[1], :2]).norm())
        if spread is not None:
            comparison = comparison.whitened(spread)
        return cls(chain, stand_in_chain, comparison, target, iod, sigma_percent, terms=terms)

    def percent(self, residual: Tensor) -> float:
        """Mean distance of the points, each counting the same, in % of the outer-eye distance.

        Args:
            residual: `(2M or more,)`.
        """
        apart = (residual[: len(self.per_pixel)] / self.per_pixel).view(-1, 2)
        return float(apart.norm(dim=-1).mean()) / self.iod * 100

    def of_points(self, points: Tensor) -> Tensor:
        """Residuals `(*B, 2M)` float64 of points `(*B, M, 2)` in pixels of the view."""
        return (points.to(self.target.dtype) - self.target).flatten(-2) * self.per_pixel

    def of_detected(self, landmarks: Tensor, x: Tensor) -> Tensor:
        """Residuals of the chain's landmarks `(L, 2 or 3)` at the controls x `(K,)`."""
        points = self.comparison.detected(landmarks).double()
        on_rig = self.comparison.on_rig.to(points.device)
        points = points + self.chain_offset + self.persons_offset
        if on_rig.any():
            points = torch.where(on_rig[:, None], self._embedded_points(self.stand_in_chain(x)), points)
        return self._with_terms(points, landmarks)

    def of_embedded(self, landmarks: Tensor) -> Tensor:
        """Residuals of the stand-in's landmarks `(R, 2 or 3)`."""
        return self._with_terms(self._embedded_points(landmarks), landmarks)

    @torch.no_grad()
    def landmarks(self, x: Tensor) -> Tensor:
        """X4 `(L, 2 or 3)` of controls `(K,)`, in pixels of the view."""
        self.evaluations += 1
        return self.chain(x.to(self.dtype))

    @torch.no_grad()
    def residual(self, x: Tensor) -> Tensor:
        """r of the chain at controls `(K,)`."""
        return self.of_detected(self.landmarks(x), x)

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        """r of the chain, and the function v → Jᵀv `(K,)`."""
        return self.read(x)[1:]

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Vjp]:
        """X4 `(L, 2 or 3)`, r and the function v → Jᵀv of one pass through the chain."""
        self.evaluations += 1
        leaf = x.detach().requires_grad_()
        landmarks = self.chain(leaf.to(self.dtype))
        residual = self.of_detected(landmarks, leaf)

        def vjp(v: Tensor) -> Tensor:
            self.gradients += 1
            return torch.autograd.grad(residual, leaf, v, retain_graph=True)[0]

        return landmarks.detach(), residual.detach(), vjp

    def embedded(self, x: Tensor) -> Tensor:
        """r of the stand-in."""
        return self.of_embedded(self.stand_in_chain(x))

    def embedded_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """r of the stand-in, and its Jacobian with K columns."""

        def twice(x: Tensor) -> tuple[Tensor, Tensor]:
            residual = self.embedded(x)
            return residual, residual

        jacobian, residual = torch.func.jacfwd(twice, has_aux=True)(x)
        return residual, jacobian

    def stand_in(self, x: Tensor) -> Tensor:
        """The stand-in's Jacobian."""
        return self.embedded_and_jacobian(x)[1]

    @property
    def without_pixels(self) -> "StandInProblem":
        """The problem of the stand-in alone."""
        return StandInProblem(self)

    def _embedded_points(self, landmarks: Tensor) -> Tensor:
        return self.comparison.embedded(landmarks) + self.stand_in_offset + self.persons_offset

    def _with_terms(self, points: Tensor, landmarks: Tensor) -> Tensor:
        added = [term(landmarks).to(self.target.dtype) for term in self.terms]
        return torch.cat([self.of_points(points), *added], dim=-1)


class StandInProblem:
    """embed ∘ deform in place of the chain: no pixel is drawn, and Jacobians are exact."""

    def __init__(self, objective: LandmarkObjective) -> None:
        self.residual, self.jacobian = objective.embedded, objective.stand_in


def robust_loss(settings: Fit, objective: LandmarkObjective) -> Loss:
    """How far-off points count, as `fit.loss` says.

    `fit.loss_percent` is the width for points of the mean weight.
    """
    width = settings.loss_percent / objective.sigma_percent / len(objective.comparison) ** 0.5
    losses: dict[str, Loss] = {
        "squares": Squares(),
        "huber": Huber(width),
        "geman_mcclure": GemanMcClure(width),
    }
    return losses[settings.loss]
