"""Stable neo-Hookean elasticity: an energy of the deformation gradient that inversion does not break.

    Ψ(F) = μ/2 (I_C − 3) − μ/2 log(I_C + 1) + λ/2 (J − α)²,   I_C = F : F,   J = det F,
    α = 1 + μ/λ − μ/(4λ)                                                    (eq. 14)

Smith, de Goes and Kim, "Stable Neo-Hookean Flesh Simulation" (ACM Trans. Graph. 37(2), 2018). Ψ and all its
derivatives are finite for every F, det F ≤ 0 too; F = 1 is free of stress, and so is every rotation.

Plain torch, any leading axes, both modes of differentiation: the compiled kernels of `elements.py` are held
to it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Elasticity:
    """The two constants of the energy, in pascals.

    Attributes:
        mu, lam: μ and λ of Ψ. They are not Lamé's: see `of_moduli`.
    """

    mu: float
    lam: float

    @classmethod
    def of_moduli(cls, young: float, poisson: float) -> "Elasticity":
        """From Young's modulus (Pa) and Poisson's ratio (< 1/2): small strains then follow Hooke's law.

        Ψ's second derivative at F = 1 is Hooke's with μ_Lamé = 3/4 μ and λ_Lamé = λ − 5/8 μ (section 3.4 of
        the paper, there solved for μ and λ).
        """
        lame_mu = young / (2 * (1 + poisson))
        lame_lam = young * poisson / ((1 + poisson) * (1 - 2 * poisson))
        return cls(4 / 3 * lame_mu, lame_lam + 5 / 6 * lame_mu)

    @property
    def alpha(self) -> float:
        """J at which the volume term rests, so that F = 1 is free of stress."""
        return 1 + self.mu / self.lam - self.mu / (4 * self.lam)


def determinant(F: Tensor) -> Tensor:
    """(*B, 3, 3) → (*B,)."""
    a, b, c = F.unbind(-1)
    return (a * b.cross(c, -1)).sum(-1)


def cofactor(F: Tensor) -> Tensor:
    """∂J/∂F: (*B, 3, 3) → (*B, 3, 3), finite for singular F too."""
    a, b, c = F.unbind(-1)
    return torch.stack([b.cross(c, -1), c.cross(a, -1), a.cross(b, -1)], -1)


def energy_density(F: Tensor, material: Elasticity) -> Tensor:
    """Ψ: (*B, 3, 3) → (*B,), J/m³; zero at F = 1."""
    mu, lam, alpha = material.mu, material.lam, material.alpha
    squares = F.square().sum((-2, -1))
    at_rest = -mu / 2 * math.log(4) + lam / 2 * (1 - alpha) ** 2
    return (
        mu / 2 * (squares - 3)
        - mu / 2 * (squares + 1).log()
        + lam / 2 * (determinant(F) - alpha) ** 2
        - at_rest
    )


def stress(F: Tensor, material: Elasticity) -> Tensor:
    """P = ∂Ψ/∂F (first Piola–Kirchhoff, Pa): (*B, 3, 3) → (*B, 3, 3)."""
    squares = F.square().sum((-2, -1), keepdim=True)
    pressure = material.lam * (determinant(F) - material.alpha)
    return material.mu * (1 - 1 / (squares + 1)) * F + pressure[..., None, None] * cofactor(F)
