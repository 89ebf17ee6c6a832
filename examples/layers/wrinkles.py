"""Wrinkles: a layer between deform and render that folds the skin where an expression squeezes it.

chainrig check-gradients --layer examples.layers.wrinkles:Wrinkles
"""

import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.derivatives.smoothing import rectifier
from pipeline.layer import Layer
from pipeline.render.surface import Surface


class Wrinkles(Layer):
    """X2 → X2: vertices `(*B, V, 3)` move along their normals by waves, as far as their edges are shortened.

    Args:
        depth: of the folds where edges lose all of their length, metres.
        waves: folds a metre.
    """

    name = "wrinkle"
    input_axes = ("vertex", "xyz")
    output_axes = ("vertex", "xyz")
    edges: Tensor
    length: Tensor
    number: Tensor
    fold: Tensor

    def __init__(self, rig: Rig | None = None, depth: float = 0.003, waves: float = 150.0) -> None:
        super().__init__()
        rig = rig or Rig.load()
        self.surface, self.depth = Surface(rig.triangles), depth
        start, end = rig.triangles, rig.triangles.roll(1, -1)
        edges = torch.stack([start, end], -1).flatten(0, 1)  # [3F, 2]
        self.register_buffer("edges", edges)
        self.register_buffer("length", self.lengths(rig.rest))
        self.register_buffer("number", torch.bincount(edges[:, 0], minlength=len(rig.rest)).clamp(min=1))
        self.register_buffer("fold", (2 * torch.pi * waves * rig.rest[:, 1]).sin())

    def lengths(self, vertices: Tensor) -> Tensor:
        a, b = (vertices.index_select(-2, end) for end in self.edges.unbind(-1))
        return (a - b).square().sum(-1).clamp(min=1e-12).sqrt()

    def forward(self, vertices: Tensor) -> Tensor:
        shorter = rectifier(1 - self.lengths(vertices) / self.length, width=0.02)  # smooth: no kink
        zero = torch.zeros_like(vertices[..., 0])
        squeezed = zero.index_add(-1, self.edges[:, 0], shorter) / self.number
        height = self.depth * squeezed * self.fold
        return vertices + height[..., None] * self.surface.normals(vertices)
