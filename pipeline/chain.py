"""The layers of a chain, made for a rig and put together: controls → vertices → pixels → landmarks."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

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


def together(chains: Sequence[Pipeline]) -> Pipeline:
    """N chains that differ in camera, texture and light alone, as one: `(N, K)` → `(N, L, 2 or 3)`.

    Raises:
        ValueError: they differ in more.
    """
    deform, first, detector = chains[0]
    renderers = [renderer for _, renderer, _ in chains if type(renderer) is Renderer]
    alike = all(list(chain)[::2] == [deform, detector] for chain in chains)
    if not alike or len(renderers) < len(chains) or not isinstance(first, Renderer):
        raise ValueError("Chains that run together have one deformer and one detector, and no ray tracer.")
    if any(_shared(renderer) != _shared(first) for renderer in renderers):
        raise ValueError("Chains that run together draw one mesh, in one size and manner.")

    def each(parameter: Callable[[Renderer], Tensor]) -> Tensor:
        """`(N, …)`; without the N where all have the very same."""
        values = [parameter(renderer) for renderer in renderers]
        return values[0] if all(value is values[0] for value in values) else torch.stack(values)

    camera = Camera(
        each(lambda r: r.camera.focal_px),
        each(lambda r: r.camera.principal_point_px),
        each(lambda r: r.camera.view),
        first.camera.size,
    )
    material = first.material
    material = Material(
        each(lambda r: r.material.texture), material.specular, material.wrap, material.normal_map
    )
    light = Light(
        each(lambda r: r.light.ambient),
        each(lambda r: r.light.directional),
        each(lambda r: r.light.direction),
        each(lambda r: r.light.harmonics),
    )
    common = first.background, first.samples, first.outlines, first.rasterizer
    return Pipeline([deform, Renderer(first.surface, material, camera, light, *common), detector])


def _shared(renderer: Renderer) -> list[Any]:
    """What renderers must have in common to draw as one."""
    material = renderer.material
    values = renderer.background, material.specular, material.wrap
    return [
        id(renderer.surface.triangles),
        id(material.normal_map),
        renderer.camera.size,
        renderer.samples,
        renderer.outlines,
        renderer.rasterizer,
        *(value.tolist() for value in values),
    ]


def build_stand_in(rig: Rig, camera: Camera) -> Pipeline:
    """embed ∘ deform: what the chain would say if the detector saw the rig's own points. No pixels: a
    millisecond."""
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    own = copy.deepcopy(camera)  # the stand-in may move to another precision than the chain
    return Pipeline([Deformer(small), LandmarkEmbedding(small.triangles, small.landmark_barycentric, own)])
