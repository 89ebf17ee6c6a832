"""The meshes of a batch of pictures, and where rays meet them."""

import torch
from torch import Tensor

from pipeline.render.camera import NEAR_M, Camera
from pipeline.render.rasterize import Fragments, barycentrics
from pipeline.render.raycast import first_triangles, meets_any
from pipeline.render.surface import Surface

# Of the depth: how far above the surface a ray starts, so that it does not meet what it leaves.
LIFT = 2e-4


class RayScene:
    """B meshes of one surface, each before its camera.

    Args:
        vertices: `(B, V, 3)` in camera space.
        homogeneous: `(B, V, 3)` homogeneous pixels on the grid of samples.
        samples: samples per pixel along each side.

    Attributes:
        size: (B, height, width) of the grids of samples.
        to_pixels: `(B, 3, 3)`: points in camera space, as rows, times this are homogeneous pixels.
    """

    def __init__(
        self, surface: Surface, camera: Camera, vertices: Tensor, homogeneous: Tensor, samples: int
    ) -> None:
        self.surface, self.camera = surface, camera
        self.vertices, self.homogeneous = vertices, homogeneous
        self.size = (len(vertices), camera.size[0] * samples, camera.size[1] * samples)
        axes = torch.eye(3, dtype=vertices.dtype, device=vertices.device)
        grid = camera.homogeneous(axes) * axes.new_tensor([samples, samples, 1])
        self.to_pixels = grid.reshape(-1, 3, 3).expand(len(vertices), 3, 3)
        self._from_pixels = torch.linalg.inv(self.to_pixels.detach())

    def camera_rays(self, item: Tensor, at: Tensor) -> Tensor:
        """Directions `(N, 3)`, z = −1, from the camera through points `(N, 2)` of the grids `item` `(N,)`."""
        through = torch.cat([at, torch.ones_like(at[:, :1])], dim=-1)
        if self.size[0] == 1:
            return through @ self._from_pixels[0]
        return (through[:, None] @ self._from_pixels.index_select(0, item)).squeeze(1)

    def first(self, item: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
        """Triangles `(N,)` int64 that rays meet first in the meshes `item`, −1 where they meet none."""
        return first_triangles(self.vertices, self.surface.triangles, item, origin, direction)

    def blocked(self, item: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
        """`(N, 1)` bool: whether rays meet the meshes `item` at all."""
        return meets_any(self.vertices, self.surface.triangles, item, origin, direction)[:, None]

    def seen(self, item: Tensor, pixel: Tensor, at: Tensor) -> tuple[Fragments, Tensor]:
        """What the camera sees at points `(N, 2)` of the grids: P fragments, and which of the N they are,
        `(P,)`.

        Args:
            pixel: `(N,)` int64 the samples that the points belong to.
        """
        ray = self.camera_rays(item, at)
        triangle = self.first(item, NEAR_M * ray, ray)
        hit = (triangle >= 0).nonzero().squeeze(-1)
        item, pixel, at, triangle = (x.index_select(0, hit) for x in (item, pixel, at, triangle))
        corners = self.corners(item, triangle)
        positions = self.homogeneous.flatten(0, 1).index_select(0, corners.flatten()).view(-1, 3, 3)
        return Fragments(self.size, pixel, item, at, triangle, corners, barycentrics(positions, at)), hit

    def met(
        self, fragments: Fragments, origin: Tensor, direction: Tensor, triangle: Tensor, which: Tensor
    ) -> Fragments:
        """What rays from fragments meet.

        Args:
            origin, direction: `(P, 3)` of the rays, differentiable.
            triangle: `(P,)` from `first`.
            which: `(Q,)` int64 the rays that meet something.
        """
        item, pixel, at = (
            x.index_select(0, which) for x in (fragments.item, fragments.pixel, fragments.centre)
        )
        triangle = triangle.index_select(0, which)
        corners = self.corners(item, triangle)
        weights = weights_along(
            self.points(corners) - origin.index_select(0, which)[:, None], direction.index_select(0, which)
        )
        return Fragments(self.size, pixel, item, at, triangle, corners, weights)

    def corners(self, item: Tensor, triangle: Tensor) -> Tensor:
        """`(P, 3)` int64 indices of triangles' corners into the flattened (B, V) vertices."""
        return self.surface.triangles.index_select(0, triangle) + (item * self.vertices.shape[1])[:, None]

    def points(self, indices: Tensor) -> Tensor:
        """Positions `(*N, 3)` of vertices, by their indices `(*N,)` into the flattened (B, V)."""
        return self.vertices.flatten(0, 1).index_select(0, indices.flatten()).view(*indices.shape, 3)


def weights_along(corners: Tensor, direction: Tensor) -> Tensor:
    """Barycentrics `(P, 3)` where rays `(P, 3)` from the origin meet the planes of triangles `(P, 3, 3)`.

    A corner's weight is the volume that the ray spans with the other two, divided by the sum of all three.
    """
    a, b, c = corners.unbind(1)
    volumes = torch.stack(
        [(direction * torch.linalg.cross(*pair)).sum(-1) for pair in ((b, c), (c, a), (a, b))], dim=-1
    )
    total = volumes.sum(-1, keepdim=True)
    return torch.where(total == 0, 1 / 3, volumes / torch.where(total == 0, 1.0, total))


def lifted(position: Tensor, normal: Tensor) -> Tensor:
    """Where rays `(P, 3)` from a surface start: above it by a small part of the depth."""
    return position - LIFT * position[:, 2:].detach() * normal.detach()
