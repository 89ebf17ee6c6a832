"""The detector with softer kinks: wider rectifiers, soft pools, in the derivative alone or in the value too.

The product's own smoothing is that of the rectifiers in the derivative (`pipeline/detect/rectifier.py`).
What is here beside it was tried for docs/chain-rule.md.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.detect.facemesh import Downsample, FaceMesh
from pipeline.detect.rectifier import Rectifier


class SoftDownsample(Downsample):
    """Its pool's derivative is shared out by softmax(x / (pool · std of the channel)); the value is exact."""

    pool: float

    def forward(self, x: Tensor) -> Tensor:
        inner = self.reduce_act(self.reduce(x))
        windows = F.unfold(x, 2, stride=2).view(len(x), x.shape[1], 4, x.shape[2] // 2, x.shape[3] // 2)
        width = self.pool * x.detach().std((-2, -1)).clamp(min=1e-6)[:, :, None, None, None]
        largest = straight_through(
            F.max_pool2d(x, 2), (windows * torch.softmax(windows.detach() / width, 2)).sum(2)
        )
        shortcut = F.pad(largest, (0, 0, 0, 0, 0, self.missing))
        return self.act(shortcut + self.expand(self.depthwise(inner)))


class SmoothRectifier(Rectifier):
    """a·x + (1 − a)·softplus: a function that is smooth itself, with widths that stay as they are on one
    picture."""

    width: Tensor | None = None  # (C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.width is None:
            self.width = self.smoothing * x[0].std((-2, -1)).clamp(min=1e-6)[:, None, None]
        slope = self.weight[:, None, None]
        return slope * x + (1 - slope) * self.width * F.softplus(x / self.width)


def straight_through(value: Tensor, derivative: Tensor) -> Tensor:
    """The value of one, the derivative of the other."""
    return value.detach() + derivative - derivative.detach()


def detector(rectifier: float, pool: float = 0.0) -> FaceMesh:
    """The trained network whose derivative alone is smoothed."""
    network = FaceMesh.load(smoothing=rectifier)
    for module in network.modules():
        if pool > 0 and isinstance(module, Downsample):
            module.__class__ = SoftDownsample
            module.pool = pool  # type: ignore[assignment]
    return network


@torch.no_grad()
def smooth_detector(width: float, picture: Tensor) -> FaceMesh:
    """A network that is smooth itself; widths are those of a picture `(256, 256, 3)`."""
    network = FaceMesh.load(smoothing=width)
    for module in network.modules():
        if isinstance(module, Rectifier):
            module.__class__ = SmoothRectifier
    network(picture)  # settles the widths
    return network
