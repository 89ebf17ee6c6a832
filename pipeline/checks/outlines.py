"""Do moving outlines carry the right derivative? A renderer against supersampled pictures of its own.

Next to an outline a picture changes because the outline sweeps over pixels, and a derivative of shading alone
knows nothing of it. The reference needs no derivative: central differences of pictures, half a pixel ahead
and half a pixel behind, averaged over positions within a pixel along the motion (outlines that run along the
motion do not move). The renderer's own derivative is averaged over such positions, too.

What is compared is the gradient of Σ w (I − T)², where T is the picture four pixels on along the motion, and
w weighs the picture's regions differently: what a fit would follow.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.derivatives.automatic import jvp
from pipeline.layer import Layer
from pipeline.render.camera import Camera

AHEAD_PX = 4.0
STEP_PX = 0.5
POSITIONS = 6  # of the reference within a pixel: twice as many change it by 0.2 %
SLOPES = 4


def outline_error(renderer: Layer, vertices: Tensor, motion: Tensor) -> float:
    """Relative error of a renderer's derivative along a motion.

    Args:
        renderer: `(V, 3)` → `(H, W, 3)`.
        vertices: `(V, 3)`.
        motion: `(V, 3)`; a unit of it is about a pixel.
    """
    with torch.no_grad():
        here, there = renderer(vertices), renderer(vertices + AHEAD_PX * motion)
    pull = _regions(here) * (here - there)
    expected = found = 0.0
    for t in _middles(POSITIONS):
        with torch.no_grad():
            ahead = renderer(vertices + (t + STEP_PX) * motion)
            behind = renderer(vertices + (t - STEP_PX) * motion)
        expected += float((pull * (ahead - behind)).double().sum()) / (2 * STEP_PX) / POSITIONS
    for t in _middles(SLOPES):
        slope = jvp(renderer, vertices + t * motion, motion)[1]
        found += float((pull * slope).double().sum()) / SLOPES
    return abs(found - expected) / abs(expected) if expected else abs(found)


def motions(renderer: Layer, vertices: Tensor) -> dict[str, Tensor]:
    """Motions of a whole mesh `(V, 3)` by about a pixel: to the side, up, and nearer (larger).

    A pixel is measured by the renderer's `camera`, if it has one; else the mesh is taken to fill the view.
    """
    middle = vertices.mean(0)
    side, up = torch.eye(3, dtype=vertices.dtype, device=vertices.device)[:2]
    plain = {
        "to the side": side.expand_as(vertices),
        "up": up.expand_as(vertices),
        "larger": vertices - middle,
    }
    camera = getattr(renderer, "camera", None)
    if isinstance(camera, Camera):
        return {name: motion / _fastest(camera, vertices, motion) for name, motion in plain.items()}
    with torch.no_grad():
        width = renderer(vertices).shape[-2]
    pixel = float((vertices - middle)[:, :2].abs().max()) * 2 / width
    return {name: motion * (pixel / float(motion.norm(dim=-1).max())) for name, motion in plain.items()}


def _fastest(camera: Camera, vertices: Tensor, motion: Tensor) -> float:
    """Pixels by which a unit of the motion moves the vertex that moves most."""
    return float(torch.func.jvp(camera.project, (vertices,), (motion,))[1].norm(dim=-1).max())


def _middles(count: int) -> list[float]:
    """Of `count` intervals of [−½, ½]."""
    return [(i + 0.5) / count - 0.5 for i in range(count)]


def _regions(picture: Tensor) -> Tensor:
    """Smooth weights `(H, W, 1)` around 1, the same on every machine."""
    coarse = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    size = list(picture.shape[:2])
    fine = functional.interpolate(0.25 + 1.5 * coarse, size, mode="bicubic", align_corners=True)
    return fine[0, 0, :, :, None].to(picture)
