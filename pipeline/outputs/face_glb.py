"""face.glb: a fitted face as one file that Blender, three.js and other glTF tools open.

It opens as the fit left it: the morph targets' default weights are the fitted expressions, joints are turned,
the texture has the colours that were found. There is no animation.

Tools skin linearly and know no flesh. Where that is not how the rig deforms (dual quaternions,
`quasistatic`), one more morph target, `as fitted`, adds what is missing at the fitted controls.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.deform.skinning import rotation_matrix
from pipeline.layer import Layer
from pipeline.outputs.person_glb import Lens, PersonWriter
from pipeline.result import FitResult
from pipeline.rigs.texture import albedo_of

AS_FITTED = "as fitted"  # name of the target
SAME_M = 1e-5  # metres between what tools show and the rig, with which no target is worth its bytes


def face_glb(result: FitResult, rig: Rig, deform: Layer | None = None) -> bytes:
    """The bytes of a .glb.

    Args:
        rig: that was fitted.
        deform: layer 1 of the fit; blendshapes and skinning if omitted.
    """
    return b"".join(_FaceWriter(result, rig, deform or Deformer(rig)).gltf().save_to_bytes())


class _FaceWriter(PersonWriter):
    @torch.no_grad()
    def __init__(self, result: FitResult, rig: Rig, deform: Layer) -> None:
        assert result.x is not None
        colours = result.appearance.colours if result.appearance else {}
        lens = Lens.of_photo(result.focal_px, result.principal_point)
        super().__init__(rig, result.identity, lens, albedo_of(rig, colours), result.x[None])
        self._match(deform(result.x.float()))

    def _match(self, fitted: Tensor) -> None:
        """Adds what leads from what tools show to the fitted vertices `(V, 3)`; takes over their normals."""
        rig, deform, x = self.rig, self.deform, self.x[0]
        local = deform.local_rotations(x)
        shape, turn = deform.shape(x, local), torch.eye(3).expand(len(rig.rest), 3, 3)
        shift = torch.zeros_like(shape)
        if len(rig.joint_names):
            transform = torch.cat([part.flatten(1) for part in deform.joint_transforms(x, local)], -1)
            blended = rig.skin_weights @ transform  # [V, 12]
            turn, shift = blended[:, :9].unflatten(-1, (3, 3)), blended[:, 9:]
        posed = (fitted - x[-3:]) @ rotation_matrix(x[-6:-3])
        missing = torch.linalg.solve(turn, posed - shift) - shape
        if float(missing.norm(dim=-1).max()) > SAME_M:
            self.targets.append(AS_FITTED)
            self.weights.append(1.0)
            self.deltas = np.concatenate([self.deltas, missing[None].numpy()])
        # Tools turn normals with the joints.
        self.normals = normalize((self.normals_of(posed)[:, None] @ turn)[:, 0], dim=-1)
