"""Draws docs/pictures/skinning.png: a tube twisted by 170°, skinned linearly and by dual quaternions.

python scripts/draw_skinning.py
"""

import argparse
import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from pipeline.deform.deform import SKINNING
from pipeline.deform.skinning import joint_transforms, rotation_matrix
from pipeline.outputs.sheet import sheet
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

SIZE = (240, 480)
SKIN = torch.tensor([[[0.43, 0.235, 0.15, 0.5]]])
RADIUS, HALF_LENGTH = 0.25, 1.0


def tube(rings: int = 41, around: int = 32) -> tuple[Tensor, Tensor]:
    """Vertices (V, 3) float64 and outward triangles (F, 3) of a closed tube from x = −1 to 1."""
    x = torch.linspace(-HALF_LENGTH, HALF_LENGTH, rings, dtype=torch.float64)
    angle = torch.arange(around, dtype=torch.float64) * (2 * math.pi / around)
    ring = RADIUS * torch.stack([angle.cos(), angle.sin()], -1)  # [A, 2]
    body = torch.cat([x[:, None, None].expand(-1, around, 1), ring.expand(rings, -1, -1)], -1).flatten(0, 1)
    ends = torch.tensor([[-HALF_LENGTH, 0, 0], [HALF_LENGTH, 0, 0]], dtype=torch.float64)
    triangles = []
    for r in range(rings - 1):
        for a in range(around):
            p, q = r * around + a, r * around + (a + 1) % around
            triangles += [[p, q, q + around], [p, q + around, p + around]]
    first, last = len(body), len(body) + 1
    for a in range(around):
        b = (a + 1) % around
        triangles += [[first, b, a], [last, (rings - 1) * around + a, (rings - 1) * around + b]]
    index = torch.tensor(triangles)
    return torch.cat([body, ends]), index if volume(torch.cat([body, ends]), index) > 0 else index.flip(-1)


def volume(vertices: Tensor, triangles: Tensor) -> float:
    """By the divergence theorem."""
    a, b, c = vertices[triangles].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def twisted(vertices: Tensor, kind: str, angle: float, steps: int = 1) -> Tensor:
    """The right half turned about the tube's axis, in one joint or shared out over a chain of `steps`."""
    share = ((vertices[:, 0] + 0.5) / 1.0).clamp(0, 1)  # of the way from the left half to the right
    at = torch.arange(steps + 1) / steps
    weights = (1 - steps * (share[:, None] - at).abs()).clamp(min=0)
    turns = torch.zeros(steps + 1, 3, dtype=vertices.dtype)
    turns[1:, 0] = angle / steps
    joints = torch.zeros(steps + 1, 3, dtype=vertices.dtype)
    parents = [-1, *range(steps)]
    transforms = joint_transforms(rotation_matrix(turns), joints, parents)
    return SKINNING[kind](vertices, weights, *transforms)


def picture(vertices: Tensor, triangles: Tensor) -> Image.Image:
    """Seen from the side, 6 m away."""
    camera = Camera(torch.tensor(1300.0), torch.tensor([SIZE[1] / 2, SIZE[0] / 2]), size=SIZE)
    stripes = Surface(triangles)
    renderer = Renderer(stripes, Material(SKIN), camera, Light.default(), background=torch.full((3,), 0.9))
    rgb = renderer(vertices.float() + torch.tensor([0.0, 0.0, -6.0]))
    return Image.fromarray((rgb.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/skinning.png"))
    file: Path = parser.parse_args().out
    vertices, triangles = tube(rings=81, around=48)
    whole = volume(vertices, triangles)
    cells = [("at rest: 100 % of the volume", picture(vertices, triangles))]
    for kind in SKINNING:
        turned = twisted(vertices, kind, math.radians(170))
        share = 100 * volume(turned, triangles) / whole
        print(f"{kind}: {share:.1f} % of the volume")
        cells.append((f"{kind}: {share:.0f} %", picture(turned, triangles)))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet(cells, columns=3).save(file, optimize=True)


if __name__ == "__main__":
    main()
