"""Mitsuba's own differentiable renderer on the scenes of `renderer_scenes.py`: a peer to measure against.

Colours are emitted by the surface, so nothing but visibility is left to compute. `direct_projective` samples
the outlines seen by the camera (Zhang, Roussel and Jakob, "Projective sampling for differentiable rendering
of geometry", 2023); outlines in shadows and reflections are turned off, there are none here.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from renderer_scenes import Scene
from torch import Tensor

from pipeline.render.raycast import load_mitsuba


def renderer(scene: Scene, samples: int = 4) -> Callable[[Tensor], Tensor]:
    """A function from `(V, 3)` vertices to the `(H, W, 3)` picture, linear, that differentiates in reverse
    mode.

    Args:
        samples: per pixel, of the picture and of the derivatives inside surfaces and along outlines.

    Raises:
        ChainRigError: Mitsuba or its LLVM library is missing.
    """
    mi: Any = load_mitsuba("cpu")
    import drjit as dr

    height, width = scene.camera.size
    mesh = mi.Mesh("mesh", len(scene.vertices), len(scene.triangles), props=_glowing(mi))
    mesh.add_attribute("vertex_color", 3, scene.colors.float().flatten().tolist())
    values = mi.traverse(mesh)
    values["faces"] = mi.UInt32(scene.triangles.to(torch.int32).flatten().contiguous())
    values["vertex_positions"] = mi.Float(scene.vertices.float().flatten().contiguous())
    values.update()
    world = mi.load_dict(
        {
            "type": "scene",
            "mesh": mesh,
            "around": {"type": "constant", "radiance": {"type": "rgb", "value": scene.background.tolist()}},
            "sensor": {
                "type": "perspective",
                "fov_axis": "x",
                "fov": 2 * math.degrees(math.atan(width / 2 / scene.camera.focal_px.item())),
                "to_world": mi.ScalarTransform4f().look_at([0, 0, 0], [0, 0, -1], [0, 1, 0]),
                "near_clip": 0.01,
                "film": {
                    "type": "hdrfilm",
                    "width": width,
                    "height": height,
                    "rfilter": {"type": "box"},
                    "sample_border": True,
                },
                "sampler": {"type": "independent", "sample_count": samples},
            },
            "integrator": {"type": "direct_projective", "sppi": 0},
        }
    )
    seen = mi.traverse(world)
    seed = 0

    @dr.wrap(source="torch", target="drjit")
    def picture(vertices: Any) -> Any:
        seen["mesh.vertex_positions"] = dr.ravel(vertices)
        seen.update()
        return mi.render(world, seen, spp=samples, seed=seed)

    def render(vertices: Tensor) -> Tensor:
        nonlocal seed
        seed += 1
        return picture(vertices.float())[..., :3]

    return render


def _glowing(mi: Any) -> Any:
    """A surface that only emits, in the colours of its vertices."""
    emitter = mi.load_dict({"type": "area", "radiance": {"type": "mesh_attribute", "name": "vertex_color"}})
    black = mi.load_dict({"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}})
    properties = mi.Properties()
    properties["emitter"], properties["bsdf"] = emitter, black
    return properties
