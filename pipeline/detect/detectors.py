"""`--detector`: the landmark networks there are, by name, and those that users train."""

from pathlib import Path

from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.errors import ChainRigError

NAMES = ("facemesh", "fan", "fan-3d")


def load_detector(choice: str, smoothing: float = 0.0) -> LandmarkDetector:
    """The detector of a name, float32.

    Args:
        choice: facemesh; fan or fan-3d (weights are downloaded when first asked for, docs/fan.md); or the
            path of a file that `chainrig train-detector` wrote.
        smoothing: of FaceMesh's derivative, see `detect/rectifier.py`; the others' are smooth enough.

    Raises:
        ChainRigError: there is no such detector, or its weights cannot be had or used.
    """
    if choice == "facemesh":
        from pipeline.detect.facemesh import FaceMesh

        return FaceMesh.load(smoothing=smoothing)
    if choice in ("fan", "fan-3d"):
        from pipeline.detect.fan import FAN

        return FAN.load("2d" if choice == "fan" else "3d")
    path = Path(choice)
    if not path.is_file():
        raise ChainRigError(
            f"There is no detector '{choice}': there are {', '.join(NAMES)}, or the path of a file that "
            "chainrig train-detector wrote."
        )
    from pipeline.detect.training.detector import HeatmapDetector

    return HeatmapDetector.load(path)
