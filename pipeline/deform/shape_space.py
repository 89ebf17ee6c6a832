"""What people do with a rig's shapes: narrow their ranges, work on both sides at once, take a person's
neutral head, leave joints out."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from scipy.spatial import KDTree
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError

MIRROR = (-1.0, 1.0, 1.0)


def with_limits(rig: Rig, limits: Mapping[str, tuple[float, float]]) -> Rig:
    """The rig with other ranges for some of its expression or identity controls.

    Args:
        limits: control → (low, high), which must hold its rest value 0.

    Raises:
        ChainRigError: there is no such control, or its range is empty or does not hold 0.
    """
    low, high = rig.controls.low.clone(), rig.controls.high.clone()
    expressions, identities = len(rig.expression_names), len(rig.identity_names)
    for name, (least, most) in limits.items():
        index = rig.controls.index(name)
        if index >= expressions + identities or not least <= 0 <= most or not least < most:
            raise ChainRigError(
                f"{name} cannot be limited to {least:g} … {most:g}: give a control of expression or "
                "identity a range "
                "that holds 0."
            )
        low[index], high[index] = least, most
    kind = rig.identity_low
    return replace(
        rig,
        expression_low=low[:expressions].to(kind),
        expression_high=high[:expressions].to(kind),
        identity_low=low[expressions : expressions + identities].to(kind),
        identity_high=high[expressions : expressions + identities].to(kind),
    )


@torch.no_grad()
def of_subject(rig: Rig, identity: Mapping[str, float]) -> Rig:
    """The rig of one person: the identity is in its neutral head, and its identity controls are gone.

    With the identity of a fit of a neutral photo this is the person's own rig, whose expressions mean what
    they do on that person. Pose and expression stay controls.

    Args:
        identity: values of identity controls; others in the mapping are not looked at.

    Raises:
        ChainRigError: a value is not a finite number.
    """
    values = {name: value for name, value in identity.items() if name in rig.identity_names}
    x = rig.controls.pack(values, rig.controls.rest.to(rig.rest))
    deform = Deformer(rig)
    shape = deform.shape(x, deform.local_rotations(x))
    count = len(rig.rest)
    return replace(
        rig,
        rest=shape,
        joint_rest=deform.joints(x),
        identity_names=(),
        identity_deltas=rig.rest.new_zeros(0, count, 3),
        identity_low=rig.identity_low[:0],
        identity_high=rig.identity_high[:0],
        joint_identity_deltas=rig.joint_identity_deltas[:0],
    )


@torch.no_grad()
def linearised(rig: Rig) -> Rig:
    """The rig as blendshapes alone: without joints that expressions turn and without correctives.

    Every expression's shape is the whole motion of its control at full strength, and half a control is half
    of that motion: a jaw that opens moves along a line instead of an arc.
    """
    deform = Deformer(rig)
    rest, full = rig.controls.rest.to(rig.rest), rig.controls.high.to(rig.rest)
    moved, neutral = [], deform(rest)
    for k in range(len(rig.expression_names)):
        x = rest.clone()
        x[k] = full[k]
        moved.append((deform(x) - neutral) / full[k])
    nothing = rig.rest.new_zeros(0, len(rig.rest), 3)
    return replace(
        rig,
        expression_deltas=torch.stack(moved) if moved else rig.expression_deltas,
        drivers=torch.zeros_like(rig.drivers),
        corrective_names=(),
        corrective_deltas=nothing,
        corrective_controls=torch.zeros(0, 0, dtype=torch.int64),
        corrective_ramps=rig.rest.new_zeros(0, 0, 3),
        pose_corrective_joints=torch.zeros(0, dtype=torch.int64),
        pose_corrective_deltas=nothing,
    )


def vertex_twins(rest: Tensor, tolerance_m: float = 1e-3) -> Tensor:
    """(V,) int64: which vertex mirrors each, for a head whose halves mirror each other about x = 0.

    Args:
        rest: (V, 3).
        tolerance_m: how far a vertex may be from its twin's mirror image.

    Raises:
        ChainRigError: a vertex has no twin.
    """
    points = rest.detach().double().cpu().numpy()
    distance, twin = KDTree(points).query(points * MIRROR)
    if distance.max() > tolerance_m:
        raise ChainRigError(
            f"Vertex {int(distance.argmax())} has no twin on the other side: the nearest is "
            f"{1000 * distance.max():.1f} mm away, so the mesh is not symmetric."
        )
    return torch.from_numpy(twin).to(rest.device)


def mirrored_deltas(deltas: Tensor, twins: Tensor) -> Tensor:
    """The shape of the other side: (*B, V, 3) deltas and (V,) twins → (*B, V, 3)."""
    return deltas[..., twins, :] * deltas.new_tensor(MIRROR)


def with_shape(rig: Rig, name: str, deltas: Tensor, twins: Tensor | None = None) -> Rig:
    """The rig with another shape for an expression, and its mirror image for the control's twin.

    Args:
        deltas: (V, 3) of control = 1.
        twins: from `vertex_twins`; without them only the one control changes.

    Raises:
        ChainRigError: there is no such expression, or the deltas do not fit.
    """
    index = rig.controls.index(name)
    if index >= len(rig.expression_names) or deltas.shape != rig.rest.shape:
        raise ChainRigError(
            f"{name} needs deltas of shape {tuple(rig.rest.shape)}, and must be an expression of the rig."
        )
    changed = rig.expression_deltas.clone()
    changed[index] = deltas
    if twins is not None:
        pairs = rig.controls.mirror_pairs
        partner = next((b if a == index else a for a, b in pairs if index in (a, b)), index)
        if partner != index:
            changed[partner] = mirrored_deltas(deltas, twins)
        else:
            changed[index] = (deltas + mirrored_deltas(deltas, twins)) / 2
    return replace(rig, expression_deltas=changed)


def symmetrised(rig: Rig) -> Rig:
    """The rig whose expressions mirror each other: each becomes the mean of its shape and its twin's mirror
    image, or of its own.

    Raises:
        ChainRigError: the mesh is not symmetric.
    """
    twins = vertex_twins(rig.rest)
    partner = list(range(len(rig.expression_names)))
    for a, b in rig.controls.mirror_pairs:
        if max(a, b) < len(partner):
            partner[a], partner[b] = b, a
    deltas = rig.expression_deltas
    return replace(rig, expression_deltas=(deltas + mirrored_deltas(deltas[partner], twins)) / 2)
