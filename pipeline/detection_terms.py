"""What FaceMesh says beyond points in the plane, as residuals: X4′ = its blendshape scores, and its depth.

Both are functions of the 478 landmarks with their z, so the chain and its stand-in have them alike. "Deep
energies" beyond points: Bao, Wu, Yao, Fedkiw, "Deep Energies for Estimating Three-Dimensional Facial Pose and
Expression" (2018).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.config import Landmarks
from pipeline.detect.blendshape_head import BlendshapeHead
from pipeline.detect.embedding import SCORED
from pipeline.errors import ChainRigError

Term = Callable[[Tensor], Tensor]


def detection_terms(
    settings: Landmarks, landmarks: Tensor, iod: float, sigma_percent: float
) -> tuple[Term, ...]:
    """The terms that the settings ask for, towards the photo's landmarks.

    Args:
        landmarks: `(478, 3)` of the photo, in pixels of the view.
        iod: the photo's outer-eye distance in pixels of the view.
        sigma_percent: how well points are meant to agree, in % of the outer-eye distance.

    Raises:
        ChainRigError: the detector's landmarks have no depth: it is not FaceMesh.
    """
    if (settings.scores or settings.depth) and landmarks.shape != (478, 3):
        raise ChainRigError(
            "landmarks.scores and landmarks.depth need facemesh: no other detector tells them; set them to 0."
        )
    terms: list[Term] = []
    if settings.depth:
        terms.append(depth_term(landmarks, settings.depth / (iod * sigma_percent / 100)))
    if settings.scores:
        terms.append(scores_term(landmarks, settings.scores))
    return tuple(terms)


def depth_term(wanted: Tensor, per_pixel: float) -> Term:
    """`(478, 3)` → `(442,)`: z of the scored landmarks about their mean, less the photo's.

    Args:
        wanted: `(478, 3)` the photo's landmarks.
        per_pixel: half the squared sum is ½ · mean of (per_pixel · difference)².
    """
    scored = torch.tensor(SCORED)
    weight = per_pixel / len(scored) ** 0.5

    def relative(landmarks: Tensor) -> Tensor:
        depth = landmarks[..., scored.to(landmarks.device), 2]
        return depth - depth.mean(-1, keepdim=True)

    target = relative(wanted.detach())
    return lambda landmarks: weight * (relative(landmarks) - target.to(landmarks))


def scores_term(wanted: Tensor, weight: float) -> Term:
    """`(478, 3)` → `(52,)`: weight · (the blendshape head's scores less the photo's)."""
    heads = {torch.float32: BlendshapeHead.load(), torch.float64: BlendshapeHead.load().double()}
    with torch.no_grad():
        target = heads[torch.float32](wanted.float())

    def term(landmarks: Tensor) -> Tensor:
        return weight * (heads[landmarks.dtype](landmarks) - target.to(landmarks))

    return term
