"""The closed-form Jacobian of layer 1: blendshapes, correctives, the joint tree, skinning, head pose."""

import torch
from torch import Tensor

from pipeline.deform.blendshapes import blend
from pipeline.deform.correctives import corrective_slopes
from pipeline.deform.deform import SKINNING, Deformer
from pipeline.deform.dual_quaternion import dual_quaternions, signed_weights
from pipeline.deform.skinning import rotation_matrix
from pipeline.deform.skinning_jacobian import dual_tangent, transform_jacobian
from pipeline.derivatives import closed_form


def deform_jacobian(layer: Deformer, x: Tensor, columns: Tensor) -> Tensor:
    """∂Y/∂X of a `Deformer`.

    y = R f(s, G) + t: the shape s is linear in the controls and in the weights of correctives, skinning f
    blends the joints' transforms G, the head pose is (R, t).

    Args:
        x: (*B, K).
        columns: (n,) int64 which controls.

    Returns:
        (*B, V, 3, n).
    """
    shapes = len(layer.basis)
    turn = x[..., shapes : shapes + 3]
    places = [
        (columns < shapes).nonzero().squeeze(-1),
        ((columns >= shapes) & (columns < shapes + 3)).nonzero().squeeze(-1),
        (columns >= shapes + 3).nonzero().squeeze(-1),
    ]
    by_shape, by_turn, by_shift = (columns[at] for at in places)
    posed, moved = _skinned(layer, x, by_shape)
    head = rotation_matrix(turn)  # [*B, 3, 3]
    turned = closed_form.rotation(turn, posed @ head.mT)[..., by_turn - shapes]
    eye = torch.eye(3, dtype=x.dtype, device=x.device)
    shift = eye[:, by_shift - shapes - 3].expand(*posed.shape, -1)
    parts = [head[..., None, :, :] @ moved, turned, shift]
    return torch.cat(parts, -1)[..., torch.cat(places).argsort()]


