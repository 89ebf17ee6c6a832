"""How far the controls that a fit found are from the true ones."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean

import roma
import torch

from pipeline.evaluation.truth import Truth
from pipeline.result import FitResult


@dataclass(frozen=True)
class ControlError:
    """Mean absolute errors of controls, in the controls' units; None where there is nothing to judge.

    Attributes:
        truth: the true expressions, by name.
        observable: of the expressions that the photo can show (all but the fit's `unobservable`).
        active, quiet: of those of them that are truly in use, and truly at 0.
        every: of all expressions.
        identity: of the identity controls that the photo can show.
        rotation_deg: angle between the found and the true rotation of the head.
    """

    truth: dict[str, float]
    observable: float | None
    active: float | None
    quiet: float | None
    every: float | None
    identity: float | None
    rotation_deg: float | None


def control_error(result: FitResult, truth: Truth) -> ControlError:
    """The errors of a fit."""
    of_expression = absolute_errors(result.controls, truth.expressions)
    seen = {name: error for name, error in of_expression.items() if name not in result.unobservable}
    of_identity = absolute_errors(result.identity, truth.identity or {})
    turn = truth.rotation_vector
    return ControlError(
        truth={name: truth.expressions[name] for name in of_expression},
        observable=mean_or_none(seen.values()),
        active=mean_or_none(error for name, error in seen.items() if truth.expressions[name]),
        quiet=mean_or_none(error for name, error in seen.items() if not truth.expressions[name]),
        every=mean_or_none(of_expression.values()),
        identity=mean_or_none(
            error for name, error in of_identity.items() if name not in result.unobservable
        ),
        rotation_deg=None if turn is None else angle_between(result.rotation_vector, turn),
    )


def absolute_errors(found: Mapping[str, float], truth: Mapping[str, float]) -> dict[str, float]:
    """|found − true| of the controls that both name."""
    return {name: abs(value - truth[name]) for name, value in found.items() if name in truth}


def angle_between(first: tuple[float, float, float], second: tuple[float, float, float]) -> float:
    """Degrees of the rotation that leads from one rotation vector's rotation to the other's; radians in."""
    turns = torch.tensor([first, second], dtype=torch.float64)
    matrices = roma.rotvec_to_rotmat(turns)
    return math.degrees(float(roma.rotmat_geodesic_distance(matrices[0], matrices[1])))


def mean_or_none(values: Iterable[float]) -> float | None:
    """The mean, or None of nothing."""
    values = list(values)
    return mean(values) if values else None
