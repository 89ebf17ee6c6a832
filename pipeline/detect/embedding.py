"""Where the detector's landmarks lie on the rig: the cheap stand-in for rendering and detecting."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.layer import Layer
from pipeline.render.camera import Camera

# The 68 points of iBUG among the 478 (jaw 17, brows 10, nose 9, eyes 12, mouth 20). The jaw's 17 mean
# something else in the two schemes: iBUG's slide along the visible contour.
IBUG68: Sequence[int] = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip

# The outline of the face slides over the cheeks as the head turns: no fixed point of the skin.
FACE_OVAL: Sequence[int] = (
    10, 21, 54, 58, 67, 93, 103, 109, 127, 132, 136, 148, 149, 150, 152, 162, 172, 176,
    234, 251, 284, 288, 297, 323, 332, 338, 356, 361, 365, 377, 378, 379, 389, 397, 400, 454,
)  # fmt: skip

# The 442 points over which residuals are quoted: the mesh without its outline, and the irises.
SCORED: Sequence[int] = tuple(i for i in range(478) if i not in FACE_OVAL)


class LandmarkEmbedding(Layer):
    """X2 → X4 without pixels: landmark i is a fixed point of triangle i, projected.

    `(*B, V, 3)` vertices in camera space → `(*B, L, 3)`: x, y in pixels of the camera's view; z in the same
    scale, 0 at the landmarks' mean depth, smaller is nearer, as the detector counts it.

    Args:
        corners: `(L, 3)` int64 vertices of each landmark's triangle.
        barycentric: `(L, 3)`.
        camera: it projects, in pixels of its view.
    """

    name = "embed"
    input_axes = ("vertex", "xyz")
    output_axes = ("landmark", "xyz")

    corners: Tensor
    barycentric: Tensor

    def __init__(self, corners: Tensor, barycentric: Tensor, camera: Camera) -> None:
        super().__init__()
        self.register_buffer("corners", corners)
        self.register_buffer("barycentric", barycentric)
        self.camera = camera

    def points(self, vertices: Tensor) -> Tensor:
        """The landmarks in space, `(*B, L, 3)` metres."""
        corners = vertices[..., self.corners, :]  # [*B, L, 3, 3]
        return (self.barycentric[..., None] * corners).sum(-2)

    def forward(self, vertices: Tensor) -> Tensor:
        homogeneous = self.camera.homogeneous(self.points(vertices))
        depth = homogeneous[..., 2:]
        middle = depth.mean(-2, keepdim=True)
        scale = self.camera.pixels_per_metre(middle.squeeze(-1))[..., None]
        return torch.cat([homogeneous[..., :2] / depth, (depth - middle) * scale], dim=-1)
