"""Numbers on the mesh, as seen by the camera: the head in grey clay, coloured where a number is large."""

import numpy as np
import torch

from pipeline.inspection.colours import HEAT, PAPER, Pixels
from pipeline.inspection.findings import View
from pipeline.render.camera import Camera
from pipeline.render.rasterize import rasterize
from pipeline.render.surface import Surface

FINE = 2  # samples along each side of a pixel
LIGHT = (0.35, 0.55, 0.76)  # towards the light: from the upper right, beside the camera
AMBIENT = 0.72  # little shading: what is bright is what is large


class Stage:
    """The mesh of a view, rasterized once, to be coloured many times.

    Args:
        view: its mesh and its camera.
        side: pixels of the pictures' longer side.
    """

    def __init__(self, view: View, side: int) -> None:
        self.scale = side / max(view.camera.size)
        height, width = (round(length * self.scale) for length in view.camera.size)
        self.size = height, width
        vertices = view.vertices.detach().cpu().float()
        triangles = view.triangles.cpu()
        camera = view.camera
        larger = Camera(
            camera.focal_px.detach().cpu().float(),
            camera.principal_point_px.detach().cpu().float(),
            camera.view.detach().cpu().float() * (self.scale * FINE),
            (height * FINE, width * FINE),
        )
        homogeneous = larger.homogeneous(vertices)
        clip = larger.clip(vertices)
        self._fragments = rasterize(homogeneous[None], clip[None], triangles, larger.size)
        self.coverage = self._averaged(torch.ones(len(self._fragments.pixel)))
        normal = self._fragments.interpolate(Surface(triangles).normals(vertices)[None])
        facing = normal @ torch.nn.functional.normalize(torch.tensor(LIGHT), dim=0)
        lit = AMBIENT + (1 - AMBIENT) * facing / normal.norm(dim=-1).clamp(min=1e-9)
        self._shade = (self._averaged(lit) / np.maximum(self.coverage, 1e-6))[..., None]

    def draw(self, values: torch.Tensor, most: float) -> Pixels:
        """The mesh with `(V,)` values from 0 to `most` in colour: `(h, w, 3)` uint8."""
        of_fragments = self._fragments.interpolate(values.detach().cpu().float()[None, :, None])[:, 0]
        level = self._averaged(of_fragments) / np.maximum(self.coverage, 1e-6)
        share = np.clip(level / most, 0, 1) if most > 0 else np.zeros_like(level)
        colour = HEAT[(share * 255).round().astype(np.uint8)] * self._shade
        picture = PAPER + self.coverage[..., None] * (colour - PAPER)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _averaged(self, of_fragments: torch.Tensor) -> Pixels:
        """`(P,)` of the samples → `(h, w)` of the pixels, 0 where nothing is seen."""
        height, width = self.size
        samples = torch.zeros(height * FINE * width * FINE)
        samples[self._fragments.pixel] = of_fragments
        fine = samples.view(height, FINE, width, FINE)
        corners = [fine[:, i, :, j] for i in range(FINE) for j in range(FINE)]
        return (torch.stack(corners).sum(0) / len(corners)).numpy()
