"""Mean, spread, and where the spread comes from.

The error of a landmark in a render is modelled as

    mean + pose_i + light_j + expression_k + identity_l + rest,

the four effects summing to zero: the analysis of variance, found by least squares because renders in which no
face is seen are missing from the plan. Each effect's variance is that of its levels, less what the rest alone
would bring about in them (random effects; Searle, Casella and McCulloch, "Variance Components", 1992, 4.3).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.detector_bias.scenes import FACTORS, YAW, Plan

YAW_BINS = 5
PARTS = (*FACTORS, "rest")


@dataclass(frozen=True)
class Statistics:
    """Of L landmarks, in % IOD, float64; NaN for landmarks that the rig lacks.

    Attributes:
        renders: how many were seen.
        bias: `(L, 2)` mean.
        covariance: `(L, 2, 2)` about it.
        parts: `(5, L)` variance of a coordinate, on average over x and y, that goes with each of `PARTS`.
        standard_error: `(L,)` of a coordinate of the mean.
        yaw_deg: `(Y,)` centres of the bins that are not empty, five if there are renders enough.
        bias_by_yaw, spread_by_yaw: `(Y, L, 2)` and `(Y, L)`.
        bias_by_expression: `(n, L, 2)`.
    """

    renders: int
    bias: Tensor
    covariance: Tensor
    parts: Tensor
    standard_error: Tensor
    yaw_deg: Tensor
    bias_by_yaw: Tensor
    spread_by_yaw: Tensor
    bias_by_expression: Tensor

    @property
    def spread(self) -> Tensor:
        """`(L,)` root mean square about the mean, of one coordinate."""
        return (self.covariance.diagonal(dim1=-2, dim2=-1).mean(-1)).sqrt()


def summarize(errors: Tensor, plan: Plan, seen: Tensor) -> Statistics:
    """Statistics of the errors `(N, L, 2)` in the renders of a plan, those `seen` `(N,)` bool."""
    errors, levels, yaw = errors[seen].double(), plan.levels[seen], plan.yaw_deg[seen]
    bias, covariance = errors.mean(0), _covariance(errors)
    parts, at_random = variance_parts(errors, levels)
    edges = torch.linspace(-YAW, YAW, YAW_BINS + 1)
    bins = torch.bucketize(yaw, edges[1:-1].contiguous())
    filled = bins.unique().tolist()  # few renders leave some bins empty
    return Statistics(
        renders=len(errors),
        bias=bias,
        covariance=covariance,
        parts=parts,
        standard_error=at_random.sqrt(),
        yaw_deg=((edges[1:] + edges[:-1]) / 2)[filled].double(),
        bias_by_yaw=_means(bins, filled, errors),
        spread_by_yaw=torch.stack([_spread(errors[bins == i]) for i in filled]),
        bias_by_expression=_means(
            levels[:, FACTORS.index("expression")], range(len(plan.expressions)), errors
        ),
    )


def variance_parts(errors: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Variance components `(5, L)`, at least 0, and the variance `(L,)` of the mean.

    Args:
        errors: `(N, L, 2)`.
        levels: `(N, 4)` int64.
    """
    columns = [torch.ones(len(levels), 1, dtype=errors.dtype)]
    for factor in levels.T:
        _, level = factor.unique(return_inverse=True)  # a level that was never seen has no effect
        columns.append(torch.nn.functional.one_hot(level).to(errors.dtype))
    design = torch.cat(columns, 1)  # [N, P]
    flat = errors.flatten(1)
    # The least-squares solution of least norm has effects that sum to zero.
    inverse = torch.linalg.pinv(design)
    effects = inverse @ flat
    freedom = len(design) - int(torch.linalg.matrix_rank(design))
    noise = (flat - design @ effects).square().sum(0) / max(1, freedom)
    per_unit = inverse.square().sum(1)  # variance of an effect where the rest has variance 1
    parts, of_mean, start = [], noise / len(design), 1
    for column in columns[1:]:
        count = column.shape[1]
        own = slice(start, start + count)
        centred = effects[own] - effects[own].mean(0)
        variance = (centred.square().sum(0) - noise * per_unit[own].sum()) / max(1, count - 1)
        parts.append(variance.clamp(min=0))
        of_mean = of_mean + parts[-1] / count
        start += count
    halves = torch.stack([*parts, noise]).unflatten(-1, errors.shape[1:]).mean(-1)
    return halves, of_mean.unflatten(0, errors.shape[1:]).mean(-1)


def _means(group: Tensor, groups: Iterable[int], errors: Tensor) -> Tensor:
    """Of errors `(N, L, 2)` by group `(N,)`: `(groups, L, 2)`; NaN where a group is empty."""
    return torch.stack([errors[group == i].mean(0) for i in groups])


def _covariance(errors: Tensor) -> Tensor:
    """`(N, L, 2)` → `(L, 2, 2)`."""
    about = (errors - errors.mean(0)).movedim(0, -1)  # [L, 2, N]
    return about @ about.mT / max(1, len(errors) - 1)


def _spread(errors: Tensor) -> Tensor:
    return _covariance(errors).diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
