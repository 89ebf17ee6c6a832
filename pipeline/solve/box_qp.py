"""A strictly convex quadratic over a box, by block principal pivoting.

    minimise ½ dᵀHd + gᵀd   subject to   low ≤ d ≤ high

Every coordinate is free, or held at one of its bounds. All that break their condition trade places at once
(free and outside the box: to the bound; held with a gradient that points inside: free). That ends after a few
solves in practice; if the number of offenders stops falling, only the last one moves, which always ends
(Júdice and Pires, "A block principal pivoting algorithm for large-scale strictly monotone linear
complementarity problems", 1994).

The pivoting knows H by two functions only, so that `block_arrow.py` can put a structured H in its place. The
items of a batch pivot in step, and none sees another.
"""

from collections.abc import Callable

import torch
from torch import Tensor

SolveFree = Callable[[Tensor, Tensor], Tensor]
Product = Callable[[Tensor], Tensor]


def solve_box_qp(hessian: Tensor, gradient: Tensor, low: Tensor, high: Tensor, rounds: int = 200) -> Tensor:
    """The minimiser d `(*B, K)` inside the box.

    Coordinates are scaled to a unit diagonal, so controls may differ in units. One without any curvature
    stays as near to 0 as its bounds allow.

    Args:
        hessian: `(*B, K, K)` symmetric, positive definite or nearly so.
        gradient: `(*B, K)`.
        low, high: `(*B, K)` with low ≤ high; ±inf where there is no bound.
    """
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    flat = diagonal <= 0
    scale = diagonal.masked_fill(flat, 1).rsqrt()
    scaled = scale[..., :, None] * hessian * scale[..., None, :]
    rest = torch.minimum(torch.maximum(torch.zeros_like(low), low), high)
    return pivot(
        lambda free, right: scale * solve_masked(scaled, free, scale * right),
        lambda d: (hessian @ d[..., None]).squeeze(-1),
        scale,
        gradient,
        torch.where(flat, rest, low),
        torch.where(flat, rest, high),
        rounds,
    )


def pivot(
    solve_free: SolveFree,
    product: Product,
    scale: Tensor,
    gradient: Tensor,
    low: Tensor,
    high: Tensor,
    rounds: int = 200,
) -> Tensor:
    """The pivoting itself.

    Args:
        solve_free: (free `(*B, K)` bool, right `(*B, K)`) → d with H d = right among the free coordinates;
            what it gives for the others does not matter.
        product: d → H d.
        scale: `(*B, K)` 1/√ of H's diagonal: what is a slope and what is rounding.
    """
    gradient, low, high = torch.broadcast_tensors(gradient, low, high)
    fixed = low == high  # no room: held for good
    # A guess that is often right: at a bound already, and pushed against it.
    held = torch.where((low >= 0) & (gradient > 0), -1, 0) + torch.where((high <= 0) & (gradient < 0), 1, 0)
    held = torch.where(fixed, -1, held)
    rounding = 1e5 * torch.finfo(gradient.dtype).eps
    tolerance = rounding * (gradient * scale).abs().amax(-1, keepdim=True) / scale
    fewest = torch.full_like(held[..., :1], gradient.shape[-1] + 1)
    patience = torch.full_like(fewest, 3)
    last = torch.arange(gradient.shape[-1], device=held.device).expand_as(held)
    step = torch.zeros_like(gradient)
    for _ in range(rounds):
        free = held == 0
        step = torch.where(held < 0, low, high).masked_fill(free, 0)
        step = torch.where(free, solve_free(free, -(gradient + product(step))), step)
        slope = product(step) + gradient
        wanted = torch.where(free & (step < low), -1, held)
        wanted = torch.where(free & (step > high), 1, wanted)
        wanted = torch.where((held < 0) & (slope < -tolerance), 0, wanted)
        wanted = torch.where((held > 0) & (slope > tolerance), 0, wanted)
        wanted = torch.where(fixed, -1, wanted)
        offends = wanted != held
        count = offends.sum(-1, keepdim=True)
        if not bool(count.any()):
            break
        fewer = count < fewest
        patience = torch.where(fewer, 3, patience - 1)
        fewest = torch.minimum(fewest, count)
        only_last = last == torch.where(offends, last, -1).amax(-1, keepdim=True)
        held = torch.where(offends & ((patience >= 0) | only_last), wanted, held)
    return torch.minimum(torch.maximum(step, low), high)


def solve_masked(hessian: Tensor, free: Tensor, right: Tensor) -> Tensor:
    """H d = right `(*B, K)` among the free coordinates, 0 elsewhere; H `(*B, K, K)` of unit diagonal.

    A ridge of rounding size lets a singular H pass; one step of refinement takes its effect away elsewhere.
    """
    both = free[..., :, None] & free[..., None, :]
    masked = torch.where(both, hessian, 0) + (~free).to(hessian).diag_embed()
    ridge = 10 * hessian.shape[-1] * torch.finfo(hessian.dtype).eps
    factor = torch.linalg.cholesky(masked + ridge * torch.eye(hessian.shape[-1]).to(masked))
    right = torch.where(free, right, 0)[..., None]
    step = torch.cholesky_solve(right, factor)
    step = step + torch.cholesky_solve(right - masked @ step, factor)
    return step.squeeze(-1)
