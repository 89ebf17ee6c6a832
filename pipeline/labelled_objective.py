"""f̂(X4) against hand labels: how far the chain's landmarks are from the points that a person placed."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.detect.region import LEFT_EYE, RIGHT_EYE, Region
from pipeline.layer import Pipeline
from pipeline.solve.adjoint_broyden import Vjp
from pipeline.target.reading import Reading

SIGMA_PERCENT = 0.5  # looser than for a detector's hundreds of points: a few hand-placed ones stray by 1 %


class LabelScale(NamedTuple):
    """Turns pixels into residuals whose half squared sum is ½ (weighted mean of (distance / σ)²).

    Attributes:
        iod: the photo's outer-eye distance in pixels of the view.
        share: `(M,)` weights of the points, of sum 1.
        sigma: pixels.
    """

    iod: float
    share: Tensor
    sigma: float

    def percent(self, residual: Tensor) -> float:
        """Weighted mean distance over the labelled points in % of the outer-eye distance, from `(2M,)`."""
        distance = residual.view(-1, 2).norm(dim=-1).to(self.share) / self.share.sqrt() * self.sigma
        return float((distance * self.share).sum()) / self.iod * 100


@dataclass
class LabelledObjective:
    """r(X1) = √share · (X4 − labels) / σ over M labelled points, flattened to `(2M,)`; r in float64.

    Points that the detector does not have are read from the stand-in, also in the chain's residual. Takes the
    place of `pipeline.objective.LandmarkObjective`: solvers ask both the same questions.

    Attributes:
        chain: detect ∘ render ∘ deform, `(K,)` → `(L, 2 or 3)` landmarks in pixels of the view.
        stand_in_chain: embed ∘ deform, in float64, `(K,)` → `(R, 2 or 3)`.
        reading: where the chain and its stand-in have the labelled points.
        target: `(M, 2)` float64 the labelled points in pixels of the view.
        iod: the outer-eye distance in pixels of the view.
        sigma_percent: how well landmarks are meant to agree with labels, in % of the outer-eye distance.
        evaluations, gradients: forward and backward passes of the chain so far.
    """

    chain: Pipeline
    stand_in_chain: Pipeline
    reading: Reading
    target: Tensor
    iod: float
    sigma_percent: float = SIGMA_PERCENT
    evaluations: int = 0
    gradients: int = 0

    def __post_init__(self) -> None:
        share = (self.reading.weights / self.reading.weights.sum()).to(self.target.device)
        self.scale = LabelScale(self.iod, share, self.iod * self.sigma_percent / 100)
        self._factor = (share.sqrt() / self.scale.sigma)[:, None]  # [M, 1]
        self._dtype = next(value.dtype for value in self.chain.buffers() if value.is_floating_point())

    @classmethod
    def of_face(
        cls,
        chain: Pipeline,
        stand_in_chain: Pipeline,
        reading: Reading,
        region: Region,
        landmarks: Tensor,
        sigma_percent: float = SIGMA_PERCENT,
    ) -> "LabelledObjective":
        """The objective of one face of a photo.

        Args:
            region: what the view shows of the photo.
            landmarks: `(478, 2 or 3)` the detector's of the face, in pixels of the photo: they give the
                outer-eye distance where the labels do not.
        """
        iod = reading.labels.outer_eye_distance
        if iod is None:
            iod = float((landmarks[LEFT_EYE, :2] - landmarks[RIGHT_EYE, :2]).norm())
        target = region.map_to_crop(reading.points.to(region.side)).double()
        in_view = iod * region.size / float(region.side)
        return cls(chain, stand_in_chain, reading, target, in_view, sigma_percent)

    def of_points(self, points: Tensor) -> Tensor:
        """Residuals `(*B, 2M)` float64 of the labelled points `(*B, M, 2)` as the rig has them."""
        return ((points.to(self.target.dtype) - self.target) * self._factor).flatten(-2)

    @torch.no_grad()
    def landmarks(self, x: Tensor) -> Tensor:
        """X4 `(L, 2 or 3)` of controls `(K,)`, in pixels of the view."""
        self.evaluations += 1
        return self.chain(x.to(self._dtype))

    def residual(self, x: Tensor) -> Tensor:
        return self.of_points(self._points(self.landmarks(x), x)).detach()

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        self.evaluations += 1
        leaf = x.detach().requires_grad_()
        residual = self.of_points(self._points(self.chain(leaf.to(self._dtype)), leaf))

        def vjp(v: Tensor) -> Tensor:
            self.gradients += 1
            return torch.autograd.grad(residual, leaf, v, retain_graph=True)[0]

        return residual.detach(), vjp

    def embedded(self, x: Tensor) -> Tensor:
        """Residuals `(2M,)` of the stand-in's landmarks."""
        return self.of_points(self._on_rig(x))

    def embedded_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(2M,)` and `(2M, K)`."""

        def twice(x: Tensor) -> tuple[Tensor, Tensor]:
            residual = self.embedded(x)
            return residual, residual

        jacobian, residual = torch.func.jacfwd(twice, has_aux=True)(x)
        return residual, jacobian

    def stand_in(self, x: Tensor) -> Tensor:
        return self.embedded_and_jacobian(x)[1]

    def _points(self, landmarks: Tensor, x: Tensor) -> Tensor:
        """The labelled points `(M, 2)` from the detector's landmarks, and from the rig where it has none."""
        seen = self.reading.from_detector.to(landmarks) @ landmarks[..., :2]
        on_rig = self.reading.on_rig.to(landmarks.device)
        if not on_rig.any():
            return seen.double()
        return torch.where(on_rig[:, None], self._on_rig(x), seen.double())

    def _on_rig(self, x: Tensor) -> Tensor:
        landmarks = self.stand_in_chain(x.double())
        return self.reading.from_rig.to(landmarks) @ landmarks[..., :2]
