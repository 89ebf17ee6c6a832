"""Layer 3, pixels to landmarks: FAN, the 68 points of iBUG, read from heatmaps.

Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?" (2017). The network
is the package face-alignment's, called directly: its own functions end the chain in an arg max. docs/fan.md
tells the variants, the decoding and the licences.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.detect import fan_weights
from pipeline.detect.fan_weights import Variant
from pipeline.detect.heatmaps import TEMPERATURE, WINDOW, soft_decode
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.region import Region
from pipeline.environment import lacking
from pipeline.errors import ChainRigError

LANDMARKS = 68
CROP_SIZE = 256  # that the published weights were trained with
STRIDE = 4  # pixels of the crop for one of the heatmap
SMALLEST = 64  # the hourglass halves the heatmap four times


class Reading(NamedTuple):
    """What the network says about a crop.

    Attributes:
        landmarks: (*B, 68, 2) x, y in pixels of the crop.
        confidence: (*B, 68) heights of the heatmaps' peaks: 1 as trained, near 0 where it sees nothing.
    """

    landmarks: Tensor
    confidence: Tensor


class FAN(LandmarkDetector):
    """A crop of a face to 68 landmarks: `(*B, H, W, 3) -> (*B, 68, 2)`.

    Input: sRGB-encoded colours in [0, 1], H and W multiples of 64; the published weights know 256×256.
    Output: x, y in pixels of the crop (corner origin, centres at +0.5). Float32 or float64 (`.to(dtype)`),
    forward- and reverse-mode AD. The network's parameters are frozen, its batch norms keep their statistics.

    Args:
        stacks: hourglasses in a row; the published networks have 4.
        temperature: of the smoothed arg max, in units of a heatmap's peak (see `heatmaps.soft_decode`).
        window: pixels of the heatmap to each side of the largest that it sees; None: the whole heatmap.
        mirror: also read the mirrored crop, and average the heatmaps: as face-alignment does by default, at
            twice the cost.

    Raises:
        ChainRigError: face-alignment, or something that it needs, is missing.
    """

    title = "fan"

    def __init__(
        self,
        stacks: int = 4,
        temperature: float = TEMPERATURE,
        window: int | None = WINDOW,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.network = _untrained(stacks)
        self.requires_grad_(False)
        self.eval()
        self.temperature = temperature
        self.window = window
        self.mirror = mirror

    @classmethod
    def load(
        cls,
        variant: Variant = "2d",
        path: Path | None = None,
        *,
        stacks: int = 4,
        temperature: float = TEMPERATURE,
        window: int | None = WINDOW,
        mirror: bool = False,
    ) -> "FAN":
        """The trained network, float32.

        Args:
            variant: "2d": the jaw follows the visible outline of the face; "3d": all points are projections
                of points of the head, also hidden ones. Downloaded if torch's cache lacks it.
            path: a file of weights instead, with `stacks` hourglasses.

        Raises:
            ChainRigError: the weights cannot be had or used (see `fan_weights`), face-alignment is missing.
        """
        fan = cls(stacks, temperature, window, mirror)
        fan.title = "fan" if variant == "2d" else "fan-3d"
        path = path or fan_weights.fetch(variant)
        fan_weights.install(fan_weights.read(path), fan.network, path)
        return fan

    def region(self, box: Tensor, mesh: Region) -> Region:
        """As face-alignment cuts it: upright, around the box."""
        return fan_region(box)

    def train(self, mode: bool = True) -> "FAN":
        """Stays in evaluation mode: a batch norm in training would make each face depend on the others."""
        return super().train(False)

    def heatmaps(self, x: Tensor) -> Tensor:
        """Crops (*B, H, W, 3) to (*B, 68, H/4, W/4), those of the last hourglass.

        Raises:
            ValueError: the image has no 3 channels, or its sides are no multiples of 64.
        """
        height, width, channels = x.shape[-3:]
        if channels != 3 or height % SMALLEST or width % SMALLEST:
            raise ValueError(f"FAN takes (*B, {CROP_SIZE}, {CROP_SIZE}, 3), got {tuple(x.shape)}.")
        planes = x.reshape(-1, height, width, 3).permute(0, 3, 1, 2)
        heat = self.network(planes)[-1]
        if self.mirror:
            from face_alignment.utils import flip  # also exchanges left and right landmarks

            heat = (heat + flip(self.network(planes.flip(-1))[-1], is_label=True)) / 2
        return heat.reshape(*x.shape[:-3], *heat.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Landmarks (*B, 68, 2) of crops (*B, H, W, 3)."""
        return self.forward_full(x).landmarks

    def forward_full(self, x: Tensor) -> Reading:
        """Landmarks and their confidence of crops (*B, H, W, 3)."""
        heat = self.heatmaps(x)
        landmarks = STRIDE * soft_decode(heat, self.temperature, self.window)
        return Reading(landmarks, heat.flatten(-2).amax(-1))


def fan_region(box: Tensor) -> Region:
    """The square that face-alignment cuts out for a face's box.

    Side (w + h) · 200/195, centred 0.12 h above the box's centre, from whole pixel to whole pixel. These may
    be one more along x than along y: then the region is the square in between, ¼ pixel off at the corners.

    Args:
        box: (*B, 4) left, top, right, bottom of a face in pixels of the photo, as its SFD and BlazeFace, and
            this package's BlazeFace, draw it.
    """
    left, top, right, bottom = box.unbind(-1)
    width, height = right - left, bottom - top
    centre = torch.stack([(left + right) / 2, (top + bottom) / 2 - 0.12 * height], -1)
    side = ((width + height) * (200 / 195))[..., None]
    first = (centre + (1 / CROP_SIZE - 0.5) * side).trunc()  # one pixel of the crop in: it counted from 1
    last = (centre + side / 2).trunc()
    cut = (last - first).mean(-1)
    # A region's centre is half a pixel of the crop beyond the middle.
    middle = (first + last) / 2 + (cut / CROP_SIZE / 2)[..., None]
    return Region(middle, cut, torch.zeros_like(cut), CROP_SIZE)


def _untrained(stacks: int) -> nn.Module:
    try:
        from face_alignment.models import FAN as Network  # here: this import takes seconds
    except Exception as error:
        raise ChainRigError(
            lacking(error) or f"face-alignment cannot be imported ({error}): install chainrig again with pip."
        ) from error
    return Network(stacks)
