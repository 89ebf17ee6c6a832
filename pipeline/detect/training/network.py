"""The network: pictures to heatmaps. Differentiated in its parameters here, and in its input in the chain.

A small hourglass of dense bottlenecks (Newell, Yang, Deng, "Stacked Hourglass Networks for Human Pose
Estimation", 2016; one stack, and narrower). Its rectifiers are SiLU, x σ(x), and nothing is pooled by a
maximum: the network is smooth, so its derivative says what a useful step does, which that of a network of
sharp rectifiers does not (`detect/rectifier.py`).
"""

from torch import Tensor, nn
from torch.nn import functional

POINTS = 68
INPUT = 128  # pixels of a side
CELLS = 16  # of a side of a heatmap
WIDTHS = (64, 128, 192)  # channels at 16², 8², 4² cells


class HeatmapNetwork(nn.Module):
    """`(N, 3, 128, 128)` sRGB in [0, 1] → `(N, 68, 16, 16)` scores: the higher, the likelier it is there.

    Args:
        widths: channels at 16², 8², … cells.
        dropout: share of the coarsest channels left out while training.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, dropout: float = 0.1) -> None:
        super().__init__()
        self.widths = tuple(widths)
        first, last = widths[0], widths[-1]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.stem = nn.Sequential(
            _convolution(3, first // 2, 7, stride=4), _convolution(first // 2, first, 3, stride=2)
        )
        self.fine = nn.ModuleList([_blocks(first, 1), *(_blocks(width, 2) for width in widths[1:-1])])
        self.down = nn.ModuleList([_convolution(near, far, 3, stride=2) for near, far in pairs])
        self.coarse = nn.Sequential(_blocks(last, 2), nn.Dropout2d(dropout), _blocks(last, 1))
        self.up = nn.ModuleList([nn.Conv2d(far, near, 1) for near, far in pairs])
        self.merge = nn.ModuleList([_blocks(near, 1) for near, _ in pairs])
        self.head = nn.Conv2d(first, POINTS, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, kept = self.stem(2 * x - 1), []
        for fine, down in zip(self.fine, self.down, strict=True):
            x = fine(x)
            kept.append(x)
            x = down(x)
        x = self.coarse(x)
        for fine, up, merge in reversed(list(zip(kept, self.up, self.merge, strict=True))):
            x = merge(fine + functional.interpolate(up(x), scale_factor=2, mode="nearest"))
        return self.head(x)


class Bottleneck(nn.Module):
    """Residual block `(N, C, H, W)` → the same: 1×1 to half the channels, 3×3, 1×1 back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.reduce = _convolution(width, inner, 1)
        self.look = _convolution(inner, inner, 3)
        self.expand = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(self.look(self.reduce(x)))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Bottleneck(width) for _ in range(count)))


def _convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.SiLU(),
    )
