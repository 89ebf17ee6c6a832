"""The square of a photo that the detector looks at, and the maps between its pixels and the photo's."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

RIGHT_EYE, LEFT_EYE = 33, 263  # outer eye corners of FaceMesh, the subject's right and left
MARGIN = 1.5  # side of the region over the long side of the landmarks' box


@dataclass(frozen=True)
class Region:
    """A square, turned about its centre. All coordinates are continuous: corner origin, pixel centres at
    +0.5.

    As in MediaPipe, crop pixel i of a row shows the photo at left + i·side/size, both counted from pixel
    centres: there is no half-pixel shift, so `centre` appears at size/2 + 0.5 of the crop.

    Attributes:
        centre: (*B, 2) x, y in pixels of the photo.
        side: (*B,) pixels of the photo.
        rotation: (*B,) radians, from the photo's x axis to the crop's, toward +y (clockwise on the screen).
        size: pixels along a side of the crop.
    """

    centre: Tensor
    side: Tensor
    rotation: Tensor
    size: int = 256

    @classmethod
    def around(cls, landmarks: Tensor, size: int = 256) -> "Region":
        """MediaPipe's region for 478 landmarks: upright along the eye corners, 1.5 × the long side of their
        box.

        The box is taken in the face's own frame, so that the region turns with the picture.

        Args:
            landmarks: (*B, 478, 2 or 3) in pixels of the photo.
        """
        points = landmarks[..., :2]
        eyes = points[..., LEFT_EYE, :] - points[..., RIGHT_EYE, :]
        rotation = torch.atan2(eyes[..., 1], eyes[..., 0])
        turn = _rotation(rotation)  # [*B, 2, 2]
        upright = points @ turn  # rows times R are R⁻¹ times columns
        low, high = upright.amin(-2), upright.amax(-2)
        centre = (turn @ ((low + high) / 2)[..., None]).squeeze(-1)
        return cls(centre, MARGIN * (high - low).amax(-1), rotation, size)

    def to(self, dtype: torch.dtype, device: torch.device | None = None) -> "Region":
        """The same region in another dtype, on another device if one is given."""
        centre, side, rotation = (
            value.to(dtype=dtype, device=device) for value in (self.centre, self.side, self.rotation)
        )
        return Region(centre, side, rotation, self.size)

    def photo_from_crop(self) -> Tensor:
        """(*B, 2, 3): the affine map from pixels (x, y, 1) of the crop to pixels of the photo."""
        linear = (self.side / self.size)[..., None, None] * _rotation(self.rotation)
        middle = torch.full_like(self.centre, self.size / 2 + 0.5)
        offset = self.centre - (linear @ middle[..., None]).squeeze(-1)
        return torch.cat([linear, offset[..., None]], dim=-1)

    def crop_from_photo(self) -> Tensor:
        """(*B, 2, 3): the affine map from pixels (x, y, 1) of the photo to pixels of the crop."""
        linear = (self.size / self.side)[..., None, None] * _rotation(-self.rotation)
        middle = self.size / 2 + 0.5
        offset = middle - (linear @ self.centre[..., None]).squeeze(-1)
        return torch.cat([linear, offset[..., None]], dim=-1)

    def map_to_photo(self, points: Tensor) -> Tensor:
        """Points (*B, N, 2 or 3) of the crop in pixels of the photo; z, if there is one, is scaled alike."""
        return _apply(self.photo_from_crop(), points, self.side / self.size)

    def map_to_crop(self, points: Tensor) -> Tensor:
        """Points (*B, N, 2 or 3) of the photo in pixels of the crop; z, if there is one, is scaled alike."""
        return _apply(self.crop_from_photo(), points, self.size / self.side)

    def crop(self, photo: Tensor, averaged: bool = True) -> Tensor:
        """The photo inside the region, bilinearly interpolated; beyond the photo's edge its last pixels go
        on.

        A region of 2·size pixels or more is read from the photo averaged over k×k pixels, k = ⌊side/size⌋
        (the smallest of the batch): four samples a pixel would alias. Differentiable in the photo and in the
        region, in both modes.

        Args:
            photo: (*B, H, W, C), or (H, W, C) shared by the batch, of which only the part that is seen is
                looked at; uint8 counts as 0 … 255 of 1, and only that part becomes floats.
            averaged: False reads large regions with four samples a pixel, as MediaPipe does.

        Returns:
            (*B, size, size, C)
        """
        shrink = max(1, int(self.side.detach().min() // self.size)) if averaged else 1
        height, width = (-(-pixels // shrink) for pixels in photo.shape[-3:-1])
        batch = torch.broadcast_shapes(photo.shape[:-3], self.side.shape)

        dtype = photo.dtype if photo.is_floating_point() else self.side.dtype
        pixel = torch.arange(self.size, device=photo.device, dtype=dtype) + 0.5
        v, u = torch.meshgrid(pixel, pixel, indexing="ij")
        grid = torch.stack([u, v], dim=-1).reshape(-1, 2)  # [size², 2]
        position = _apply(self.photo_from_crop().to(dtype), grid) / shrink - 0.5  # of pixel centres
        whole = position.detach().floor()
        x1, y1 = (position - whole).unsqueeze(-1).unbind(-2)  # [*B, size², 1]: weights of the next
        columns = [(whole[..., 0].long() + next_one).clamp(0, width - 1) for next_one in (0, 1)]
        rows = [(whole[..., 1].long() + next_one).clamp(0, height - 1) for next_one in (0, 1)]

        left, top = int(columns[0].min()), int(rows[0].min())
        right, bottom = int(columns[1].max()) + 1, int(rows[1].max()) + 1
        photo = photo[..., top * shrink : bottom * shrink, left * shrink : right * shrink, :]
        if not photo.is_floating_point():
            photo = photo.to(dtype) / 255
        if shrink > 1:
            photo = _shrunk(photo, shrink)
        height, width, channels = photo.shape[-3:]

        pixels = photo.reshape(-1, channels)
        start = torch.zeros((), dtype=torch.long, device=photo.device)
        if photo.ndim > 3:  # where each photo begins in the list of all pixels
            pixels = photo.expand(*batch, height, width, channels).reshape(-1, channels)
            start = torch.arange(batch.numel(), device=photo.device).reshape(*batch, 1) * (height * width)

        def at(row: Tensor, column: Tensor) -> Tensor:  # [*B, size²] -> [*B, size², C]
            index = start + (row - top) * width + (column - left)
            return pixels.index_select(0, index.reshape(-1)).reshape(*index.shape, channels)

        above = (1 - x1) * at(rows[0], columns[0]) + x1 * at(rows[0], columns[1])
        below = (1 - x1) * at(rows[1], columns[0]) + x1 * at(rows[1], columns[1])
        return ((1 - y1) * above + y1 * below).reshape(*batch, self.size, self.size, channels)


def _rotation(angle: Tensor) -> Tensor:
    """(*B,) radians -> (*B, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _apply(affine: Tensor, points: Tensor, scale: Tensor | None = None) -> Tensor:
    """Affine maps (*B, 2, 3) of points (*B, N, 2 or 3); a third coordinate is multiplied by `scale` (*B,)."""
    xy = points[..., :2] @ affine[..., :2].mT + affine[..., None, :, 2]
    if points.shape[-1] == 2 or scale is None:
        return xy
    return torch.cat([xy, points[..., 2:] * scale[..., None, None]], dim=-1)


def _shrunk(photo: Tensor, factor: int) -> Tensor:
    """(*B, H, W, C) averaged over factor×factor pixels: (*B, ⌈H/factor⌉, ⌈W/factor⌉, C)."""
    images = photo.reshape(-1, *photo.shape[-3:]).permute(0, 3, 1, 2)
    small = F.avg_pool2d(images, factor, ceil_mode=True).permute(0, 2, 3, 1)
    return small.reshape(*photo.shape[:-3], *small.shape[1:])
