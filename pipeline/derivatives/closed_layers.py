"""Layers whose whole Jacobian is known in closed form; `chain_rule` uses it in place of dozens of passes.

Another layer joins by registering a function for its class:

    @closed_jacobian.register
    def _(layer: MyLayer, x: Tensor, columns: Tensor) -> Tensor: ...
"""

from functools import singledispatch

import torch
from torch import Tensor

from pipeline.deform.blendshapes import blend
from pipeline.deform.deform import Deformer
from pipeline.deform.skinning import joint_transforms, rotation_matrix
from pipeline.derivatives import closed_form
from pipeline.layer import Layer


@singledispatch
def closed_jacobian(layer: Layer, x: Tensor, columns: Tensor) -> Tensor | None:
    """∂Y/∂X at x `(*B, *input)` in closed form, or None if nobody has written it down.

    Args:
        columns: `(n,)` int64 which entries of the flattened input.

    Returns:
        `(*B, *output, n)`.
    """
    return None


def has_closed_jacobian(layer: Layer) -> bool:
    """Whether somebody has."""
    return closed_jacobian.dispatch(type(layer)) is not closed_jacobian.dispatch(Layer)


@closed_jacobian.register
def _(layer: Deformer, x: Tensor, columns: Tensor) -> Tensor:
    """y = R (A s + b) + t: the shape s is linear in the controls, A and b blend the joints' transforms."""
    expressions, identities = layer._split[:2]
    shapes = expressions + identities
    expression, identity, turn, _ = x.split(layer._split, -1)
    shape = layer.rest + blend(x[..., :shapes], layer.basis)  # [*B, V, 3]
    joints = layer.joint_rest + blend(identity, layer.joint_basis)  # [*B, J, 3]
    turns = blend(expression, layer.drivers)  # [*B, J, 3]
    local = rotation_matrix(turns)
    rotations, translations = joint_transforms(local, joints, layer.joint_parents)
    head = rotation_matrix(turn)[..., None, :, :]  # [*B, 1, 3, 3]
    blended = closed_form.skinning(shape, layer.skin_weights, rotations)[0]  # A [*B, V, 3, 3]
    posed = (blended @ shape[..., None]).squeeze(-1) + layer.skin_weights @ translations  # [*B, V, 3]

    places = [
        (columns < shapes).nonzero().squeeze(-1),
        ((columns >= shapes) & (columns < shapes + 3)).nonzero().squeeze(-1),
        (columns >= shapes + 3).nonzero().squeeze(-1),
    ]
    by_shape, by_turn, by_shift = (columns[at] for at in places)
    by_turn, by_shift = by_turn - shapes, by_shift - shapes - 3

    moved = blended @ closed_form.blendshapes(layer.basis[by_shape])  # [*B, V, 3, n]
    turned, shifted = _joint_tangents(layer, local, rotations, joints, turns, by_shape)
    moved = moved + (layer.skin_weights @ shifted.movedim(-3, -1).flatten(-2)).unflatten(-1, (3, -1))
    turns_a_joint = turned.flatten(-3).any(-1).reshape(x.shape[:-1].numel(), len(by_shape)).any(0)
    turning = turns_a_joint.nonzero().squeeze(-1)
    spin = turned.index_select(-4, turning).movedim(-4, -1)  # [*B, J, 3, 3, m]: few shapes turn a joint
    spin = (layer.skin_weights @ spin.flatten(-3)).unflatten(-1, spin.shape[-3:])  # [*B, V, 3, 3, m]
    moved = moved.index_add(-1, turning, (spin * shape[..., None, :, None]).sum(-2))
    shift = torch.eye(3, dtype=x.dtype, device=x.device)[:, by_shift].expand(*posed.shape, -1)
    parts = [head @ moved, closed_form.rotation(turn, posed @ head.squeeze(-3).mT)[..., by_turn], shift]
    return torch.cat(parts, -1)[..., torch.cat(places).argsort()]


def _joint_tangents(
    layer: Deformer, local: Tensor, rotations: Tensor, joints: Tensor, turns: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivatives `(*B, n, J, 3, 3)` and `(*B, n, J, 3)` of the joints' transforms by shape controls.

    Down the tree: with G = G_p L and T = G_p (c − L c) + T_p, the product rule and dL = L [J_r dr]×.
    """
    expressions = len(layer.drivers)
    is_expression = (columns < expressions)[:, None, None]
    drivers = layer.drivers[columns.clamp(max=expressions - 1)].unflatten(-1, (-1, 3)) * is_expression
    basis = layer.joint_basis[(columns - expressions).clamp(min=0)].unflatten(-1, (-1, 3)) * ~is_expression
    spins = torch.einsum("...jab,njb->...nja", closed_form.left_jacobian(turns).mT, drivers)
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
