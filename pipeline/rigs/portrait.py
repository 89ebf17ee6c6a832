"""Small pictures of rigs from the front, whatever the rig."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.outputs.sheet import sheet
from pipeline.render.camera import Camera
from pipeline.render.material import Material
from pipeline.rigs.texture import texture_of

FRAME_M, DISTANCE_M, RAISED_M = (
    0.27,
    1.5,
    0.03,
)  # a head's height, the camera's distance, the eyes above the middle


@torch.no_grad()
def drawn(rig: Rig, meshes: Tensor, size: int) -> Iterator[Image.Image]:
    """Pictures (size × size) of meshes (N, V, 3) in the rig's frame."""
    focal = torch.tensor(DISTANCE_M * size / FRAME_M)
    camera = Camera(focal, torch.full((2,), size / 2), size=(size, size))
    renderer = build_renderer(rig, camera, Material(texture_of(rig)()))
    for mesh in meshes:
        with torch.no_grad():
            rgb = renderer(mesh + mesh.new_tensor([0.0, RAISED_M, -DISTANCE_M]))
        yield Image.fromarray((rgb.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


@torch.no_grad()
def portraits(heads: Sequence[tuple[str, Rig, Mapping[str, float]]], size: int = 384) -> Image.Image:
    """Rigs side by side, each with its title and its controls; turned as they say, but in the middle."""
    cells = []
    for title, rig, values in heads:
        x = rig.controls.pack({name: value for name, value in values.items() if "Translation" not in name})
        cells.append((title, next(drawn(rig, Deformer(rig)(x)[None], size))))
    return sheet(cells, columns=len(cells))
