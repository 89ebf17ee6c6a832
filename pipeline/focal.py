"""The focal length, from how perspective bends a face: near heads have large noses and small ears.

Seen through the landmarks only, that says little: a shape of the head explains nearly as much as a distance
does. So the focal length is one more unknown with a prior, and comes with its own uncertainty
(docs/appearance.md).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera
from pipeline.solve import levenberg_marquardt
from pipeline.solve.priors import Prior


class FocalEstimate(NamedTuple):
    """Attributes:
    focal_px: `()` float32, pixels of the photo.
    spread: standard deviation of its logarithm, given the landmarks and the priors.
    x: `(K,)` controls that go with it, the head as much farther away as the focal length is longer.
    """

    focal_px: Tensor
    spread: float
    x: Tensor


def estimate_focal(
    objective: LandmarkObjective, prior: Prior, x: Tensor, distance: int, camera: Camera, spread: float
) -> FocalEstimate:
    """The focal length with which the landmark embedding explains the photo best.

    Minimises ½ ‖r(x, φ)‖² + prior(x) + ½ (φ / spread)² over the controls and
    φ = log(focal length / the camera's), where the head is moved e^φ times as far away, so that it keeps its
    size and φ is perspective alone. r is the embedding's residual and what the chain's differs from it at
    `x`.

    Args:
        distance: index of the control that is z of the head.
        spread: how far the focal length may be from the camera's, standard deviation of its logarithm.
    """
    name = next(name for name, _ in objective.stand_in_chain.named_buffers() if name.endswith("focal_px"))
    focal = camera.focal_px.double()
    away = torch.nn.functional.one_hot(torch.tensor(distance), len(x)).double()
    offset = objective.residual(x) - objective.embedded(x)

    def moved(y: Tensor) -> Tensor:
        return y[:-1] * torch.where(away > 0, y[-1].exp(), 1.0)

    def residual(y: Tensor) -> Tensor:
        landmarks = torch.func.functional_call(
            objective.stand_in_chain, {name: focal * y[-1].exp()}, (moved(y),)
        )
        return objective.of_embedded(landmarks) + offset

    def residual_and_jacobian(y: Tensor) -> tuple[Tensor, Tensor]:
        jacobian, value = torch.func.jacfwd(lambda y: (residual(y),) * 2, has_aux=True)(y)
        return value, jacobian

    def with_focal(of_controls: Tensor, of_focal: float) -> Tensor:
        return torch.cat([of_controls, of_controls.new_tensor([of_focal])])

    joint = Prior(
        with_focal(prior.mean, 0.0),
        with_focal(prior.precision, spread**-2),
        with_focal(prior.sparsity, 0.0),
        with_focal(prior.low, -math.inf),
        with_focal(prior.high, math.inf),
        None if prior.coupling is None else pad(prior.coupling, (0, 1, 0, 1)),
    )
    y = levenberg_marquardt.minimize(
        residual_and_jacobian, residual, joint, with_focal(x, 0.0), steps=15, tolerance=1e-4
    )
    jacobian = residual_and_jacobian(y)[1]
    free = (y > joint.low) & (y < joint.high)
    hessian = (jacobian.T @ jacobian + joint.curvature(y))[free][:, free]
    variance = torch.linalg.inv(hessian)[-1, -1]
    return FocalEstimate((focal * y[-1].exp()).float(), float(variance.sqrt()), moved(y))
