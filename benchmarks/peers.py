"""The same scene through every renderer at hand: functions from vertices to a differentiable picture."""

import numpy as np
import torch
from gradient_error import Render
from scenes import SIZE, Scene
from torch import Tensor

from pipeline.render.camera import clip_from_pixels
from pipeline.render.composite import composite
from pipeline.render.rasterize import rasterize


def ours(scene: Scene, samples: int, dtype: torch.dtype = torch.float32, outlines: bool = True) -> Render:
    """The steps of `Renderer` on vertex colours."""
    camera = scene.camera
    colors, background = scene.colors[None].to(dtype), scene.background.to(dtype)
    focal, middle = camera.focal_px.to(dtype), camera.principal_point_px.to(dtype)
    camera = type(camera)(focal, middle, size=camera.size)
    scale = torch.tensor([samples, samples, 1], dtype=dtype)
    size = (SIZE * samples, SIZE * samples)

    def render(vertices: Tensor) -> Tensor:
        homogeneous = camera.homogeneous(vertices.to(dtype))[None] * scale
        clip = clip_from_pixels(homogeneous.detach(), size)
        fragments = rasterize(homogeneous, clip, scene.triangles, size)
        color = fragments.interpolate(colors)
        parts = scene.part_of_triangle
        return composite(fragments, homogeneous, parts, color, background, samples, outlines)[0]

    return render


def deodr(scene: Scene, samples: int) -> Render:
    """DEODR's `Scene3D` (Delaunoy and Prados): silhouettes antialiased with sigma 1, float64.

    At `samples` > 1 it draws the larger picture, which is averaged.
    """
    from deodr import ColoredTriMesh  # pyright: ignore[reportMissingImports]
    from deodr.differentiable_renderer import Camera, Scene3D  # pyright: ignore[reportMissingImports]

    focal = scene.camera.focal_px.item() * samples
    middle = SIZE * samples / 2 - 0.5  # its pixels' centres are integers
    intrinsic = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    extrinsic = np.diag([1.0, -1, -1, 1])[:3]
    camera = Camera(extrinsic, intrinsic, SIZE * samples, SIZE * samples)
    mesh = ColoredTriMesh(
        scene.triangles.numpy().astype(np.uint32), scene.vertices.numpy(), colors=scene.colors.numpy()
    )
    scene3d = Scene3D(sigma=1)
    scene3d.set_mesh(mesh)
    scene3d.set_light(light_directional=None, light_ambient=1.0)  # pyright: ignore
    scene3d.set_background_color(scene.background.numpy())

    class Picture(torch.autograd.Function):
        @staticmethod
        def forward(ctx, vertices: Tensor) -> Tensor:
            mesh.set_vertices(vertices.detach().numpy())
            return torch.from_numpy(scene3d.render(camera))

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            scene3d.clear_gradients()
            scene3d.render_backward(gradient.contiguous().numpy())
            return torch.from_numpy(mesh._vertices_b)

    def render(vertices: Tensor) -> Tensor:
        fine = Picture.apply(vertices)
        return fine.view(SIZE, samples, SIZE, samples, 3).mean((1, 3))

    return render
