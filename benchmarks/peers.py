"""The same scene through every renderer at hand: functions from vertices to a differentiable picture."""

import copy
import math

import numpy as np
import torch
from gradient_error import Render
from renderer_scenes import SIZE, Scene
from torch import Tensor
from torch.nn import functional

from pipeline.chain import build_renderer
from pipeline.deform.rig import Rig
from pipeline.render import fused, srgb
from pipeline.render.camera import clip_from_pixels
from pipeline.render.composite import composite
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.render.rasterize import rasterize
from pipeline.render.surface import Surface


def plain(render: Render) -> Render:
    """ChainRig's plain path: the same functions without their fused twins."""

    def picture(vertices: Tensor) -> Tensor:
        with fused.plain():
            return render(vertices)

    return picture


def ours(scene: Scene, samples: int, dtype: torch.dtype = torch.float32) -> Render:
    """The steps of `Renderer` on vertex colours."""
    camera = copy.deepcopy(scene.camera).to(dtype)
    colors, background = scene.colors[None].to(dtype), scene.background.to(dtype)
    scale = torch.tensor([samples, samples, 1], dtype=dtype)
    surface = Surface(scene.triangles, part_of_triangle=scene.part_of_triangle)
    size = (SIZE * samples, SIZE * samples)

    def render(vertices: Tensor) -> Tensor:
        homogeneous = camera.homogeneous(vertices.to(dtype))[None] * scale
        clip = clip_from_pixels(homogeneous.detach(), size)
        fragments = rasterize(homogeneous, clip, scene.triangles, size)
        color = fragments.interpolate(colors)
        return composite(fragments, homogeneous, surface, color, background, samples)[0]

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
            return torch.from_numpy(_shrink(scene3d.render(camera), samples))

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            scene3d.clear_gradients()
            scene3d.render_backward(_spread(gradient.numpy(), samples))
            return torch.from_numpy(mesh._vertices_b)

    return Picture.apply


def nvdiffrast(scene: Scene, samples: int) -> Render:
    """nvdiffrast's rasterize, interpolate and antialias on CUDA, then brought to the CPU. Not run yet."""
    import nvdiffrast.torch as dr  # pyright: ignore[reportMissingImports]

    from pipeline.render.backends.nvdiffrast import context

    device = torch.device("cuda")
    triangles, colors = scene.triangles.int().cuda(), scene.colors.float().cuda()
    background, size = scene.background.float().cuda(), [SIZE * samples] * 2
    flip = torch.tensor([1.0, -1, 1, 1], device=device)  # its row 0 is the bottom one

    def render(vertices: Tensor) -> Tensor:
        clip = clip_from_pixels(scene.camera.homogeneous(vertices), (SIZE, SIZE)).float().cuda()[None] * flip
        seen, _ = dr.rasterize(context(device), clip, triangles, size)
        color, _ = dr.interpolate(colors[None], seen, triangles)
        color = torch.where(seen[..., 3:] > 0, color, background)
        picture = dr.antialias(color.contiguous(), seen, clip, triangles)
        return functional.avg_pool2d(picture[0].movedim(-1, 0), samples).movedim(0, -1).cpu()

    return render


def pytorch3d(scene: Scene, samples: int) -> Render:
    """pytorch3d's soft rasterizer, the only one of its two with derivatives of outlines, on the CPU.

    The blur is its default's tenth (half a pixel): the default smears triangles of two pixels. Not run yet.
    """
    from pytorch3d.ops import interpolate_face_attributes  # pyright: ignore[reportMissingImports]
    from pytorch3d.renderer.blending import (  # pyright: ignore[reportMissingImports]
        BlendParams,
        softmax_rgb_blend,
    )
    from pytorch3d.renderer.mesh.rasterize_meshes import (  # pyright: ignore[reportMissingImports]
        rasterize_meshes,
    )
    from pytorch3d.renderer.mesh.rasterizer import Fragments  # pyright: ignore[reportMissingImports]
    from pytorch3d.structures import Meshes  # pyright: ignore[reportMissingImports]

    colors = scene.colors.float()[scene.triangles]  # [F, 3, 3]
    params = BlendParams(sigma=1e-5, gamma=1e-4, background_color=scene.background.float().tolist())

    def render(vertices: Tensor) -> Tensor:
        homogeneous = scene.camera.homogeneous(vertices).float()
        screen = 1 - homogeneous[:, :2] / homogeneous[:, 2:] * (2 / SIZE)  # x to the left, y up
        mesh = Meshes(torch.cat([screen, homogeneous[:, 2:]], -1)[None], scene.triangles[None])
        radius = math.log(1 / 1e-4 - 1) * params.sigma
        found = rasterize_meshes(
            mesh,
            SIZE * samples,
            blur_radius=radius,
            faces_per_pixel=8,
            perspective_correct=True,
            clip_barycentric_coords=True,
        )
        seen = Fragments(*found)
        color = interpolate_face_attributes(seen.pix_to_face, seen.bary_coords, colors)
        depths = homogeneous[:, 2].detach()
        picture = softmax_rgb_blend(
            color, seen, params, znear=depths.min().item() - 0.01, zfar=depths.max().item() + 0.01
        )
        return functional.avg_pool2d(picture[0, ..., :3].movedim(-1, 0), samples).movedim(0, -1)

    return render


