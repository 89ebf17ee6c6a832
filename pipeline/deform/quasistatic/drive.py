"""From controls to what drives the flesh of a head: skull, jaw, muscles, obstacles."""

from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.quasistatic.closing import with_closed_lips
from pipeline.deform.quasistatic.contact import cleared
from pipeline.deform.quasistatic.flesh import Drive, Flesh
from pipeline.deform.quasistatic.neo_hookean import Elasticity
from pipeline.deform.quasistatic.obstacles import Contacts
from pipeline.deform.quasistatic.shell import Shell, build_shell
from pipeline.deform.quasistatic.touching import find_lips, find_near_eye, find_near_teeth, outer_triangles
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError

NOTICEABLE_M = 5e-5  # skin that no expression moves further stays kinematic
FADING_M = 0.020  # depth over which the blendshapes' motion fades to 1/e
DENSITY = 1000.0  # kg/m³, near that of water


class Tissue(NamedTuple):
    """What flesh is made of.

    Attributes:
        young: Pa, Young's modulus.
        poisson: Poisson's ratio; 1/2 would be incompressible.
        muscle: N/m³, pull of muscles on a square metre of skin for each metre it is from its target.
        contact: N/m³, push of a contact likewise.
    """

    young: float = 20e3
    poisson: float = 0.49
    muscle: float = 5e6
    contact: float = 2e9


