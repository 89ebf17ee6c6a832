"""A layer's derivative at one point, as a linear map that is applied to many tangents.

A JVP of every tangent computes again, for each of them, what all share: the layer's value and the derivatives
of its elementary operations. A layer that can keep those has a rule:

    @linearization(MyLayer)
    def _(layer: MyLayer, x: Tensor) -> LinearMap: ...

A rule holds for its class only, not for subclasses, which may compute something else. `automatic.push` needs
no rule and is the reference.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.derivatives import automatic
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.network_derivative import NetworkDerivative
from pipeline.layer import Layer
from pipeline.render.picture_derivative import PictureDerivative
from pipeline.render.renderer import Renderer

# Tangents (n, *B, *input) → (n, *B, *output).
LinearMap = Callable[[Tensor], Tensor]
Rule = Callable[[Any, Tensor], LinearMap]
_rules: dict[type[Layer], Rule] = {}


def linearization(kind: type[Layer]) -> Callable[[Rule], Rule]:
    """Registers a rule for layers of exactly this class."""

    def register(rule: Rule) -> Rule:
        _rules[kind] = rule
        return rule

    return register


def has_linearization(layer: Layer) -> bool:
    """Whether there is a rule for it."""
    return type(layer) in _rules


@torch.no_grad()
def linearize(layer: Layer, x: Tensor) -> LinearMap:
    """d → J d at x `(*B, *input)`, for n tangents at once: memory grows with n."""
    rule = _rules.get(type(layer))
    if rule is not None:
        return rule(layer, x)
    return lambda tangents: automatic.push(layer, x, tangents, len(tangents))


def push_columns(
    layer: Layer, x: Tensor, tangents: Tensor, chunk: int, on_done: Callable[[int], None] | None = None
) -> Tensor:
    """J d for n tangents `(n, *B, *input)` → `(n, *B, *output)`, `chunk` of them at a time.

    Args:
        on_done: called with how many are done, after every chunk.
    """
    linear = linearize(layer, x)
    results: list[Tensor] = []
    for some in tangents.split(chunk):
        results.append(linear(some))
        if on_done is not None:
            on_done(min(len(results) * chunk, len(tangents)))
    return torch.cat(results)


@linearization(Renderer)
def _(layer: Renderer, x: Tensor) -> LinearMap:
    return PictureDerivative(layer, x).push


@linearization(FaceMesh)
def _(layer: FaceMesh, x: Tensor) -> LinearMap:
    return NetworkDerivative(layer, x).push
