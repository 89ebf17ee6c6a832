"""The whole measurement: a rig, a detector, a plan → what is found."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.detector_bias.looking import Observer, stacked
from pipeline.detector_bias.presence import Presence, measure_presence
from pipeline.detector_bias.scenes import Plan
from pipeline.detector_bias.smoothness import Smoothness, measure_smoothness
from pipeline.detector_bias.statistics import Statistics, summarize
from pipeline.errors import ChainRigError
from pipeline.target.faces import MIN_PRESENCE

AT_ONCE = 4  # renders: more leave the processor's cache
LOOKED_AT = 4  # of them, for derivatives

Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


@dataclass(frozen=True)
class Seen:
    """What a detector said of the renders of a plan.

    Attributes:
        errors: `(N, L, 2)` % IOD, see `looking.Sight`.
        presence: `(N,)` FaceMesh's.
        used: `(N,)` bool: a face was seen, as a fit demands.
    """

    errors: Tensor
    presence: Tensor
    used: Tensor


@dataclass(frozen=True)
class Measured:
    """All that is found of a detector on a rig."""

    plan: Plan
    seen: Seen
    statistics: Statistics
    smoothness: Smoothness
    presence: Presence


def measure(observer: Observer, plan: Plan, tell: Progress = lambda what, done, of: None) -> Measured:
    """Renders, asks, and counts.

    Raises:
        ChainRigError: the detector sees a face in too few of the renders.
    """
    seen = observe(observer, plan, tell)
    rows = seen.used.nonzero().flatten()
    some = rows[torch.linspace(0, len(rows) - 1, LOOKED_AT).long()].tolist()
    return Measured(
        plan,
        seen,
        summarize(seen.errors, plan, seen.used),
        measure_smoothness(observer, plan, some, lambda done: tell("Derivatives", done, LOOKED_AT)),
        measure_presence(observer, plan, lambda done, of: tell("Presence", done, of)),
    )


def observe(observer: Observer, plan: Plan, tell: Progress = lambda what, done, of: None) -> Seen:
    """Renders the plan, one identity after the other.

    Raises:
        ChainRigError: the detector sees a face in too few of the renders.
    """
    errors, presence = [], []
    n = len(plan.lights)
    for identity in range(n):
        material = observer.material(plan.colours[identity])
        for rows in torch.arange(identity * n, (identity + 1) * n).split(AT_ONCE):
            light = stacked([plan.lights[i] for i in plan.levels[rows, 1].tolist()])
            sight = observer.look(plan.controls[rows], material, light)
            errors.append(sight.errors)
            presence.append(sight.presence)
            tell("Renders", int(rows[-1]) + 1, len(plan))
    every, there = torch.cat(errors), torch.cat(presence)
    used = (there >= MIN_PRESENCE) & ~every.isnan().all(-1).all(-1)
    if int(used.sum()) < len(plan) / 2:
        raise ChainRigError(
            f"A face is seen in only {int(used.sum())} of {len(plan)} renders: check the rig and its texture."
        )
    return Seen(every, there, used)
