"""Rotations, joint hierarchies and linear blend skinning (LBS)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def rotation_matrix(rotation_vector: Tensor) -> Tensor:
    """Rodrigues' formula R = I + a K + b K², a = sin θ / θ, b = (1 − cos θ) / θ².

    a and b are analytic functions of θ² and are evaluated as such: at zero the derivatives of every order
    exist in either mode (a norm in between would make the second ones NaN).

    Args:
        rotation_vector: (*B, 3), radians; right-handed, so a positive one about +y turns +z toward +x.

    Returns:
        (*B, 3, 3).
    """
    # θ², kept on an axis: torch makes float64 of a float32 tangent without one, where a number multiplies it.
    s = rotation_vector.square().sum(-1, keepdim=True)  # [*B, 1]
    near = s < 1e-2
    far = torch.where(near, torch.ones_like(s), s).sqrt()  # 1 where unused, so that its derivative is finite
    series = torch.where(near, s, torch.zeros_like(s))
    a = torch.where(
        near,
        1 - series / 6 * (1 - series / 20 * (1 - series / 42 * (1 - series / 72))),
        far.sin() / far,
    )
    b = torch.where(
        near,
        0.5 - series / 24 * (1 - series / 30 * (1 - series / 56 * (1 - series / 90))),
        0.5 * ((far / 2).sin() / (far / 2)).square(),
    )
    x, y, z = rotation_vector.unbind(-1)
    o = torch.zeros_like(x)
    K = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))  # [*B, 3, 3]
    identity = torch.eye(3, dtype=s.dtype, device=s.device)
    return identity + a[..., None] * K + b[..., None] * (K @ K)


def joint_transforms(rotations: Tensor, joints: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Walks down the joint tree (forward kinematics).

    Args:
        rotations: (*B, J, 3, 3) of each joint against its parent, in the axes of the rest pose.
        joints: (*B, J, 3) joint positions of the unposed shape.
        parents: J indices, −1 for a root; parents come before their children.

    Returns:
        rotation (*B, J, 3, 3) and translation (*B, J, 3) that carry an unposed point to its posed place.
    """
    turned: list[Tensor] = []
    moved: list[Tensor] = []
    for j, parent in enumerate(parents):
        local, joint = rotations[..., j, :, :], joints[..., j, :]
        shift = joint - (local @ joint[..., None])[..., 0]  # turning about the joint itself
        if parent >= 0:
            shift = (turned[parent] @ shift[..., None])[..., 0] + moved[parent]
            local = turned[parent] @ local
        turned.append(local)
        moved.append(shift)
    return torch.stack(turned, -3), torch.stack(moved, -2)


def skin(vertices: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Linear blend skinning: every vertex by the weighted mean of the joints' transforms.

    Args:
        vertices: (*B, V, 3) unposed.
        weights: (V, J), rows summing to 1.
        rotation, translation: (*B, J, 3, 3) and (*B, J, 3), from `joint_transforms`.

    Returns:
        (*B, V, 3).
    """
    transform = torch.cat([rotation, translation[..., None]], -1).flatten(-2)  # [*B, J, 12]
    blended = (weights @ transform).unflatten(-1, (3, 4))  # [*B, V, 3, 4]
    return (blended[..., :3] * vertices[..., None, :]).sum(-1) + blended[..., 3]
