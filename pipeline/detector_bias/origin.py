"""What a rig's landmark places owe to the detector that is measured against them."""

from pathlib import Path

from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.training import checkpoint
from pipeline.detect.training.detector import HeatmapDetector
from pipeline.detector_bias.looking import rig_scheme

_SPREAD = "Spread, and how the bias depends on pose and expression, are the detector's own in either case."


def independence(detector: LandmarkDetector, rig: Rig, choice: str) -> tuple[bool, str]:
    """Whether the mean bias says something that did not go into the places, and a sentence about it.

    Args:
        choice: what `--detector` was given.

    Raises:
        ChainRigError: the rig's landmarks are of no scheme.
    """
    near = ""
    if rig_scheme(rig) != detector.scheme:
        near = (
            f" The rig's points are {rig_scheme(rig)}'s, the detector's {detector.scheme}'s: where the two "
            "schemes mean different places, on the jaw above all, the bias has that in it."
        )
    if rig.landmark_spread is None:
        return True, f"The rig's landmarks are its own: the mean bias is measured against them.{near}"
    if isinstance(detector, FaceMesh):
        return False, (
            "The mean bias is not independent: the rig's landmarks were placed with this very detector, on "
            f"other renders of this rig. {_SPREAD}"
        )
    if isinstance(detector, HeatmapDetector) and "synthetic" in _data(choice):
        return False, (
            "The mean bias is not independent: the detector was trained on renders of this rig, labelled "
            f"with these very landmarks. {_SPREAD}"
        )
    return True, (
        "The mean bias is independent, but it is a difference between two detectors: the rig's landmarks "
        f"were placed with FaceMesh, on renders.{near}"
    )


def _data(choice: str) -> list[str]:
    """What a trained network learned from, as its file says."""
    return list(checkpoint.read(Path(choice))[1].get("data", []))
