"""Which triangle does a pixel see, and where on it?

Only the first question (the triangle-id buffer, `ids.py`) needs a backend; its answer is an integer and has
no derivative. The second (perspective-correct barycentrics, and all that is interpolated with them) is plain
torch: one code for every device and both modes of differentiation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.render import fused
from pipeline.render.fused import coverage, interpolation
from pipeline.render.ids import triangle_ids


@dataclass(frozen=True)
class Fragments:
    """What the covered pixels of a batch of B pictures see; P pixels are covered, in all pictures together.

    Attributes:
        size: (B, height, width).
        pixel: `(P,)` int64 index into the flattened (B, H, W).
        item: `(P,)` int64 the picture of the batch.
        centre: `(P, 2)` x and y of the pixel's centre in its picture.
        triangle: `(P,)` int64.
        corners: `(P, 3)` int64 index of the triangle's corners into the flattened (B, V) vertices.
        barycentric: `(P, 3)` perspective-correct, differentiable; sums to 1.
    """

    size: tuple[int, int, int]
    pixel: Tensor
    item: Tensor
    centre: Tensor
    triangle: Tensor
    corners: Tensor
    barycentric: Tensor

    def interpolate(self, attribute: Tensor) -> Tensor:
        """Values `(P, C)` of a vertex attribute `(B, V, C)`."""
        return weigh(attribute.flatten(0, 1), self.corners, self.barycentric)


def weigh(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Σᵢ weightsᵢ · values[cornersᵢ]: `(N, C)`, `(P, 3)`, `(P, 3)` → `(P, C)`."""
    if fused.serves(values, weights):
        return interpolation.Weigh.apply(weigh, values, corners, weights)
    a, b, c = (
        weight * values.index_select(0, corner)
        for weight, corner in zip(weights[..., None].unbind(1), corners.unbind(1), strict=True)
    )
    return a + b + c


def barycentrics(corners: Tensor, pixel_xy: Tensor) -> Tensor:
    """Perspective-correct barycentrics of pixels on the planes of their triangles.

    In homogeneous pixels qᵢ = (Xᵢ − x·Wᵢ, Yᵢ − y·Wᵢ), the weight of corner i is the signed area qⱼ × qₖ of
    the other two, divided by their sum (Olano and Greer, "Triangle scan conversion using 2D homogeneous
    coordinates", 1997).

    Args:
        corners: `(P, 3, 3)` homogeneous pixels (X, Y, W) of the three corners.
        pixel_xy: `(P, 2)`.

    Returns:
        `(P, 3)`; uniform where the triangle has no area on the screen.
    """
    x, y = pixel_xy.unbind(-1)
    X0, Y0, W0, X1, Y1, W1, X2, Y2, W2 = corners.flatten(1).unbind(-1)  # each [P]
    x0, y0, x1, y1, x2, y2 = X0 - x * W0, Y0 - y * W0, X1 - x * W1, Y1 - y * W1, X2 - x * W2, Y2 - y * W2
    area0, area1, area2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
    total = area0 + area1 + area2
    flat = total == 0
    inverse = torch.where(flat, 1.0, total).reciprocal()
    weights = torch.stack([area0 * inverse, area1 * inverse, area2 * inverse], dim=-1)
    return torch.where(flat[:, None], 1 / 3, weights)


def covered(ids: Tensor, triangles: Tensor, vertices: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fields pixel, item, centre, triangle and corners of `Fragments`, for ids `(B, H, W)`."""
    if ids.device.type == "cpu":
        return coverage.covered(ids, triangles, vertices)
    item, row, column = (ids >= 0).nonzero().unbind(-1)
    pixel = (item * ids.shape[1] + row) * ids.shape[2] + column
    triangle = ids.flatten().index_select(0, pixel)
    corners = triangles.index_select(0, triangle) + (item * vertices)[:, None]
    return pixel, item, torch.stack([column, row], dim=-1) + 0.5, triangle, corners


def seen_at(points: Tensor, corners: Tensor, centre: Tensor) -> Tensor:
    """Barycentrics `(P, 3)` of pixels `(P, 2)` on triangles with `corners` `(P, 3)` among points `(N, 3)`."""
    if fused.serves(points, centre):
        return interpolation.Barycentrics.apply(seen_at, points, corners, centre)
    return barycentrics(points.index_select(0, corners.flatten()).view(-1, 3, 3), centre)


def rasterize(
    homogeneous: Tensor, clip: Tensor, triangles: Tensor, size: tuple[int, int], backend: str = "auto"
) -> Fragments:
    """Fragments of a batch of meshes.

    Args:
        homogeneous: `(B, V, 3)` homogeneous pixels (`Camera.homogeneous`, at the resolution of `size`).
        clip: `(B, V, 4)` the same points in clip coordinates.
        triangles: `(F, 3)` int64.
        size: (height, width) in pixels.
        backend: who finds the triangle ids (`ids.BACKENDS`), or "auto".
    """
    height, width = size
    ids = triangle_ids(clip, triangles, size, backend)
    pixel, item, centre, triangle, corners = covered(ids, triangles, clip.shape[1])
    centre = centre.to(homogeneous.dtype)
    weights = seen_at(homogeneous.flatten(0, 1), corners, centre)
    return Fragments((clip.shape[0], height, width), pixel, item, centre, triangle, corners, weights)
