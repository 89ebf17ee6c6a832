"""A pinhole camera that looks straight into the detector's view of the photo.

The camera stands at the origin, looks along −z, y up, x right (OpenGL). A point (x, y, z) falls on the
photo at

    p = (c_x + f·x/(−z),  c_y − f·y/(−z))    px, (0, 0) at the top-left corner, y down,

and an affine `view` (crop from photo) carries p on to the pixels of the crop that the detector looks at. Both
are one projective map, so the rig is rendered straight at the detector's resolution: there is no second
resampling.
"""

import torch
from torch import Tensor, nn

NEAR_M, FAR_M = 0.02, 20.0


class Camera(nn.Module):
    """Parameters C2 of the camera.

    Args:
        focal_px: `(*B,)` focal length in photo pixels (square pixels).
        principal_point_px: `(*B, 2)` where the optical axis meets the photo.
        view: `(*B, 2, 3)` affine map from photo pixels to pixels of the rendered view; identity if omitted.
        size: (height, width) of the rendered view in pixels.
    """

    focal_px: Tensor
    principal_point_px: Tensor
    view: Tensor

    def __init__(
        self,
        focal_px: Tensor,
        principal_point_px: Tensor,
        view: Tensor | None = None,
        size: tuple[int, int] = (256, 256),
    ) -> None:
        super().__init__()
        if view is None:
            view = torch.eye(2, 3, dtype=principal_point_px.dtype, device=principal_point_px.device)
        self.size = size
        self.register_buffer("focal_px", focal_px)
        self.register_buffer("principal_point_px", principal_point_px)
        self.register_buffer("view", view)

    def homogeneous(self, points: Tensor) -> Tensor:
        """Homogeneous pixel coordinates of points.

        Args:
            points: `(*B, N, 3)` in camera space, metres.

        Returns:
            `(*B, N, 3)`: (X, Y, W) with W = −z, the pixel being (X/W, Y/W). Linear in the points.
        """
        finite = points.isfinite().all(-1, keepdim=True)  # 0 · NaN would spoil the camera's derivatives
        x, y, z = torch.where(finite, points, 0).unbind(-1)  # [*B, N]
        focal, middle = self.focal_px[..., None], self.principal_point_px
        photo = torch.broadcast_tensors(
            focal * x - middle[..., 0:1] * z, -focal * y - middle[..., 1:2] * z, -z
        )
        photo = torch.stack(photo, dim=-1)  # [*B, N, 3]
        pixels = photo @ self.view.transpose(-1, -2)  # the translation column multiplies W
        pixels = torch.cat([pixels, -z.expand(pixels.shape[:-1])[..., None]], dim=-1)
        return torch.where(finite, pixels, torch.nan)

    def project(self, points: Tensor) -> Tensor:
        """Pixels of the view: `(*B, N, 3)` metres → `(*B, N, 2)`."""
        pixels = self.homogeneous(points)
        return pixels[..., :2] / pixels[..., 2:]

    def pixels_per_metre(self, depth: Tensor) -> Tensor:
        """Size on the view of a metre across at `(*B, N)` metres of depth."""
        scale = torch.linalg.det(self.view[..., :2]).abs().sqrt()
        return (self.focal_px * scale)[..., None] / depth

    def clip(self, points: Tensor) -> Tensor:
        """OpenGL clip coordinates `(*B, N, 4)` of points `(*B, N, 3)`: x right, y up, near at z = −w."""
        return clip_from_pixels(self.homogeneous(points), self.size)


def clip_from_pixels(homogeneous: Tensor, size: tuple[int, int]) -> Tensor:
    """OpenGL clip coordinates `(*B, N, 4)` of homogeneous pixels `(*B, N, 3)` of a (height, width) view."""
    height, width = size
    x, y, w = homogeneous.unbind(-1)
    z = ((FAR_M + NEAR_M) * w - 2 * FAR_M * NEAR_M) / (FAR_M - NEAR_M)
    return torch.stack([2 * x / width - w, w - 2 * y / height, z, w], dim=-1)


def focal_for_distance(side_px: Tensor, distance_m: float) -> Tensor:
    """Focal length in px at which a face `distance_m` away fills a region of `(*B,)` `side_px` pixels.

    The region is 1.5 × the landmarks' longer side, about a quarter of a metre on an adult.
    """
    return side_px * distance_m / 0.25
