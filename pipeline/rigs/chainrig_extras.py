"""What a GLB by ChainRig says beyond glTF, in `extras.chainrig` of the document, so that it comes back whole.

Other tools ignore it: they see morph targets, a skin and an animation. A vertex that was split at a texture
seam has its number in the attribute `_VERTEX`. `_TEXCOORD_V` is v, upward: glTF's goes down, and 1 − (1 − v)
is not quite v in single precision, which a fit would amplify.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ChainRigError
from pipeline.rigs.raw import Corrective, RawRig

KEY, VERTEX, UPWARD, FORMAT = "chainrig", "_VERTEX", "_TEXCOORD_V", "chainrig.glb/1"


def applied(raw: RawRig, extras: dict[str, Any], file: Path) -> RawRig:
    """The rig with its controls' ranges, joint drivers, correctives and landmarks.

    Raises:
        ChainRigError: the document is of another version, or does not fit the mesh.
    """
    if extras.get("format") != FORMAT:
        raise ChainRigError(f"{file} is of the format {extras.get('format')!r}: this version reads {FORMAT}.")
    try:
        _apply(raw, extras)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ChainRigError(
            f"{file} was changed since ChainRig wrote it ({error!r:.80}): remove extras.chainrig from it, or "
            "export the rig again."
        ) from None
    return raw


def _apply(raw: RawRig, extras: dict[str, Any]) -> None:
    by_name = {shape.name: shape for shape in raw.shapes}
    joints = len(raw.joint_names)
    raw.shapes = []
    for control in extras["controls"]:
        shape = by_name[control["target"]]
        shape.name, shape.group, shape.unit = control["name"], control["group"], control.get("unit", "")
        shape.low, shape.high = float(control["low"]), float(control["high"])
        shape.source = control["source"]
        shape.driver, shape.joint_deltas = np.zeros((joints, 3)), np.zeros((joints, 3))
        for joint, turn in control.get("turns", {}).items():
            shape.driver[raw.joint_names.index(joint)] = turn
        for joint, shift in control.get("shifts", {}).items():
            shape.joint_deltas[raw.joint_names.index(joint)] = shift
        raw.shapes.append(shape)
    for each in extras.get("correctives", []):  # pygltflib leaves out what is empty
        factors = [
            (name, float(start), float(peak), float("inf") if end is None else float(end))
            for name, start, peak, end in each["factors"]
        ]
        raw.correctives.append(Corrective(each["name"], by_name[each["target"]].deltas, factors))
    pose = extras.get("pose_correctives", {})
    if pose.get("joints"):
        raw.pose_corrective_joints = [raw.joint_names.index(name) for name in pose["joints"]]
        raw.pose_correctives = np.stack([by_name[target].deltas for target in pose["targets"]])
    raw.skinning, raw.ours = str(extras["skinning"]), True
    for part, name in zip(raw.parts, extras["parts"], strict=True):
        part.name = str(name)
    places = extras.get("landmarks")
    if places is not None:
        raw.landmarks = (
            np.array(places["triangle"], np.int64),
            np.array(places["barycentric"], np.float64).reshape(-1, 3),
            np.array(places["spread"], np.float64),
        )
