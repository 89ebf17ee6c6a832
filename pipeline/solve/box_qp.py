"""A strictly convex quadratic over a box, by block principal pivoting.

    minimise ½ dᵀHd + gᵀd   subject to   low ≤ d ≤ high

Every coordinate is free, or held at one of its bounds. All that break their condition trade places at once
(free and outside the box: to the bound; held with a gradient that points inside: free). That ends after a few
solves in practice; if the number of offenders stops falling, only the last one moves, which always ends
(Júdice and Pires, "A block principal pivoting algorithm for large-scale strictly monotone linear
complementarity problems", 1994).
"""

import torch
from torch import Tensor


def solve_box_qp(hessian: Tensor, gradient: Tensor, low: Tensor, high: Tensor, rounds: int = 200) -> Tensor:
    """The minimiser d.

    Args:
        hessian: `(K, K)` symmetric positive definite.
        gradient: `(K,)`.
        low, high: `(K,)` with low ≤ high; ±inf where there is no bound.

    Returns:
        `(K,)` inside the box.
    """
    size = len(gradient)
    held = torch.zeros(size, dtype=torch.int8)  # −1 at low, +1 at high, 0 free
    fixed = low == high  # no room: held for good
    held[fixed] = -1
    tolerance = 1e-10 * (1 + gradient.abs().max())
    fewest, patience = size + 1, 3
    step = torch.zeros_like(gradient)
    for _ in range(rounds):
        free = (held == 0).nonzero().squeeze(-1)
        step = torch.where(held < 0, low, high)
        step[free] = 0
        if len(free):
            right = -(gradient + hessian @ step)[free]
            step[free] = torch.cholesky_solve(
                right[:, None], torch.linalg.cholesky(hessian[free][:, free])
            ).squeeze(-1)
        slope = hessian @ step + gradient
        wanted = held.clone()
        wanted[(held == 0) & (step < low)] = -1
        wanted[(held == 0) & (step > high)] = 1
        wanted[(held < 0) & (slope < -tolerance)] = 0
        wanted[(held > 0) & (slope > tolerance)] = 0
        wanted[fixed] = -1
        offenders = (wanted != held).nonzero().squeeze(-1)
        if not len(offenders):
            break
        if len(offenders) < fewest:
            fewest, patience = len(offenders), 3
        else:
            patience -= 1
        moved = offenders if patience >= 0 else offenders[-1:]
        held[moved] = wanted[moved]
    return step.clamp(low, high)
