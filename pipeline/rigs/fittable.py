"""The rig that a fit uses: the shipped one, or a user's that has landmarks."""

from pathlib import Path

from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import linearised
from pipeline.detect.facemesh import LANDMARKS
from pipeline.errors import ChainRigError


def fittable_rig(path: str | Path | None, deformer: str = "skinning") -> Rig:
    """A rig file (default: the shipped head) with FaceMesh's landmarks on it.

    Args:
        deformer: as in `fit.deformer`: for "blendshape" without what is not linear in the expressions.

    Raises:
        ChainRigError: the file cannot be used, or nobody has found the landmarks on the rig.
    """
    rig = Rig.load(path)
    if rig.landmark_triangle is None or len(rig.landmark_triangle) != LANDMARKS:
        raise ChainRigError(f"The rig {path} has no {LANDMARKS} landmarks: run chainrig rig embed {path}.")
    return linearised(rig) if deformer == "blendshape" else rig
