"""One image's row: what its fit found, and what that is worth."""

import math
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from pipeline.controls import POSE_NAMES
from pipeline.evaluation.control_error import ControlError, control_error
from pipeline.evaluation.label_error import LabelError, label_error
from pipeline.evaluation.truth import Truth
from pipeline.head_angles import yaw_pitch_roll
from pipeline.result import FitResult, Status
from pipeline.target.labels.labels import Labels

SMILE = ("mouthSmileLeft", "mouthSmileRight")


@dataclass(frozen=True)
class Found:
    """A fit in numbers.

    Attributes:
        target: what was fitted, the detector's landmarks or the labels.
        residual_start_percent, residual_final_percent: as in `FitResult`.
        controls, identity, pose: by name; pose in radians and metres.
        yaw_pitch_roll_deg: of the head, as in fit.json.
        unobservable: controls that the photo cannot show.
        mean_expression: mean |value| of the expression controls.
        largest_expression, largest_control: the one of the largest |value|.
        smile: mean of mouthSmileLeft and mouthSmileRight; None where the rig has not both.
    """

    target: Literal["detector", "labels"]
    residual_start_percent: float
    residual_final_percent: float
    evaluations: int
    gradients: int
    seconds: float
    presence: float
    focal_px: float
    controls: dict[str, float]
    identity: dict[str, float]
    pose: dict[str, float]
    yaw_pitch_roll_deg: tuple[float, ...]
    unobservable: tuple[str, ...]
    mean_expression: float
    largest_expression: float
    largest_control: str
    smile: float | None


@dataclass(frozen=True)
class Row:
    """What became of an image.

    Attributes:
        path: as the folder names it.
        status: of the fit; "failed" where there is none, "crashed" where that is ChainRig's own mistake.
        reason: why there is none.
        found: None where there is no fit.
        labels, truth: None where there is nothing to judge by.
    """

    path: str
    status: Status | Literal["failed", "crashed"]
    reason: str = ""
    found: Found | None = None
    labels: LabelError | None = None
    truth: ControlError | None = None


def row_of(path: str, result: FitResult, labels: Labels | None = None, truth: Truth | None = None) -> Row:
    """The row of a fit.

    Raises:
        ChainRigError: labels that have nothing in common with the rig's 68 points.
    """
    return Row(
        path,
        result.status,
        found=found(result),
        labels=None if labels is None else label_error(result, labels),
        truth=None if truth is None else control_error(result, truth),
    )


def found(result: FitResult) -> Found:
    """A fit in numbers."""
    controls = result.controls
    largest = max(controls, key=lambda name: abs(controls[name]), default="")
    pose: dict[str, float] = dict(
        zip(POSE_NAMES, (*result.rotation_vector, *result.translation), strict=True)
    )
    angles = tuple(math.degrees(angle) for angle in yaw_pitch_roll(result.rotation_vector))
    return Found(
        target="detector" if result.labels is None else "labels",
        residual_start_percent=result.residual_start,
        residual_final_percent=result.residual_final,
        evaluations=result.evaluations,
        gradients=result.gradients,
        seconds=result.seconds,
        presence=result.presence,
        focal_px=result.focal_px,
        controls=dict(controls),
        identity=dict(result.identity),
        pose=pose,
        yaw_pitch_roll_deg=angles,
        unobservable=result.unobservable,
        mean_expression=mean(abs(value) for value in controls.values()) if controls else 0.0,
        largest_expression=abs(controls.get(largest, 0.0)),
        largest_control=largest,
        smile=mean(controls[name] for name in SMILE) if controls.keys() >= set(SMILE) else None,
    )
