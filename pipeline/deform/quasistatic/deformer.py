"""Layer 1 with physics: controls → vertices, the skin at the equilibrium of the flesh below it."""

import torch
from torch import Tensor

from pipeline.deform.quasistatic.drive import HeadDrive, Tissue
from pipeline.deform.quasistatic.equilibrium import equilibrium
from pipeline.deform.quasistatic.solver import EquilibriumSolver
from pipeline.deform.rig import Rig
from pipeline.deform.skinning import rotation_matrix
from pipeline.layer import Layer


class QuasistaticDeformer(Layer):
    """f1: X1 (*B, K) controls → X2 (*B, V, 3) vertices in metres, camera space, like `deform.Deformer`.

    Blendshapes and skinning say where the muscles pull the skin and where skull and jaw hold the flesh; the
    skin is where all forces balance. Eyes, teeth and tongue follow the rig, lashes the lids.

    Physics runs in float64 on the CPU, whatever the dtype and device of x. The derivative is the
    equilibrium's own (`equilibrium.py`), in both modes; second derivatives are not right.

    Args:
        rig: needs a part named skin.
        tissue: what flesh is made of.
        gravity: as the head's pose turns it; an upright head is as the rig has it.
        tolerance: of the balance of forces, as a share of them.

    Raises:
        ChainRigError: no flesh fits under the rig's skin (when made), or no equilibrium is found (in use).
    """

    name = "deform"
    input_axes = ("control",)
    output_axes = ("vertex", "xyz")

    def __init__(
        self, rig: Rig, tissue: Tissue | None = None, gravity: bool = False, tolerance: float = 1e-9
    ) -> None:
        super().__init__()
        self.controls = rig.controls
        self.drive = HeadDrive(rig, tissue, gravity)
        self.solver = EquilibriumSolver(self.drive.flesh, tolerance)
        self.followers = _lashes(rig, self.drive.skin)

    def forward(self, x: Tensor) -> Tensor:
        controls = x.to("cpu", torch.float64)
        pose = self.controls.groups["pose"]
        turn, shift = controls[..., pose].split(3, -1)
        R = rotation_matrix(turn)
        posed, drive, guess = self.drive(controls, R)
        muscles = torch.from_numpy(self.drive.flesh.muscles)
        skin = equilibrium(drive, guess, self.solver)[..., muscles, :]
        vertices = posed.index_copy(-2, self.drive.skin, skin)
        lashes, lids, weights = self.followers
        if len(lashes):
            moved = (skin - drive.target)[..., lids, :]  # [*B, lashes, 4, 3]
            vertices = vertices.index_add(-2, lashes, (weights[..., None] * moved).sum(-2))
        return (vertices @ R.mT + shift[..., None, :]).to(x)


def _lashes(rig: Rig, skin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices of lashes, the four nodes of skin nearest to each, and their weights (inverse distances)."""
    parts = [i for i, name in enumerate(rig.part_names) if name.startswith("lashes")]
    own = rig.triangles[torch.isin(rig.part_of_triangle, torch.tensor(parts, dtype=torch.int64))].unique()
    rest = rig.rest.to("cpu", torch.float64)
    near = torch.cdist(rest[own], rest[skin]).topk(4, largest=False)
    weights = 1 / (near.values + 1e-4)
    return own, near.indices, weights / weights.sum(-1, keepdim=True)
