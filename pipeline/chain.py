"""The one place where the layers meet: controls → vertices → pixels → landmarks."""

import copy
from typing import Any, Literal

from pipeline.config import DeformerKind
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import LandmarkEmbedding
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.layer import Layer, Pipeline
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.raytrace import RayTracer
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface


def build_chain(
    rig: Rig,
    camera: Camera,
    detector: LandmarkDetector,
    material: Material,
    light: Light | None = None,
    deform: Layer | None = None,
    **render: Any,
) -> Pipeline:
    """detect ∘ render ∘ deform: `(*B, K)` controls → `(*B, L, 2 or 3)` landmarks in pixels of the view.

    Args:
        deform: layer 1 for the rig; blendshapes and skinning if omitted.
    """
    return Pipeline(
        [deform or Deformer(rig), build_renderer(rig, camera, material, light, **render), detector]
    )


def build_deformer(rig: Rig, kind: DeformerKind = "skinning") -> Layer:
    """Layer 1 for a rig: its shapes and its joints, if it has some, or the flesh that these pull at."""
    if kind == "quasistatic":
        from pipeline.deform.quasistatic.deformer import QuasistaticDeformer

        return QuasistaticDeformer(rig)
    return Deformer(rig)


def build_renderer(
    rig: Rig,
    camera: Camera,
    material: Material,
    light: Light | None = None,
    renderer: Literal["scanline", "raytrace"] = "scanline",
    rasterizer: str = "auto",
    **render: Any,
) -> Renderer:
    """Layer 2 for a rig, by scanlines or by ray tracing; `render` are arguments that both take."""
    scene = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle), material, camera
    light = light or Light.default()
    if renderer == "raytrace":
        return RayTracer(*scene, light, **render)
    return Renderer(*scene, light, rasterizer=rasterizer, **render)


def build_stand_in(rig: Rig, camera: Camera) -> Pipeline:
    """embed ∘ deform: what the chain would say if the detector saw the rig's own points. No pixels: a
    millisecond."""
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    own = copy.deepcopy(camera)  # the stand-in may move to another precision than the chain
    return Pipeline([Deformer(small), LandmarkEmbedding(small.triangles, small.landmark_barycentric, own)])
