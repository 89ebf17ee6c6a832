"""What can be wrong with a rig whose arrays are all there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pipeline.deform.rig import Rig

AXES: dict[str, tuple[str | int, ...]] = {
    "rest": ("V", 3), "triangles": ("F", 3), "uv": ("T", 2), "uv_triangles": ("F", 3),
    "part_of_triangle": ("F",),
    "expression_deltas": ("E", "V", 3), "identity_deltas": ("N", "V", 3), "identity_low": ("N",),
    "identity_high": ("N",), "joint_parents": ("J",), "joint_rest": ("J", 3),
    "joint_identity_deltas": ("N", "J", 3),
    "skin_weights": ("V", "J"), "drivers": ("E", "J", 3), "landmark_triangle": ("L",),
    "landmark_barycentric": ("L", 3), "landmark_spread": ("L",),
    "joint_expression_deltas": ("E", "J", 3), "expression_low": ("E",), "expression_high": ("E",),
    "corrective_deltas": ("C", "V", 3), "corrective_controls": ("C", "A"), "corrective_ramps": ("C", "A", 3),
    "pose_corrective_joints": ("Q",), "pose_corrective_deltas": ("9Q", "V", 3),
}  # fmt: skip
INDICES = {
    "triangles": "V", "uv_triangles": "T", "part_of_triangle": "parts", "landmark_triangle": "F",
    "pose_corrective_joints": "J",
}  # fmt: skip


def complaint(rig: Rig) -> str:
    """The first thing that is wrong, as a clause; "" if nothing is."""
    correctives = rig.corrective_controls.shape
    sizes = {
        "V": len(rig.rest), "F": len(rig.triangles), "E": len(rig.expression_names),
        "N": len(rig.identity_names), "J": len(rig.joint_names), "T": len(rig.uv),
        "L": 0 if rig.landmark_triangle is None else len(rig.landmark_triangle),
        "C": len(rig.corrective_names), "A": correctives[-1] if correctives else 0,
        "Q": len(rig.pose_corrective_joints), "9Q": 9 * len(rig.pose_corrective_joints),
        "parts": len(rig.part_names),
    }  # fmt: skip
    if not sizes["V"] or not sizes["F"]:
        return "it has no triangles"
    return _shapes(rig, sizes) or _indices(rig, sizes) or _meaning(rig)


def _shapes(rig: Rig, sizes: dict[str, int]) -> str:
    for name, axes in AXES.items():
        value = getattr(rig, name)
        shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in axes)
        if value is None or (not len(value) and (not shape[0] or name == "joint_expression_deltas")):
            continue
        if value.shape != shape:
            return f"{name} has shape {tuple(value.shape)} where {shape} is needed"
        if value.is_floating_point() and name != "corrective_ramps" and not value.isfinite().all():
            return f"{name} holds numbers that are not finite"
    return ""


def _indices(rig: Rig, sizes: dict[str, int]) -> str:
    for name, count in INDICES.items():
        value, end = getattr(rig, name), sizes[count]
        if value is not None and value.numel() and not (0 <= int(value.min()) and int(value.max()) < end):
            return f"{name} points beyond the {end} entries there are"
    controls = rig.corrective_controls
    if controls.numel() and not (-1 <= int(controls.min()) and int(controls.max()) < sizes["E"]):
        return f"corrective_controls points beyond the {sizes['E']} expressions there are"
    if any(not -1 <= parent < joint for joint, parent in enumerate(rig.joint_parents.tolist())):
        return "a joint comes before its parent"
    return ""


def _meaning(rig: Rig) -> str:
    if len(rig.joint_names):
        off = (rig.skin_weights.sum(1) - 1).abs()
        if off.max() > 1e-3:
            worst = int(off.argmax())
            total = float(rig.skin_weights[worst].sum())
            return f"the skin weights of a vertex do not sum to 1: those of vertex {worst} to {total:.3g}"
    for names in (rig.expression_units, rig.expression_sources):
        if names and len(names) != len(rig.expression_names):
            return f"{len(names)} units or source names are given for {len(rig.expression_names)} expressions"
    start, peak, end = rig.corrective_ramps.unbind(-1)
    used = rig.corrective_controls >= 0
    if not ((start < peak) & (peak < end) & start.isfinite() & peak.isfinite() | ~used).all():
        return "a corrective's ramp is not ordered as start < peak < end"
    for low, high, count in (
        (rig.identity_low, rig.identity_high, len(rig.identity_names)),
        (rig.expression_low, rig.expression_high, len(rig.expression_names)),
    ):
        low = torch.zeros(count) if low is None else low
        high = torch.ones(count) if high is None else high
        if not ((low <= 0) & (high >= 0) & (low < high)).all():
            return "a control's range is empty, or does not hold its rest value 0"
    if rig.skinning not in ("linear", "dual quaternion"):
        return f"its skinning is {rig.skinning!r}, which is neither 'linear' nor 'dual quaternion'"
    if rig.albedo is not None and (rig.albedo.ndim != 3 or rig.albedo.shape[2] != 3):
        return f"its albedo has shape {tuple(rig.albedo.shape)} where (H, W, 3) is needed"
    if rig.paint is not None and rig.paint.ndim != 3:
        return f"its paint has shape {tuple(rig.paint.shape)} where (M, H, W) is needed"
    return ""
