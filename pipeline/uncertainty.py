"""What one photo tells of each control: how far the true value may lie from the fitted one.

Around the fitted controls x̂, −log of the posterior density is taken as quadratic over the box of ranges:

    ½ (x − x̂)ᵀ H (x − x̂) + gᵀ (x − x̂),    H = JᵀWJ + P,    g = JᵀWr + ∇prior(x̂),    low ≤ x ≤ high

and the ± of a control is the root mean square of x − x̂ under it. Where no range is near, that is the square
root of the diagonal of H⁻¹. Where the estimate stands at the end of its range, only the inner side counts;
a control that the landmarks do not see keeps the prior's width; ± can never exceed the range. g is 0 in free
controls where the fit has converged; where it stopped early, or weighs landmarks otherwise than W does, the
distance from x̂ to the posterior's own centre is part of ±.

- J = ∂X4/∂X1 is the chain's, or at no cost the landmark embedding's. The detector answers to expressions
  otherwise than fixed points of the skin do, and with the embedding's J alone ± would come out too small, so
  the mean difference, measured on renders (scripts/measure_landmark_response.py), is added to it.
- W: the fit's objective counts all n compared points as *one* observation of size σ = `residual_percent`.
  That is the objective of independent errors of σ√n in every coordinate. The σ of ± is `DOUBT` times that:
  a fit's last stage asks for more than landmarks can promise. Beyond that, W shares the sum of weights out
  by how well the detector's landmarks stay on the same spot of renders, as the fit itself does where
  `landmarks.whiten` is on (`Comparison.whitened`). Labels count as their file says.
- The prior is the fit's: Gaussian and Laplace on expressions, Gaussian on identity with the softer precision
  of the last stage, nothing on the pose. That the last stage holds expressions near what was found is a way
  to get there, no knowledge, and does not count. Controls that are held are known.

The camera counts as known.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline import assets
from pipeline.config import Priors
from pipeline.controls import Control, ControlSpace
from pipeline.deform.rig import Rig
from pipeline.face_prior import identity_stiffness
from pipeline.objective import LandmarkObjective
from pipeline.solve.priors import Prior
from pipeline.truncated_gaussian import interval_moments, moments

DOUBT = 2.0  # landmarks err so many times as much as the fit's last stage asks for
VISIBLE_PX = 0.2  # of the detector's view: what moves all landmarks by less cannot be seen
POSE_SPAN = {"rad": 0.5, "m": 0.05}  # the pose has no range to speak of: so far to either side


class Posterior(NamedTuple):
    """What is known of K controls after the photo; float64.

    Attributes:
        sd: `(K,)` root mean square distance of the true value from the estimate; 0 where it is held.
        covariance: `(K, K)` about the posterior's own mean.
        offset: `(K,)` that mean, from the estimate.
    """

    sd: Tensor
    covariance: Tensor
    offset: Tensor


def belief(prior: Prior, rig: Rig, settings: Priors) -> Prior:
    """What is known of a face before the photo: the fit's first prior, identity as wide as in its last."""
    precision, identity = prior.precision.clone(), rig.controls.groups["identity"]
    precision[identity] = settings.identity_detail * identity_stiffness(rig)
    return replace(prior, precision=precision)


def whitening(objective: LandmarkObjective, spread: Tensor | None, count: int) -> Tensor:
    """`(count,)` float64 factors of a fit's residuals, after which landmarks count by their spread.

    Args:
        spread: `(L,)` of the detector's landmarks, see `Comparison.whitened`; None where it is not known, or
            where a person placed the points: then the objective's own weights stay.
        count: of the residuals, of which those of the points come first.
    """
    factor, compared = torch.full((count,), 1 / DOUBT, dtype=torch.float64), objective.comparison
    if spread is not None:
        even = replace(compared, share=torch.full_like(compared.share, 1 / len(compared)))
        wanted = even.whitened(spread).share / compared.share
        factor[: 2 * len(compared)] *= wanted.sqrt().repeat_interleave(2)
    return factor


