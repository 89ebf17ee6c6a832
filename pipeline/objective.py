"""f̂(X4): how far the chain's landmarks are from the photo's, and the prior on the controls."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.config import Priors
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.detect.region import LEFT_EYE, RIGHT_EYE
from pipeline.layer import Pipeline
from pipeline.solve.adjoint_broyden import Vjp
from pipeline.solve.priors import Prior

SMILES = ("mouthSmileLeft", "mouthSmileRight")


class Scale(NamedTuple):
    """Turns pixels into residuals whose half squared sum is ½ mean (distance / σ)².

    Attributes:
        iod: the photo's outer-eye distance in pixels of the view.
        weight: residual per pixel.
    """

    iod: float
    weight: float

    def percent(self, residual: Tensor) -> float:
        """Mean distance over the scored landmarks in % of the outer-eye distance, from residuals `(M,)`."""
        return float(residual.view(-1, 2).norm(dim=-1).mean()) / self.weight / self.iod * 100


@dataclass
class LandmarkObjective:
    """r(X1) = weight · (X4 − target) over the scored landmarks, flattened to `(M,)`, M = 864; r in float64.

    Attributes:
        chain: detect ∘ render ∘ deform.
        stand_in_chain: embed ∘ deform, in float64.
        target: `(478, 3)` the photo's landmarks in pixels of the view.
        sigma_percent: how well landmarks are meant to agree, in % of the outer-eye distance.
        evaluations, gradients: forward and backward passes of the chain so far.
    """

    chain: Pipeline
    stand_in_chain: Pipeline
    target: Tensor
    sigma_percent: float
    evaluations: int = 0
    gradients: int = 0

    def __post_init__(self) -> None:
        self.scored = torch.tensor(SCORED, device=self.target.device)
        iod = float((self.target[LEFT_EYE, :2] - self.target[RIGHT_EYE, :2]).norm())
        self.scale = Scale(iod, 1 / (iod * self.sigma_percent / 100 * len(SCORED) ** 0.5))

    def of_landmarks(self, landmarks: Tensor) -> Tensor:
        """Residuals `(M,)` of landmarks `(478, 3)`."""
        difference = landmarks[self.scored, :2] - self.target[self.scored, :2].to(landmarks.dtype)
        return (difference * self.scale.weight).flatten()

    @torch.no_grad()
    def landmarks(self, x: Tensor) -> Tensor:
        """X4 `(478, 3)` of controls `(K,)`, in pixels of the view."""
        self.evaluations += 1
        return self.chain(x.to(self.target.dtype))

    def residual(self, x: Tensor) -> Tensor:
        return self.of_landmarks(self.landmarks(x)).double()

    def residual_and_vjp(self, x: Tensor) -> tuple[Tensor, Vjp]:
        self.evaluations += 1
        leaf = x.to(self.target.dtype).detach().requires_grad_()
        residual = self.of_landmarks(self.chain(leaf))

        def vjp(v: Tensor) -> Tensor:
            self.gradients += 1
            return torch.autograd.grad(residual, leaf, v.to(residual.dtype))[0].double()

        return residual.detach().double(), vjp

    def embedded(self, x: Tensor) -> Tensor:
        """Residuals `(M,)` of the stand-in's landmarks."""
        return self.of_landmarks(self.stand_in_chain(x))

    def embedded_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(M,)` and `(M, K)`."""

        def twice(x: Tensor) -> tuple[Tensor, Tensor]:
            residual = self.embedded(x)
            return residual, residual

        jacobian, residual = torch.func.jacfwd(twice, has_aux=True)(x)
        return residual, jacobian

    def stand_in(self, x: Tensor) -> Tensor:
        return self.embedded_and_jacobian(x)[1]


def build_prior(rig: Rig, settings: Priors, held: dict[str, float]) -> Prior:
    """The prior of a face about which nothing is known but that it is a face.

    Expressions are few and mild: a Laplace and a Gaussian density over [0, 1]. Identity is a Gaussian whose
    width is the same in millimetres for every shape, so that a control that moves the whole face is held
    tighter than one that moves a nostril. The pose is free.

    Args:
        held: controls fixed at a value.
    """
    space = rig.controls
    expression, identity = space.groups["expression"], space.groups["identity"]
    precision, sparsity = torch.zeros(len(space)).double(), torch.zeros(len(space)).double()
    precision[expression] = settings.expression
    sparsity[expression] = settings.sparsity
    for name in SMILES:  # what people do in photographs: no threshold to pass
        if name in space.names:
            sparsity[space.index(name)] = 0.0
    precision[identity] = settings.identity * identity_stiffness(rig)
    low, high = space.low.clone(), space.high.clone()
    fixed = space.pack(held, torch.full((len(space),), torch.nan, dtype=torch.float64))
    is_fixed = ~fixed.isnan()
    low[is_fixed], high[is_fixed] = fixed[is_fixed], fixed[is_fixed]
    return Prior(space.rest.clone(), precision, sparsity, low, high)


def relax_identity(prior: Prior, rig: Rig, settings: Priors, found: Tensor) -> Prior:
    """The prior of the last stage: expressions stay near what was found, identity takes up what is left.

    A stiff identity first makes expressions explain what they can; details of the face's shape come after.

    Args:
        found: `(K,)` controls of the stage before.
    """
    space = rig.controls
    expression, identity = space.groups["expression"], space.groups["identity"]
    mean, precision, sparsity = prior.mean.clone(), prior.precision.clone(), prior.sparsity.clone()
    mean[expression], sparsity[expression] = found[expression], 0.0
    precision[expression] = settings.expression_found
    precision[identity] = settings.identity_detail * identity_stiffness(rig)
    return Prior(mean, precision, sparsity, prior.low, prior.high)


def identity_stiffness(rig: Rig, millimetres: float = 1.5) -> Tensor:
    """`(N,)` float64: (root mean square motion of control = 1 / `millimetres`)², at least 0.1.

    The motion is that of the scored landmarks or of the whole mesh, whichever is larger: a skull that nobody
    sees should not grow to fit a brow.
    """
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    corners = small.identity_deltas.double()[:, small.triangles]  # [N, L, 3, 3]
    landmarks = (small.landmark_barycentric.double()[..., None] * corners).sum(-2)[:, list(SCORED)]
    square = [deltas.square().sum(-1).mean(-1) for deltas in (landmarks, rig.identity_deltas.double())]
    return (torch.maximum(*square) / (millimetres / 1000) ** 2).clamp(min=0.1)
