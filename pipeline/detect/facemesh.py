"""Layer 3, pixels to landmarks: MediaPipe's FaceMesh v2.

Kartynnik, Ablavatski, Grishchenko, Grundmann, "Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs" (2019); weights from Google's face_landmarker_v2.task, Apache-2.0, converted by
scripts/build_detector.py.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import assets
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.rectifier import Rectifier

LANDMARKS = 478
CROP_SIZE = 256


class Detection(NamedTuple):
    """What the network says about a crop.

    Attributes:
        landmarks: (*B, 478, 3); x, y in pixels of the crop, z (depth, smaller is nearer) in the same scale.
        presence: (*B,) probability that the crop shows a face where the network expects one.
    """

    landmarks: Tensor
    presence: Tensor


class Bottleneck(nn.Module):
    """Residual block: 1×1 to fewer channels, depthwise 3×3, 1×1 back; the sum is rectified.

    (B, width, H, W) -> the same shape.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, inner, 1)
        self.reduce_act = Rectifier(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.expand = nn.Conv2d(inner, width, 1)
        self.act = Rectifier(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.reduce_act(self.reduce(x))
        return self.act(x + self.expand(self.depthwise(inner)))


class Downsample(nn.Module):
    """As `Bottleneck`, at half the resolution: 2×2 stride-2 convolution beside a 2×2 max-pool.

    The shortcut has fewer channels than the output where the width grows: the missing ones are zero.
    (B, before, H, W) -> (B, width, H/2, W/2).
    """

    def __init__(self, before: int, width: int, inner: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(before, inner, 2, stride=2)
        self.reduce_act = Rectifier(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.expand = nn.Conv2d(inner, width, 1)
        self.act = Rectifier(width)
        self.missing = width - before

    def forward(self, x: Tensor) -> Tensor:
        inner = self.reduce_act(self.reduce(x))
        shortcut = F.pad(F.max_pool2d(x, 2), (0, 0, 0, 0, 0, self.missing))
        return self.act(shortcut + self.expand(self.depthwise(inner)))


class FaceMesh(LandmarkDetector):
    """A 256×256 crop of a face to 478 landmarks: `(*B, 256, 256, 3) -> (*B, 478, 3)`.

    Input: sRGB-encoded colours in [0, 1]. Output: x, y in pixels of the crop (corner origin, centres at
    +0.5), z in the same scale. Float32 or float64 (`.to(dtype)`); piecewise affine in the pixels; forward-
    and reverse-mode AD.

    Args:
        smoothing: width of the smooth rectifier that stands in for the kinks in the derivative only
            (see `rectifier.Rectifier`); 0 is the network's own derivative. Can be set later.
    """

    output_axes = ("landmark", "xyz")
    title = "facemesh"
    scheme = "mediapipe478"

    WIDTHS = (16, 32, 64, 128, 128, 128, 128)  # channels at 128², 64², … 2² pixels
    BLOCKS = 4  # residual blocks at each resolution

    def __init__(self, smoothing: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, self.WIDTHS[0], 3, stride=2)
        self.stem_act = Rectifier(self.WIDTHS[0])
        trunk: list[nn.Module] = []
        before = None
        for width in self.WIDTHS:
            inner = min(width // 2, 64)
            if before is not None:
                trunk.append(Downsample(before, width, inner))
            trunk.extend(Bottleneck(width, inner) for _ in range(self.BLOCKS))
            before = width
        self.trunk = nn.Sequential(*trunk)
        self.presence_head = nn.Conv2d(self.WIDTHS[-1], 1, 2)  # both heads see all of the last 2×2 pixels
        self.landmark_head = nn.Conv2d(self.WIDTHS[-1], LANDMARKS * 3, 2)
        self.requires_grad_(False)
        self.register_buffer("half_pixel", torch.tensor([0.5, 0.5, 0.0]), persistent=False)
        self.smoothing = smoothing

    @classmethod
    def load(cls, path: Path | None = None, smoothing: float = 0.0) -> "FaceMesh":
        """The trained network, float32, from a safetensors file (default: the one in assets)."""
        network = cls(smoothing)
        network.load_state_dict(load_file(path or assets.path("face_landmarks.safetensors")))
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def smoothing(self) -> float:
        return self.stem_act.smoothing

    @smoothing.setter
    def smoothing(self, width: float) -> None:
        if not width >= 0:
            raise ValueError(f"smoothing must be 0 or more, got {width}.")
        for module in self.modules():
            if isinstance(module, Rectifier):
                module.smoothing = float(width)

    def planes(self, x: Tensor) -> Tensor:
        """(*B, 256, 256, 3) -> (N, 3, 257, 257): the stem's windows start at even pixels, the last overhangs.

        Raises:
            ValueError: the image is not 256×256 with 3 channels.
        """
        if x.shape[-3:] != (CROP_SIZE, CROP_SIZE, 3):
            raise ValueError(f"FaceMesh takes (*B, {CROP_SIZE}, {CROP_SIZE}, 3), got {tuple(x.shape)}.")
        x = x.reshape(-1, CROP_SIZE, CROP_SIZE, 3).permute(0, 3, 1, 2)  # a view: channels last in memory
        return F.pad(x, (0, 1, 0, 1))

    def features(self, x: Tensor) -> Tensor:
        """(*B, 256, 256, 3) -> (N, 128, 2, 2), N the product of *B."""
        return self.trunk(self.stem_act(self.stem(self.planes(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Landmarks (*B, 478, 3) of crops (*B, 256, 256, 3)."""
        return self._landmarks(self.features(x), x.shape[:-3])

    def forward_full(self, x: Tensor) -> Detection:
        """Landmarks and presence of crops (*B, 256, 256, 3)."""
        batch, features = x.shape[:-3], self.features(x)
        return Detection(
            landmarks=self._landmarks(features, batch),
            presence=torch.sigmoid(self.presence_head(features)).reshape(batch),
        )

    def presence(self, x: Tensor) -> Tensor:
        """Probability (*B,) that the crops (*B, 256, 256, 3) show a face."""
        return self.forward_full(x).presence

    def _landmarks(self, features: Tensor, batch: torch.Size) -> Tensor:
        # The network counts pixels from their centres, this package from the corner.
        return self.landmark_head(features).reshape(*batch, LANDMARKS, 3) + self.half_pixel
