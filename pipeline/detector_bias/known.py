"""What a fit knows of its detector's errors on renders."""

from torch import Tensor

from pipeline import assets
from pipeline.deform.rig import Rig
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detector_bias.file import BiasFile, read_bias
from pipeline.errors import ChainRigError

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
