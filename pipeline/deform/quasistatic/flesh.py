"""The balance of forces in flesh: what is fixed about it, what drives it, and the sum of all forces.

At equilibrium the gradient of the total energy by the free nodes is zero,

    g(x, θ) = ∂/∂x [ Σ_t V_t Ψ(F_t) + Σ_m k_m/2 |x_m − target_m|² − Σ_i m_i gravity · x_i + Σ_c E_c ] = 0:

elastic tetrahedra, muscles as springs of zero length to targets on a blendshape (as in Cong, Bhat and Fedkiw,
"Art-Directed Muscle Simulation for High-End Facial Animation", 2016), weight, contacts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.quasistatic.contact import Obstacles, Touching, contact_gradient
from pipeline.deform.quasistatic.neo_hookean import Elasticity, stress


@dataclass(frozen=True)
class Flesh:
    """What does not change.

    Attributes:
        tets: (T, 4) nodes; the first `free` of N nodes are solved for, the others are driven.
        free: how many.
        muscles: (M,) free nodes that are pulled to targets.
        pull: (M,) their springs' stiffness, N/m.
        mass: (free,) kg.
        material: of all tetrahedra.
        touching: which free nodes may touch what.
    """

    tets: np.ndarray
    free: int
    muscles: np.ndarray
    pull: np.ndarray
    mass: np.ndarray
    material: Elasticity
    touching: Touching


class Drive(NamedTuple):
    """θ: what the equilibrium depends on. Tensors `(*B, …)`; numpy arrays without B for a solver.

    Attributes:
        rest: (*B, N, 3) shape of the flesh that is free of stress, metres.
        driven: (*B, N − free, 3) where the driven nodes are.
        target: (*B, M, 3) where the muscles pull.
        gravity: (*B, 3) m/s².
        obstacles: that contacts keep to.
    """

    rest: Tensor
    driven: Tensor
    target: Tensor
    gravity: Tensor
    obstacles: Obstacles


def imbalance(x: Tensor, drive: Drive, flesh: Flesh) -> Tensor:
    """g(x, θ) in plain torch, for its derivative by θ: (*B, free, 3) → (*B, free, 3), newtons.

    The compiled twin that the solver uses is `potential.py`.
    """
    tets = torch.from_numpy(flesh.tets)
    nodes = torch.cat([x, drive.driven.expand(*x.shape[:-2], -1, -1)], -2)
    b, volume = hat_gradients(drive.rest[..., tets, :])
    F = nodes[..., tets, :].mT @ b  # Σ_a p_a b_aᵀ
    forces = volume[..., None, None] * (b @ stress(F, flesh.material).mT)  # [*B, T, 4, 3]
    out = torch.zeros_like(nodes).index_add(-2, tets.flatten(), forces.flatten(-3, -2))
    muscles, pull = torch.from_numpy(flesh.muscles), torch.from_numpy(flesh.pull)[:, None]
    springs = pull * (x[..., muscles, :] - drive.target)
    weight = torch.from_numpy(flesh.mass)[:, None] * drive.gravity[..., None, :]
    touch = contact_gradient(x, drive.obstacles, flesh.touching)
    return (out[..., : flesh.free, :] + touch - weight).index_add(-2, muscles, springs)


def hat_gradients(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Of tetrahedra (*B, T, 4, 3): the gradients b (*B, T, 4, 3) of hat functions, and volumes (*B, T).

    As `elements.hat_gradients`: volumes are positive.
    """
    e1, e2, e3 = (corners[..., 1:, :] - corners[..., :1, :]).unbind(-2)
    faces = torch.stack([e2.cross(e3, -1), e3.cross(e1, -1), e1.cross(e2, -1)], -2)
    six = (e1 * faces[..., 0, :]).sum(-1)
    others = faces / six[..., None, None]
    return torch.cat([-others.sum(-2, keepdim=True), others], -2), six.abs() / 6
