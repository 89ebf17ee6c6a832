"""Layer 1: controls → vertices."""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.deform.blendshapes import blend
from pipeline.deform.correctives import corrective_weights, pose_features
from pipeline.deform.dual_quaternion import skin_dual_quaternion
from pipeline.deform.rig import Rig
from pipeline.deform.skinning import joint_transforms, rotation_matrix, skin
from pipeline.layer import Layer

SKINNING: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "linear": skin,
    "dual quaternion": skin_dual_quaternion,
}


class Deformer(Layer):
    """f1: X1 (*B, K) controls → X2 (*B, V, 3) vertices in metres, camera space.

    The neutral face plus identity and expression deltas (and correctives, where the rig has some) is skinned
    with the joints that expressions turn (gaze, jaw); then the head pose turns everything about the rig's
    origin (between the eyes) and moves it. Positive `headRotationY` turns the face toward the subject's left
    (+x), positive `headRotationX` bows it.
    """

    name = "deform"
    input_axes = ("control",)
    output_axes = ("vertex", "xyz")

    # C1
    rest: Tensor
    basis: Tensor
    joint_rest: Tensor
    joint_basis: Tensor
    joint_expression_basis: Tensor
    drivers: Tensor
    skin_weights: Tensor
    corrective_basis: Tensor
    corrective_controls: Tensor
    corrective_ramps: Tensor
    pose_basis: Tensor
    pose_joints: Tensor

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.controls = rig.controls
        self.joint_parents = tuple(rig.joint_parents.tolist())
        self.skinning = rig.skinning
        expressions, identities = len(rig.expression_names), len(rig.identity_names)
        self._split = (expressions, identities, 3, 3)
        deltas = torch.cat([rig.expression_deltas, rig.identity_deltas])  # [E + N, V, 3]
        self.register_buffer("rest", rig.rest)
        self.register_buffer("basis", deltas.flatten(1).contiguous())
        self.register_buffer("joint_rest", rig.joint_rest)
        self.register_buffer("joint_basis", rig.joint_identity_deltas.flatten(1).contiguous())
        self.register_buffer("joint_expression_basis", rig.joint_expression_deltas.flatten(1).contiguous())
        self.register_buffer("drivers", rig.drivers.flatten(1).contiguous())
        self.register_buffer("skin_weights", rig.skin_weights)
        self.register_buffer("corrective_basis", rig.corrective_deltas.flatten(1).contiguous())
        self.register_buffer("corrective_controls", rig.corrective_controls)
        self.register_buffer("corrective_ramps", rig.corrective_ramps)
        self.register_buffer("pose_basis", rig.pose_corrective_deltas.flatten(1).contiguous())
        self.register_buffer("pose_joints", rig.pose_corrective_joints)

    def forward(self, x: Tensor) -> Tensor:
        turn, shift = x[..., -6:-3], x[..., -3:]
        local = self.local_rotations(x)
        shape = self.shape(x, local)
        if self.joint_parents:
            shape = SKINNING[self.skinning](shape, self.skin_weights, *self.joint_transforms(x, local))
        return shape @ rotation_matrix(turn).mT + shift[..., None, :]

    def local_rotations(self, x: Tensor) -> Tensor:
        """(*B, J, 3, 3) of each joint against its parent."""
        return rotation_matrix(blend(x[..., : self._split[0]], self.drivers))

    def joint_transforms(self, x: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (*B, J, 3, 3) and translations (*B, J, 3) of the joints, without the head pose."""
        return joint_transforms(local, self.joints(x), self.joint_parents)

    def joints(self, x: Tensor) -> Tensor:
        """(*B, J, 3) where the joints of the unposed shape are."""
        expressions = self._split[0]
        joints = self.joint_rest + blend(x[..., expressions : len(self.basis)], self.joint_basis)
        if len(self.joint_expression_basis):
            joints = joints + blend(x[..., :expressions], self.joint_expression_basis)
        return joints

    def shape(self, x: Tensor, local: Tensor) -> Tensor:
        """(*B, V, 3) before skinning."""
        shape = self.rest + blend(x[..., : len(self.basis)], self.basis)
        if len(self.corrective_basis):
            weights = corrective_weights(
                x[..., : self._split[0]], self.corrective_controls, self.corrective_ramps
            )
            shape = shape + blend(weights, self.corrective_basis)
        if len(self.pose_basis):
            shape = shape + blend(pose_features(local, self.pose_joints), self.pose_basis)
        return shape
