"""Where the eyes of a rig look, whether joints turn them or shapes move them."""

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.rig import Rig

STILL_M = 1e-5


def gaze_turns(rig: Rig, eye: str) -> Tensor:
    """(E, 3) rotation vector (rad) by which each expression at 1 turns an eye; to first order they add up.

    Of an eye without a joint: the rotation that best takes its eyeball's vertices to where the shape has them
    (Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976). Zero for a rig without
    eyes.

    Args:
        eye: "eye_left" or "eye_right", a joint or a part of the mesh.
    """
    if eye in rig.joint_names and rig.drivers[:, rig.joint_names.index(eye)].any():
        return rig.drivers[:, rig.joint_names.index(eye)]
    found = torch.zeros(len(rig.expression_names), 3, dtype=rig.rest.dtype)
    if eye not in rig.part_names:
        return found
    ball = rig.triangles[rig.part_of_triangle == rig.part_names.index(eye)].unique()
    rest = rig.rest[ball].double().numpy()
    for k, deltas in enumerate(rig.expression_deltas[:, ball].double().numpy()):
        if np.abs(deltas).max(initial=0.0) > STILL_M:
            found[k] = torch.from_numpy(_rotation_vector(rest - rest.mean(0), rest + deltas)).to(found)
    return found


def _rotation_vector(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(before.T @ (after - after.mean(0)))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    R = vt.T @ flip @ u.T
    skew = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / 2
    sine = np.linalg.norm(skew)
    return skew / max(sine, 1e-12) * np.arctan2(sine, (np.trace(R) - 1) / 2)