def _skinned(layer: Deformer, x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Skinned vertices (*B, V, 3), and their derivatives (*B, V, 3, n) by expression and identity."""
    local = layer.local_rotations(x)
    spins = _spins(layer, x, columns)
    shape, dshape = layer.shape(x, local), _shape_columns(layer, x, columns, local, spins)
    if not layer.joint_parents:
        return shape, dshape
    rotations, translations = layer.joint_transforms(x, local)
    dG, dT = _joint_tangents(layer, x, local, rotations, spins, columns)
    posed = SKINNING[layer.skinning](shape, layer.skin_weights, rotations, translations)
    which = _that_turn(dG)  # few shapes turn a joint
    if layer.skinning == "linear":
        by_shape = closed_form.skinning(shape, layer.skin_weights, rotations)[0]  # [*B, V, 3, 3]
        moved = by_shape @ dshape
        moved = moved + (layer.skin_weights @ dT.movedim(-3, -1).flatten(-2)).unflatten(-1, (3, -1))
        spin = dG.index_select(-4, which).movedim(-4, -1)  # [*B, J, 3, 3, m]
        spin = (layer.skin_weights @ spin.flatten(-3)).unflatten(-1, spin.shape[-3:])  # [*B, V, 3, 3, m]
        return posed, moved.index_add(-1, which, (spin * shape[..., None, :, None]).sum(-2))
    dual = dual_quaternions(rotations, translations)  # [*B, J, 8]
    signed = signed_weights(layer.skin_weights, dual)  # [*B, V, J]
    by_shape, by_dual = transform_jacobian(signed @ dual, shape)
    omega = _vee(dG @ rotations[..., None, :, :, :].mT)  # of exp[ω]× R  [*B, n, J, 3]
    tangent = dual_tangent(dual[..., None, :, :], translations[..., None, :, :], omega, dT)  # [*B, n, J, 8]
    blended = signed @ tangent.movedim(-3, -1).flatten(-2)  # [*B, V, 8 n]
    return posed, by_shape @ dshape + by_dual @ blended.unflatten(-1, (8, -1))


def _shape_columns(layer: Deformer, x: Tensor, columns: Tensor, local: Tensor, spins: Tensor) -> Tensor:
    """(*B, V, 3, n) of the shape before skinning."""
    expressions = layer._split[0]
    moved = closed_form.blendshapes(layer.basis[columns])  # [V, 3, n]
    moved = moved.expand(*x.shape[:-1], *moved.shape)
    if len(layer.corrective_basis) and expressions:
        slopes = corrective_slopes(x[..., :expressions], layer.corrective_controls, layer.corrective_ramps)
        slopes = slopes[..., columns.clamp(max=expressions - 1)] * (columns < expressions)
        moved = moved + blend(slopes.mT, layer.corrective_basis).movedim(-3, -1)
    if len(layer.pose_basis):
        chosen = local[..., None, layer.pose_joints, :, :]
        features = (chosen @ closed_form.cross_matrix(spins[..., layer.pose_joints, :])).flatten(-3)
        moved = moved + blend(features, layer.pose_basis).movedim(-3, -1)  # [*B, n, 9Q] before
    return moved


def _spins(layer: Deformer, x: Tensor, columns: Tensor) -> Tensor:
    """(*B, n, J, 3): r with dL = L [r]× for a joint's local rotation L, by control."""
    expressions = layer._split[0]
    turns = blend(x[..., :expressions], layer.drivers)  # [*B, J, 3]
    drivers = turns.new_zeros(len(columns), len(layer.joint_parents), 3)
    if expressions:
        is_expression = (columns < expressions)[:, None, None]
        drivers = layer.drivers[columns.clamp(max=expressions - 1)].unflatten(-1, (-1, 3)) * is_expression
    return torch.einsum("...jab,njb->...nja", closed_form.left_jacobian(turns).mT, drivers)


def _joint_tangents(
    layer: Deformer, x: Tensor, local: Tensor, rotations: Tensor, spins: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivatives (*B, n, J, 3, 3) and (*B, n, J, 3) of the joints' transforms by shape controls.

    Down the tree: with G = G_p L and T = G_p (c − L c) + T_p, the product rule and dL = L [r]×.
    """
    expressions = layer._split[0]
    joints = layer.joints(x)  # [*B, J, 3]
    by_expression = layer.joint_expression_basis
    if not len(by_expression):
        by_expression = layer.joint_basis.new_zeros(expressions, layer.joint_basis.shape[-1])
    basis = torch.cat([by_expression, layer.joint_basis])[columns].unflatten(-1, (-1, 3))  # [n, J, 3]
    turned: list[Tensor] = []
    shifted: list[Tensor] = []
    for j, parent in enumerate(layer.joint_parents):
        L, c = local[..., None, j, :, :], joints[..., None, j, :, None]  # [*B, 1, 3, 3], [*B, 1, 3, 1]
        dL = L @ closed_form.cross_matrix(spins[..., j, :])  # [*B, n, 3, 3]
        dc = basis[:, j, :, None].expand(*dL.shape[:-2], 3, 1)
        dG, dT = dL, dc - L @ dc - dL @ c
        if parent >= 0:
            G = rotations[..., None, parent, :, :]
            dG = turned[parent] @ L + G @ dL
            dT = turned[parent] @ (c - L @ c) + G @ dT + shifted[parent][..., None]
        turned.append(dG)
        shifted.append(dT.squeeze(-1))
    return torch.stack(turned, -3), torch.stack(shifted, -2)


def _that_turn(dG: Tensor) -> Tensor:
    """(m,) int64: which of the columns turn a joint in any item of the batch; dG (*B, n, J, 3, 3)."""
    turns = dG.flatten(-3).any(-1)  # [*B, n]
    return turns.reshape(turns.shape[:-1].numel(), turns.shape[-1]).any(0).nonzero().squeeze(-1)


def _vee(skew: Tensor) -> Tensor:
    """ω of [ω]×: (*B, 3, 3) → (*B, 3)."""
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
