"""What light falls on a surface: from all around, and from one direction."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ChainRigError

# Of the real spherical harmonics 1 | y, z, x | xy, yz, 3z² − 1, xz, x² − y² on the unit sphere.
_NORM = [
    0.5 * math.sqrt(1 / math.pi),
    *3 * [0.5 * math.sqrt(3 / math.pi)],
    *2 * [0.5 * math.sqrt(15 / math.pi)],
    0.25 * math.sqrt(5 / math.pi),
    0.5 * math.sqrt(15 / math.pi),
    0.25 * math.sqrt(15 / math.pi),
]
# A cosine lobe around the normal keeps these shares of each band, over π.
_COSINE = [1.0, *3 * [2 / 3], *5 * [1 / 4]]


def harmonics_basis(directions: Tensor) -> Tensor:
    """Real spherical harmonics Y_lm up to second order: unit `(*N, 3)` → `(*N, 9)`."""
    return _polynomials(directions) * directions.new_tensor(_NORM)


def _polynomials(directions: Tensor) -> Tensor:
    x, y, z = directions.unbind(-1)
    one = torch.ones_like(x)
    return torch.stack([one, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], dim=-1)


class Light(nn.Module):
    """Ambient, one directional and second-order spherical-harmonic light: parameters C2, all linear RGB.

    A white Lambertian surface of normal n sends out `environment(n) + directional · max(n·l, 0)`; `ambient`
    is the radiance of a uniform environment and `harmonics` are the coefficients of one that varies
    (Ramamoorthi and Hanrahan, "An efficient representation for irradiance environment maps", 2001, eq. 7).

    Args:
        ambient: `(*B, 3)`.
        directional: `(*B, 3)`.
        direction: `(*B, 3)` from the surface to the light, in camera space; any length.
        harmonics: `(*B, 9, 3)` in the order of `harmonics_basis`; zero if omitted.
    """

    ambient: Tensor
    directional: Tensor
    direction: Tensor
    harmonics: Tensor

    def __init__(
        self, ambient: Tensor, directional: Tensor, direction: Tensor, harmonics: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("ambient", ambient)
        self.register_buffer("directional", directional)
        self.register_buffer("direction", direction)
        self.register_buffer("harmonics", ambient.new_zeros(9, 3) if harmonics is None else harmonics)

    @classmethod
    def default(cls) -> "Light":
        """A soft key light from above the camera."""
        return cls(torch.full((3,), 0.35), torch.full((3,), 0.85 / 0.75), torch.tensor([0.15, 0.45, 1.0]))

    def towards(self) -> Tensor:
        """Unit `(*B, 3)` from the surface to the directional light."""
        return functional.normalize(self.direction, dim=-1)

    def of_batch(self, batch: torch.Size) -> "Light":
        """The same light with one batch dimension, of all pictures of `batch`; itself where they share it.

        Raises:
            ChainRigError: there are several lights, but not one for each picture.
        """
        parameters = {"ambient": 1, "directional": 1, "direction": 1, "harmonics": 2}
        if all(getattr(self, name).dim() == dims for name, dims in parameters.items()):
            return self
        flat = {}
        for name, dims in parameters.items():
            value = getattr(self, name)
            own = value.shape[value.dim() - dims :]
            try:
                flat[name] = value.expand(*batch, *own).reshape(-1, *own)
            except RuntimeError:
                raise ChainRigError(
                    f"The light's {name} has the batch {tuple(value.shape[: value.dim() - dims])}, "
                    f"the pictures have {tuple(batch)}: give each picture its light, or all the same."
                ) from None
        return Light(**flat)

    def environment(self, normals: Tensor, item: Tensor) -> Tensor:
        """Irradiance over π `(P, 3)` of ambient and harmonics on unit normals `(P, 3)` in pictures `(P,)`."""
        basis = _polynomials(normals)
        factors = normals.new_tensor([norm * share for norm, share in zip(_NORM, _COSINE, strict=True)])
        coefficients = self.harmonics * factors[:, None]
        if coefficients.dim() == 2:
            around = basis @ coefficients
        else:
            around = (basis.unsqueeze(1) @ of_item(coefficients, 2, item)).squeeze(1)
        return of_item(self.ambient, 1, item) + around


def of_item(parameter: Tensor, dims: int, item: Tensor) -> Tensor:
    """A parameter `(*B, …)` with `dims` dimensions of its own, as each fragment's picture has it: `(P, …)`.

    `(1, …)` where all pictures share it.
    """
    if parameter.dim() == dims:
        return parameter.unsqueeze(0)
    own = parameter.shape[parameter.dim() - dims :]
    return parameter.reshape(-1, *own).index_select(0, item)