def cheap_jacobian(objective: LandmarkObjective, rig: Rig, x: Tensor) -> Tensor:
    """`(M, K)` of the fit's residuals: the embedding's at x, and what the detector's answer differs by.

    The latter is known of the shipped rig.
    """
    jacobian, measured = objective.stand_in(x), {} if rig.source else _responses()
    points = 2 * len(objective.comparison)
    for k, name in enumerate(rig.expression_names):
        if name in measured and len(measured[name]) == objective.comparison.from_detector.shape[1]:
            more = objective.comparison.detected(measured[name].double()).flatten()
            jacobian[:points, k] += objective.per_pixel * more
    return jacobian


@cache
def _responses() -> dict[str, Tensor]:
    """Expression → `(478, 2)` pixels of the view per unit that FaceMesh answers beyond the embedding."""
    with np.load(assets.path("landmark_response.npz")) as file:
        names, response = file["expression_names"].tolist(), file["response"].astype(np.float64)
    return dict(zip(names, torch.from_numpy(response), strict=True))


def posterior(jacobian: Tensor, residual: Tensor, prior: Prior, x: Tensor) -> Posterior:
    """The posterior about the estimate x `(K,)`.

    Args:
        jacobian: `(M, K)` of the residuals, whitened.
        residual: `(M,)` at x, whitened.
        prior: with the ranges; x lies inside them.
    """
    free = (prior.low < prior.high).nonzero().squeeze(-1)
    seen = jacobian[:, free]
    precision = seen.T @ seen + prior.curvature(x)[free][:, free]
    gradient = seen.T @ residual + prior.gradient(x)[free]
    low, high = (prior.low - x)[free].clamp(max=0), (prior.high - x)[free].clamp(min=0)
    mean, known = moments(precision, -gradient, low, high)
    offset = torch.zeros_like(x).index_put((free,), mean)
    covariance = x.new_zeros(len(x), len(x)).index_put((free[:, None], free), known)
    return Posterior((covariance.diagonal() + offset.square()).sqrt(), covariance, offset)


def prior_sd(prior: Prior, x: Tensor) -> Tensor:
    """`(K,)` the ± of the estimate x without a photo: 0 where held, inf where nothing is known.

    Of each control by itself: that two go together is left out.
    """
    prior = replace(prior, coupling=None)
    free, known = prior.low < prior.high, prior.precision > 0
    low, high = prior.low - x, torch.where(free, prior.high, prior.low + 1) - x
    mean, variance = interval_moments(prior.precision, -prior.gradient(x), low, high)
    sd = (variance + mean.square()).sqrt()
    return torch.where(free, torch.where(known, sd, torch.inf), 0)


@torch.no_grad()
def full_range_px(objective: LandmarkObjective, space: ControlSpace, x: Tensor) -> Tensor:
    """`(K,)` how far a control's full range, the others as in x, moves the compared point that moves most.

    Of the stand-in, in pixels of its view. A turn counts from −0.5 to 0.5 rad and a shift from −5 to 5 cm
    about x.
    """
    low, high = ranges(space, x)
    ends = [x + (end - x).diag() for end in (low, high)]  # row k: control k at its end
    points = [objective.comparison.embedded(objective.stand_in_chain(end)) for end in ends]
    return (points[1] - points[0]).norm(dim=-1).amax(-1)


def ranges(space: ControlSpace, x: Tensor) -> tuple[Tensor, Tensor]:
    """`(K,)` low and high ends of the rig's ranges, for the pose a span about x."""
    span = torch.tensor([POSE_SPAN.get(control.unit, 0.0) for control in space.controls]).to(x)
    return torch.where(span > 0, x - span, space.low), torch.where(span > 0, x + span, space.high)


def unobservable(controls: Sequence[Control], range_px: Tensor) -> tuple[str, ...]:
    """The controls whose full range moves no landmark by `VISIBLE_PX`."""
    return tuple(one.name for one, px in zip(controls, range_px.tolist(), strict=True) if px < VISIBLE_PX)
