"""The derivative of the landmarks by the pixels, as a network of its own: the same one without its kinks.

At a point, a rectifier only multiplies and a pool only selects. With those factors and choices kept, tangents
pass through the convolutions like pictures, several at a time, and nothing is computed twice.
"""

from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.detect.facemesh import LANDMARKS, Bottleneck, Downsample, FaceMesh
from pipeline.detect.rectifier import Rectifier

# Tangents (n, C, H, W), which it may write over → (n, C', H', W').
Push = Callable[[Tensor], Tensor]
AT_ONCE = 4  # tangents: what more of them leave behind does not stay in a processor's cache


class NetworkDerivative:
    """∂X4/∂X3 of the detector at pixels `(*B, 256, 256, 3)`, with the smoothing that it is set to."""

    @torch.no_grad()
    def __init__(self, network: FaceMesh, x: Tensor) -> None:
        pictures = x.reshape(-1, 1, *x.shape[-3:])
        self.pushes = [_all_of(network, picture) for picture in pictures]

    @torch.no_grad()
    def push(self, tangents: Tensor) -> Tensor:
        """Motions `(n, *B, 478, 3)` of the landmarks for changes `(n, *B, 256, 256, 3)` of the pixels."""
        outer = tangents.shape[:-3]
        of_pictures = tangents.reshape(len(tangents), -1, *tangents.shape[-3:]).unbind(1)
        moved = [
            torch.cat([push(some) for some in changes.split(AT_ONCE)])
            for push, changes in zip(self.pushes, of_pictures, strict=True)
        ]
        return torch.stack(moved, 1).reshape(*outer, LANDMARKS, 3)


def _all_of(network: FaceMesh, picture: Tensor) -> Push:
    """Changes `(n, 256, 256, 3)` → motions `(n, 478 · 3)`."""
    y = network.planes(picture)
    pushes: list[Push] = []
    for module in (network.stem, network.stem_act, network.trunk, network.landmark_head):
        y, push = _linearized(module, y)
        pushes.append(push)
    through = _one_after_another(pushes)
    return lambda changes: through(network.planes(changes)).flatten(1)


@singledispatch
def _linearized(module: nn.Module, x: Tensor) -> tuple[Tensor, Push]:
    """The module's value, and its derivative there, for one picture x `(1, C, H, W)`."""
    raise TypeError(f"Nobody has written down the derivative of {type(module).__name__}.")


@_linearized.register
def _(module: nn.Conv2d, x: Tensor) -> tuple[Tensor, Push]:
    def push(d: Tensor) -> Tensor:
        return F.conv2d(d, module.weight, None, module.stride, module.padding, module.dilation, module.groups)

    return module(x), push


@_linearized.register
def _(module: Rectifier, x: Tensor) -> tuple[Tensor, Push]:
    slope = module.derivative(x)
    return module(x), lambda d: d.mul_(slope)


@_linearized.register
def _(module: nn.Sequential, x: Tensor) -> tuple[Tensor, Push]:
    pushes: list[Push] = []
    for one in module:
        x, push = _linearized(one, x)
        pushes.append(push)
    return x, _one_after_another(pushes)


@_linearized.register
def _(module: Bottleneck, x: Tensor) -> tuple[Tensor, Push]:
    y, branch = _branch(module, x)
    y, act = _linearized(module.act, x + y)
    return y, lambda d: act(branch(d).add_(d))


@_linearized.register
def _(module: Downsample, x: Tensor) -> tuple[Tensor, Push]:
    y, branch = _branch(module, x)
    largest, select = _pool(x)
    y, act = _linearized(module.act, y + F.pad(largest, (0, 0, 0, 0, 0, module.missing)))

    def push(d: Tensor) -> Tensor:
        out = branch(d)
        out[:, : d.shape[1]] += select(d)  # the shortcut has fewer channels where the width grows
        return act(out)

    return y, push


def _branch(module: Bottleneck | Downsample, x: Tensor) -> tuple[Tensor, Push]:
    """What is added to the shortcut of a residual block; writes over nothing."""
    return _linearized(nn.Sequential(module.reduce, module.reduce_act, module.depthwise, module.expand), x)


def _pool(x: Tensor) -> tuple[Tensor, Push]:
    """The largest of 2 × 2."""
    y, places = F.max_pool2d(x, 2, return_indices=True)  # places in the plane of a channel
    channels = x.shape[1]
    index = (places[0] * channels + torch.arange(channels, device=x.device)[:, None, None]).permute(1, 2, 0)

    def select(d: Tensor) -> Tensor:
        chosen = d.permute(0, 2, 3, 1).flatten(1).index_select(1, index.flatten())  # channels last: no copy
        return chosen.view(-1, *index.shape).permute(0, 3, 1, 2)

    return y, select


def _one_after_another(pushes: list[Push]) -> Push:
    def push(d: Tensor) -> Tensor:
        for one in pushes:
            d = one(d)
        return d

    return push