class HeadDrive:
    """Controls → what drives the flesh of a rig's skin; float64 on the CPU.

    The inner side and the rim of the flesh are driven: they are skinned like the skin above them (to skull
    and jaw) and follow the blendshapes by exp(−depth / `FADING_M`). Muscles pull the skin to where the
    blendshapes and skinning have it. The flesh is free of stress in the neutral face of the identity. Where
    the blendshapes' skin is in an eyeball or in the other lip, flesh below it is driven no further than out.

    Args:
        rig: any rig; its part "skin" gets flesh where expressions move it.
        tissue: what flesh is made of.
        gravity: the neutral upright head hangs as it is; a head that bows or lies hangs otherwise.
        layers: of tetrahedra.

    Attributes:
        shell: the tetrahedra.
        flesh: the same with nodes in the solver's order: those that are solved for first.
        skin: (M,) the vertices of the mesh that the equilibrium moves: those of the nodes `flesh.muscles`.

    Raises:
        ChainRigError: the rig has no skin that moves, or one too folded for flesh.
    """

    def __init__(
        self, rig: Rig, tissue: Tissue | None = None, gravity: bool = False, layers: int = 2
    ) -> None:
        rig, tissue = rig.to("cpu", torch.float64), tissue or Tissue()
        self.controls, self._gravity = rig.controls, gravity
        self._surface = Deformer(rig)
        triangles = rig.triangles[rig.part_of_triangle == _skin_part(rig)].numpy()
        region = np.asarray(self._moving(rig)[triangles].any(axis=1))
        self.shell = build_shell(rig.rest.numpy(), triangles, region, layers)
        self._deep = Deformer(_deep(rig, self.shell))
        self._number()
        self.contacts = self._find_contacts(rig, triangles, tissue)
        self.flesh = self._build_flesh(rig.rest.numpy(), tissue)

    def __call__(self, x: Tensor, gravity_turn: Tensor) -> tuple[Tensor, Drive, Tensor]:
        """Controls (*B, K) and the pose's rotation (*B, 3, 3) →

        vertices (*B, V, 3) as blendshapes and skinning have them in the head's frame, what drives the flesh,
        and a guess (*B, free, 3) of its equilibrium.
        """
        groups, base = self.controls.groups, self.controls.rest
        x = with_closed_lips(x, self.controls)
        still, neutral = x.clone(), base.expand_as(x).clone()
        still[..., groups["pose"]] = base[groups["pose"]]
        if "identity" in groups:
            neutral[..., groups["identity"]] = x[..., groups["identity"]]
        posed, deep, own = self._surface(still), self._deep(still), self._surface(neutral)
        target, obstacles = posed[..., self.skin, :], self.contacts(posed, own)
        aside = cleared(target, obstacles, self.flesh.touching) - target
        nodes = self._nodes(posed.index_add(-2, self.skin, aside), deep.index_add(-2, self.skin, aside))
        down = x.new_tensor([0.0, -9.81 if self._gravity else 0.0, 0.0])
        drive = Drive(
            rest=self._nodes(own, self._deep(neutral)),
            driven=nodes[..., self.flesh.free :, :],
            target=target,
            gravity=(gravity_turn.mT @ down) - down,
            obstacles=obstacles,
        )
        return posed, drive, nodes[..., : self.flesh.free, :].detach()

    def _moving(self, rig: Rig) -> np.ndarray:
        """(V,) bool: whether any expression at 1 moves the vertex."""
        x = self.controls.rest.repeat(len(rig.expression_names), 1)
        x[:, self.controls.groups["expression"]] += torch.eye(len(rig.expression_names), dtype=torch.float64)
        moved = (self._surface(x) - self._surface(self.controls.rest)).norm(dim=-1)
        return (moved > NOTICEABLE_M).any(0).numpy()

    def _number(self) -> None:
        """The solver's order of the nodes: first those that are free, the skin's before deeper ones."""
        shell, count = self.shell, len(self.shell.depth)
        free = np.zeros((count, len(shell.vertices)), dtype=bool)
        free[:-1] = ~shell.rim
        self._order = np.concatenate([np.flatnonzero(free), np.flatnonzero(~free)])
        self._free = int(free.sum())
        self.skin = torch.from_numpy(shell.vertices[~shell.rim])

    def _nodes(self, skin: Tensor, deep: Tensor) -> Tensor:
        """(*B, N, 3) in the solver's order, from all vertices (*B, V, 3) and their places below."""
        vertices = torch.from_numpy(self.shell.vertices)
        skin, deep = skin[..., vertices, :], deep[..., vertices, :]
        depth = torch.from_numpy(self.shell.depth)[:, None, None]
        nodes = skin[..., None, :, :] + depth * (deep - skin)[..., None, :, :]
        return nodes.flatten(-3, -2)[..., torch.from_numpy(self._order), :]

    def _build_flesh(self, rest: np.ndarray, tissue: Tissue) -> Flesh:
        where = np.argsort(self._order)
        tets = np.ascontiguousarray(where[self.shell.tets])
        corners = self.shell.nodes(rest[self.shell.vertices])[self.shell.tets]
        edges = corners[:, 1:] - corners[:, :1]
        volume = np.einsum("ti,ti->t", edges[:, 0], np.cross(edges[:, 1], edges[:, 2])) / 6
        mass = np.bincount(tets.ravel(), np.repeat(DENSITY * volume / 4, 4), minlength=len(where))
        muscles = where[: len(self.shell.vertices)][~self.shell.rim]
        pull = tissue.muscle * _areas(rest, self.shell)[self.skin.numpy()]
        material = Elasticity.of_moduli(tissue.young, tissue.poisson)
        return Flesh(tets, self._free, muscles, pull, mass[: self._free], material, self.contacts.touching)

    def _find_contacts(self, rig: Rig, triangles: np.ndarray, tissue: Tissue) -> Contacts:
        rest, named = rig.rest.numpy(), dict(zip(rig.part_names, range(len(rig.part_names)), strict=True))
        allowed = np.zeros(len(rest), dtype=bool)
        allowed[self.skin] = True
        lips = None
        if "jawOpen" in self.controls.names:
            opened = self._surface(self.controls.pack({"jawOpen": 1.0}, self.controls.rest)).numpy()
            lips = find_lips(rest, triangles, opened, allowed)
        eyes, teeth = [], []
        for name, part in named.items():
            own = rig.triangles[rig.part_of_triangle == part].numpy()
            if name.startswith("eye_"):
                ball = np.unique(own)
                eyes.append((ball, find_near_eye(rest, rest[ball], allowed)))
            elif name.startswith("teeth_"):
                row = outer_triangles(rest, own)
                teeth.append((row, find_near_teeth(rest, triangles, rest[np.unique(row)], allowed)))
        return Contacts(rest, lips, eyes, teeth, _areas(rest, self.shell), tissue.contact, self.skin.numpy())


def _skin_part(rig: Rig) -> int:
    if "skin" in rig.part_names:
        return rig.part_names.index("skin")
    if len(rig.part_names) == 1:
        return 0
    raise ChainRigError(f"Flesh goes under a part named skin; the rig's are {', '.join(rig.part_names)}.")


def _deep(rig: Rig, shell: Shell) -> Rig:
    """The rig of the flesh's inner side: vertex by vertex below the skin, with faded blendshapes."""
    offset, share = torch.zeros_like(rig.rest), torch.ones_like(rig.rest[:, :1])
    offset[shell.vertices] = torch.from_numpy(shell.offset)
    share[shell.vertices, 0] = torch.from_numpy(np.exp(-shell.thickness / FADING_M))
    faded = {
        field.name: getattr(rig, field.name) * share
        for field in fields(rig)
        if field.name.endswith("deltas") and "identity" not in field.name and len(getattr(rig, field.name))
    }
    return replace(rig, rest=rig.rest + offset, **faded)


def _areas(rest: np.ndarray, shell: Shell) -> np.ndarray:
    """(V,) m² of skin with flesh below, a third of each triangle to each corner."""
    corners = shell.vertices[shell.triangles]
    a, b, c = rest[corners].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return np.bincount(corners.ravel(), np.repeat(area / 3, 3), minlength=len(rest))
