"""Do moving outlines carry the right derivative? A renderer against a supersampled picture of its own.

Next to an outline a picture changes because the outline sweeps over pixels, and a derivative of shading alone
knows nothing of it. The reference needs no derivative: the mesh is drawn at several positions within a pixel
(a Fibonacci lattice of shifts of the view), a little ahead and a little behind along the motion, and the
pictures are averaged. The renderer's own derivative is averaged over some of the same positions.

What is compared is the gradient of Σ w (I − T)², where T is the picture four pixels on along the motion, and
w weighs the picture's regions differently: what a fit would follow. A unit of a motion moves the vertex that
moves most by a pixel.
"""

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.derivatives.automatic import jvp
from pipeline.layer import Layer
from pipeline.render.camera import Camera

AHEAD_PX = 4.0
STEP_PX = 0.5
POSITIONS = 8  # within a pixel; Fibonacci numbers
DERIVATIVES = 3


def outline_error(
    renderer: Layer,
    vertices: Tensor,
    motion: Tensor,
    positions: int = POSITIONS,
    derivatives: int = DERIVATIVES,
    on_picture: Callable[[], None] = lambda: None,
) -> float:
    """Relative error of a renderer's derivative along a motion, against its supersampled picture.

    Args:
        renderer: `(V, 3)` → `(H, W, 3)`, with a `camera` (`pipeline.render.camera.Camera`).
        vertices: `(V, 3)` in camera space.
        motion: `(V, 3)` direction.
        positions: pictures on either side; a Fibonacci number.
        derivatives: positions at which the derivative is taken.
        on_picture: called after every picture.
    """
    camera = renderer.camera
    assert isinstance(camera, Camera)
    motion = motion / _fastest(camera, vertices, motion)
    with torch.no_grad():
        here, there = renderer(vertices), renderer(vertices + AHEAD_PX * motion)
    pull = _regions(here) * (here - there)
    expected = found = 0.0
    for shift in lattice(positions):
        twin = _shifted(renderer, shift)
        with torch.no_grad():
            ahead, behind = twin(vertices + STEP_PX * motion), twin(vertices - STEP_PX * motion)
        expected += float((pull * (ahead - behind)).double().sum()) / (2 * STEP_PX) / positions
        on_picture()
    for shift in lattice(derivatives):
        slope = jvp(_shifted(renderer, shift), vertices, motion)[1]
        found += float((pull * slope).double().sum()) / derivatives
        on_picture()
    return abs(found - expected) / abs(expected) if expected else abs(found)


def lattice(count: int) -> list[tuple[float, float]]:
    """`count` (a Fibonacci number) places in [−½, ½]², no two in one row or column."""
    other = round(count / 1.618033988749895)
    return [((i + 0.5) / count - 0.5, (i * other % count + 0.5) / count - 0.5) for i in range(count)]


def _shifted(renderer: Layer, shift: tuple[float, float]) -> Layer:
    """The renderer, its view moved by a part of a pixel."""
    twin = copy.copy(renderer)
    twin._modules = dict(renderer._modules)
    camera = cast(Camera, copy.deepcopy(renderer.camera))
    camera.view = torch.cat([camera.view[..., :2], camera.view[..., 2:] + _column(camera.view, shift)], -1)
    twin._modules["camera"] = camera
    return twin


def _column(like: Tensor, values: tuple[float, float]) -> Tensor:
    return like.new_tensor(values)[:, None]


def _fastest(camera: Camera, vertices: Tensor, motion: Tensor) -> float:
    """Pixels a unit of the motion moves the vertex that moves most."""
    return float(torch.func.jvp(camera.project, (vertices,), (motion,))[1].norm(dim=-1).max())


def _regions(picture: Tensor) -> Tensor:
    """Smooth weights `(H, W, 1)`, between a quarter and seven, the same on every machine."""
    coarse = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fine = functional.interpolate(
        0.25 + 1.5 * coarse, list(picture.shape[:2]), mode="bicubic", align_corners=True
    )
    return fine[0, 0, :, :, None].to(picture)
