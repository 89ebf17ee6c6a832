"""What a fit knows of its detector's errors on renders."""

import torch
from torch import Tensor

from pipeline import assets
from pipeline.deform.rig import Rig
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detector_bias.file import BiasFile, read_bias
from pipeline.errors import ChainRigError
from pipeline.target.comparison import Comparison
from pipeline.target.target import Target

SHIPPED = "landmark_bias.npz"  # of FaceMesh on the default rig


def known_errors(detector: LandmarkDetector, rig: Rig, file: str | None = None) -> BiasFile | None:
    """What `chainrig detector bias` wrote of this detector; None where nobody has measured it.

    Args:
        file: its npz; None: the shipped one, which is FaceMesh's.

    Raises:
        ChainRigError: the file cannot be read, or is of another detector or rig.
    """
    if file is None:
        return read_bias(assets.path(SHIPPED), detector.scheme) if detector.title == "facemesh" else None
    found = read_bias(file, detector.scheme)
    if not found.is_of(detector, rig):
        raise ChainRigError(
            f"{file} tells of {found.detector} on the rig {found.rig}, not of the weights and the rig that "
            "are in use: measure them with chainrig detector bias."
        )
    return found


def spread_of(errors: BiasFile | None) -> Tensor | None:
    """`(L,)` by which landmarks count; those that were not measured count as the worst that were."""
    if errors is None:
        return None
    return errors.spread.where(errors.known, errors.spread[errors.known].max())


def bias_in_view(
    errors: BiasFile | None,
    detector: LandmarkDetector,
    rig: Rig,
    target: Target,
    comparison: Comparison,
) -> Tensor:
    """`(M, 2)` by which a detector's points miss the rig's on renders, in pixels of the target's view.

    Raises:
        ChainRigError: nobody has measured it with these weights on this rig.
    """
    if errors is None or not errors.is_of(detector, rig):
        raise ChainRigError(
            "landmarks.correct needs what this detector errs by on renders of this rig: measure it with "
            "chainrig detector bias, and give its bias.npz as landmarks.bias_file."
        )
    turn = target.mesh.region.rotation - target.region.rotation  # from the face's frame to the view's
    cos, sin = float(turn.cos()), float(turn.sin())
    percent = errors.bias.nan_to_num() @ torch.tensor([[cos, sin], [-sin, cos]]).double()
    return comparison.detected(percent) * target.iod_in_view / 100
