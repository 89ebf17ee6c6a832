"""Directions drawn from a distribution, with numbers `(N, 2)` in [0, 1) as the dice. The normal is z."""

import math

import torch
from torch import Tensor
from torch.nn import functional

# Steps that fill a square evenly (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
_EVEN = (0.7548776662466927, 0.5698402909980532)


def even(index: Tensor, shift: Tensor) -> Tensor:
    """Points `(N, 2)` of the unit square: with one shift `(N, 2)`, indices `(N,)` 0, 1, 2, … fill it
    evenly."""
    return (index[:, None] * shift.new_tensor(_EVEN) + shift).frac()


def disk(dice: Tensor) -> Tensor:
    """Uniform on the unit disk, `(N, 2)`."""
    radius, angle = dice[:, :1].sqrt(), 2 * math.pi * dice[:, 1:]
    return radius * torch.cat([angle.cos(), angle.sin()], dim=-1)


def cosine_lobe(dice: Tensor) -> Tensor:
    """Unit vectors `(N, 3)` with density z/π: the disk, lifted to the hemisphere."""
    flat = disk(dice)
    return torch.cat([flat, (1 - dice[:, :1]).clamp(min=1e-6).sqrt()], dim=-1)


def visible_microfacet(dice: Tensor, to_eye: Tensor, alpha: Tensor) -> Tensor:
    """Normals of microfacets `(N, 3)`, as often as they are seen from `to_eye` `(N, 3)`, whose z is positive.

    Roughness enters as α `(N, 1)` (Dupuy and Benyoub, "Sampling visible GGX normals with spherical caps",
    2023).
    """
    stretch = torch.cat([alpha, alpha, torch.ones_like(alpha)], dim=-1)
    eye = functional.normalize(stretch * to_eye, dim=-1)
    angle = 2 * math.pi * dice[:, :1]
    z = (1 - dice[:, 1:]) * (1 + eye[:, 2:]) - eye[:, 2:]
    radius = (1 - z * z).clamp(min=1e-12).sqrt()
    cap = torch.cat([radius * angle.cos(), radius * angle.sin(), z], dim=-1)
    return functional.normalize(stretch * (cap + eye), dim=-1)


def frame(axis: Tensor) -> Tensor:
    """Orthonormal bases `(N, 3, 3)` whose third rows are unit vectors `(N, 3)`.

    Duff et al., "Building an orthonormal basis, revisited", 2017.
    """
    x, y, z = axis.unbind(-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    first = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], dim=-1)
    second = torch.stack([b, sign + y * y * a, -y], dim=-1)
    return torch.stack([first, second, axis], dim=1)


def turned(local: Tensor, axes: Tensor) -> Tensor:
    """Vectors `(N, 3)` given in the coordinates of bases `(N, 3, 3)`."""
    return (local[:, None] @ axes).squeeze(1)
