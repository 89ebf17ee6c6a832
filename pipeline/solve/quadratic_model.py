"""The Gauss–Newton model of a value around a point, and its minimum over the box.

m(d) = gᵀd + ½ dᵀHd,   g = Jᵀ(w r) + ∇prior,   H = JᵀWJ + ∇²prior
"""

import torch
from torch import Tensor

from pipeline.solve.box_qp import solve_box_qp
from pipeline.solve.descent import dot
from pipeline.solve.priors import Regulariser


def normal_matrix(jacobian: Tensor, weight: Tensor, prior: Regulariser, x: Tensor) -> Tensor:
    """H `(*B, K, K)`, from J `(*B, M, K)` and weights `(*B, M)`."""
    return jacobian.mT @ (weight[..., None] * jacobian) + prior.curvature(x)


def decrease(gradient: Tensor, hessian: Tensor, d: Tensor) -> Tensor:
    """−m(d), `(*B,)`."""
    return -dot(gradient, d) - 0.5 * dot(d, (hessian @ d[..., None]).squeeze(-1))


def damped_step(
    prior: Regulariser,
    x: Tensor,
    hessian: Tensor,
    gradient: Tensor,
    damping: Tensor | float,
    among: Tensor | None = None,
) -> Tensor:
    """The minimiser of m(d) + ½ λ dᵀ diag(H) d over the box, `(*B, K)`.

    Args:
        damping: λ, `(*B,)`.
        among: `(*B, K)` bool, the controls that may move; all if omitted.
    """
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    damping = torch.as_tensor(damping, dtype=x.dtype, device=x.device)
    damped = hessian + (damping[..., None] * diagonal).diag_embed()
    low, high = prior.low - x, prior.high - x
    if among is not None:
        low, high = torch.where(among, low, 0), torch.where(among, high, 0)
    return solve_box_qp(damped, gradient, low, high)
