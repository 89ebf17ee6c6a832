"""The one place where the layers meet: controls → vertices → pixels → landmarks."""

import copy

from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import LandmarkEmbedding
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.renderer import Renderer


def build_chain(
    rig: Rig,
    camera: Camera,
    detector: FaceMesh,
    texture: Tensor,
    light: Light | None = None,
    samples: int = 2,
) -> Pipeline:
    """detect ∘ render ∘ deform: `(*B, K)` controls → `(*B, 478, 3)` landmarks in pixels of the view."""
    return Pipeline([Deformer(rig), build_renderer(rig, camera, texture, light, samples), detector])


def build_renderer(
    rig: Rig, camera: Camera, texture: Tensor, light: Light | None = None, samples: int = 2
) -> Renderer:
    """Layer 2 for a rig."""
    return Renderer(
        rig.triangles,
        rig.uv,
        rig.uv_triangles,
        rig.part_of_triangle,
        texture,
        camera,
        light or Light.default(),
        samples=samples,
    )


def build_stand_in(rig: Rig, camera: Camera) -> Pipeline:
    """embed ∘ deform: what the chain would say if the detector saw the rig's own points. No pixels: a
    millisecond."""
    small = rig.at_landmarks()
    assert small.landmark_barycentric is not None
    own = copy.deepcopy(camera)  # the stand-in may move to another precision than the chain
    return Pipeline([Deformer(small), LandmarkEmbedding(small.triangles, small.landmark_barycentric, own)])