def ours_textured(scene: Scene, samples: int) -> Render:
    """The chain's renderer on the default head: trilinear texture, normals and light at each sample, sRGB."""
    material = Material(HeadTexture.load()())
    camera = copy.deepcopy(scene.camera)
    render = build_renderer(Rig.load(), camera, material, samples=samples).float()

    def picture(vertices: Tensor) -> Tensor:
        return render(vertices.float())

    return picture


def deodr_textured(scene: Scene, samples: int) -> Render:
    """DEODR's `Scene2D` on the default head: bilinear texture of the picture's size, light at vertices.

    Its `Scene3D` has no derivatives of textured scenes, so the projection and the light are torch's.
    """
    from deodr.differentiable_renderer import Scene2D  # pyright: ignore[reportMissingImports]
    from deodr.triangulated_mesh import TriMesh  # pyright: ignore[reportMissingImports]

    rig = Rig.load()
    surface = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle)
    texture = srgb.encode(HeadTexture.load()()[..., :3])
    while texture.shape[0] > SIZE * samples:  # a texel is about a pixel, as in a mipmap
        texture = functional.avg_pool2d(texture.movedim(-1, 0), 2).movedim(0, -1)
    texels = texture.new_tensor([texture.shape[1], texture.shape[0]])
    uv = torch.stack([rig.uv[:, 0], 1 - rig.uv[:, 1]], -1) * texels - 0.5
    mesh = TriMesh(rig.triangles.numpy().astype(np.uint32), scene.vertices.numpy())
    every = np.ones(len(rig.triangles), dtype=bool)
    scene2d = Scene2D(
        faces=rig.triangles.numpy().astype(np.uint32),
        faces_uv=rig.uv_triangles.numpy().astype(np.uint32),
        ij=np.zeros((len(scene.vertices), 2)),
        depths=np.zeros(len(scene.vertices)),
        textured=every,
        uv=uv.double().numpy(),
        shade=np.zeros(len(scene.vertices)),
        colors=np.zeros((len(scene.vertices), 3)),
        shaded=every,
        edgeflags=np.zeros((len(rig.triangles), 3), dtype=bool),
        height=SIZE * samples,
        width=SIZE * samples,
        nb_colors=3,
        backface_culling=True,
        texture=texture.double().numpy(),
        background_color=scene.background.numpy(),
    )

    class Picture(torch.autograd.Function):
        @staticmethod
        def forward(ctx, ij: Tensor, depths: Tensor, shade: Tensor) -> Tensor:
            scene2d.ij, scene2d.depths, scene2d.shade = (x.detach().numpy() for x in (ij, depths, shade))
            scene2d.edgeflags = mesh.edge_on_silhouette(scene2d.ij)
            return torch.from_numpy(_shrink(scene2d.render(sigma=1)[0], samples))

        @staticmethod
        def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
            scene2d.clear_gradients()
            scene2d.render_backward(_spread(gradient.numpy(), samples))
            return torch.from_numpy(scene2d.ij_b), None, torch.from_numpy(scene2d.shade_b)

    def render(vertices: Tensor) -> Tensor:
        homogeneous = scene.camera.homogeneous(vertices)
        ij = homogeneous[:, :2] / homogeneous[:, 2:] * samples - 0.5
        shade = 0.3 + 0.7 * surface.normals(vertices)[:, 2].clamp(min=0)
        return Picture.apply(ij, homogeneous[:, 2], shade)

    return render


def _shrink(picture: np.ndarray, samples: int) -> np.ndarray:
    """The means of samples × samples blocks."""
    parts = [picture[i::samples, j::samples] for i in range(samples) for j in range(samples)]
    return sum(parts[1:], parts[0]) / samples**2


def _spread(gradient: np.ndarray, samples: int) -> np.ndarray:
    """The derivative of `_shrink`."""
    return np.ascontiguousarray((gradient / samples**2).repeat(samples, 0).repeat(samples, 1))
