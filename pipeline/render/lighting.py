"""Light on a diffuse surface, and the normals it needs."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals, the mean of the neighbouring faces' weighted by area.

    Args:
        vertices: `(*B, V, 3)`.
        triangles: `(F, 3)` int64, counter-clockwise from outside.

    Returns:
        `(*B, V, 3)`; zero where a vertex has no face with area. Faces with a corner that is not finite
        do not count.
    """
    a, b, c = (vertices.index_select(-2, triangles[:, i]) for i in range(3))
    face = torch.linalg.cross(b - a, c - a).nan_to_num(0, 0, 0)
    normal = torch.zeros_like(vertices)
    for i in range(3):
        normal = normal.index_add(-2, triangles[:, i], face)
    return functional.normalize(normal, dim=-1, eps=1e-20)


class Light(nn.Module):
    """Ambient and one directional light: parameters C2.

    The directional part is wrapped around the terminator, ((1 + n·l)/2)², as light that scatters in skin is,
    and is smooth where Lambert's max(n·l, 0) has a kink (Mitchell, McTaggart and Green, "Shading in Valve's
    Source Engine", 2006).

    Args:
        ambient: `(*B, 3)` linear RGB.
        directional: `(*B, 3)` linear RGB.
        direction: `(*B, 3)` from the surface to the light, in camera space; any length.
    """

    ambient: Tensor
    directional: Tensor
    direction: Tensor

    def __init__(self, ambient: Tensor, directional: Tensor, direction: Tensor) -> None:
        super().__init__()
        self.register_buffer("ambient", ambient)
        self.register_buffer("directional", directional)
        self.register_buffer("direction", direction)

    @classmethod
    def default(cls) -> "Light":
        """A soft key light from above the camera."""
        return cls(torch.full((3,), 0.35), torch.full((3,), 0.85), torch.tensor([0.15, 0.45, 1.0]))

    def forward(self, normals: Tensor) -> Tensor:
        """Irradiance `(*B, P, 3)` on surfaces with unit normals `(*B, P, 3)`."""
        direction = functional.normalize(self.direction, dim=-1)
        wrapped = 0.5 + 0.5 * (normals * direction[..., None, :]).sum(-1, keepdim=True)
        return self.ambient[..., None, :] + self.directional[..., None, :] * wrapped * wrapped
