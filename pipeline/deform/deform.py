"""Layer 1: controls → vertices."""

import torch
from torch import Tensor

from pipeline.deform.blendshapes import blend
from pipeline.deform.rig import Rig
from pipeline.deform.skinning import joint_transforms, rotation_matrix, skin
from pipeline.layer import Layer


class Deformer(Layer):
    """f1: X1 (*B, K) controls → X2 (*B, V, 3) vertices in metres, camera space.

    The neutral face plus identity and expression deltas is skinned with the joints that expressions turn
    (gaze, jaw); then the head pose turns everything about the rig's origin (between the eyes) and moves it.
    Positive `headRotationY` turns the face toward the subject's left (+x), positive `headRotationX` bows it.
    """

    name = "deform"
    input_axes = ("control",)
    output_axes = ("vertex", "xyz")

    # C1
    rest: Tensor
    basis: Tensor
    joint_rest: Tensor
    joint_basis: Tensor
    drivers: Tensor
    skin_weights: Tensor

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.controls = rig.controls
        self.joint_parents = tuple(rig.joint_parents.tolist())
        expressions, identities = len(rig.expression_names), len(rig.identity_names)
        self._split = (expressions, identities, 3, 3)
        deltas = torch.cat([rig.expression_deltas, rig.identity_deltas])  # [E + N, V, 3]
        self.register_buffer("rest", rig.rest)
        self.register_buffer("basis", deltas.flatten(1).contiguous())
        self.register_buffer("joint_rest", rig.joint_rest)
        self.register_buffer("joint_basis", rig.joint_identity_deltas.flatten(1).contiguous())
        self.register_buffer("drivers", rig.drivers.flatten(1).contiguous())
        self.register_buffer("skin_weights", rig.skin_weights)

    def forward(self, x: Tensor) -> Tensor:
        expression, identity, turn, shift = x.split(self._split, -1)
        shape = self.rest + blend(x[..., : len(self.basis)], self.basis)  # [*B, V, 3]
        joints = self.joint_rest + blend(identity, self.joint_basis)  # [*B, J, 3]
        rotations = rotation_matrix(blend(expression, self.drivers))  # [*B, J, 3, 3]
        posed = skin(shape, self.skin_weights, *joint_transforms(rotations, joints, self.joint_parents))
        return posed @ rotation_matrix(turn).mT + shift[..., None, :]
