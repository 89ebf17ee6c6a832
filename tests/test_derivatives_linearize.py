"""The renderer's and the detector's derivative, written out, against a JVP of every tangent."""

from collections.abc import Callable

import pytest
import torch
from scenes import cap_on_a_wall, head_like, random, settings, square_camera, two_balls, wall
from torch import Tensor

from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives import automatic
from pipeline.derivatives.linearize import has_linearization, linearize, push_columns
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Layer
from pipeline.render import fused
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.outlines import find_outlines
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

D = torch.float64


def gap(layer: Layer, x: Tensor, count: int = 2) -> float:
    """Largest difference from the JVPs, over the largest entry."""
    tangents = torch.stack([random(*x.shape, seed=10 + k) for k in range(count)])
    expected = automatic.push(layer, x, tangents)
    assert has_linearization(layer) and expected.abs().max() > 0
    return float((linearize(layer, x)(tangents) - expected).abs().max() / expected.abs().max())


def pierced() -> tuple[Renderer, Tensor]:
    """Two balls of one part that run into each other."""
    renderer, vertices, small = two_balls(48)
    renderer.surface.part_of_triangle.zero_()
    vertices[small] -= torch.tensor([0.0, 0.0, 0.035], dtype=D)
    homogeneous = renderer.homogeneous(vertices)
    found = find_outlines(renderer.rasterize(homogeneous), homogeneous[None], renderer.surface)
    assert (found.edge[:, 0] < 0).any()
    return renderer, vertices


def bent() -> tuple[Renderer, Tensor]:
    renderer, vertices = wall(24)
    up = torch.nn.functional.normalize(random(8, 8, 3) + torch.tensor([0, 0, 3.0], dtype=D), dim=-1)
    renderer.material = Material(renderer.material.texture, normal_map=up)
    return renderer, vertices


def under_harmonics() -> tuple[Renderer, Tensor]:
    renderer, vertices = head_like(32, 16)
    gray = torch.full((3,), 0.4, dtype=D)
    renderer.light = Light(gray, gray, torch.tensor([1.0, 1.0, 0.5], dtype=D), 0.2 * random(9, 3))
    return renderer, vertices


def without_texture() -> tuple[Renderer, Tensor]:
    renderer, vertices = head_like(32, 16)
    material = Material(torch.full((1, 1, 4), 0.5, dtype=D))
    made = {**settings(renderer), "surface": Surface(renderer.surface.triangles), "material": material}
    return Renderer(**made), vertices


def several() -> tuple[Renderer, Tensor]:
    """Two pictures of three, each with its camera and its light."""
    renderer, vertices = head_like(32, 16)
    focal, middle = torch.tensor([110.0, 140.0], dtype=D), torch.full((2, 2), 16.0, dtype=D)
    renderer.camera = Camera(focal, middle, size=(32, 32)).double()
    around = torch.stack([random(3, seed=k, low=0.2, high=0.8) for k in range(2)])
    renderer.light = Light(around, around.flip(0), random(2, 3) + torch.tensor([0, 0, 2.0], dtype=D))
    return renderer, torch.stack([vertices, vertices + 0.004])


def moved(x: float, z: float = 0.0) -> tuple[Renderer, Tensor]:
    renderer, vertices = head_like(32, 16)
    return renderer, vertices + torch.tensor([x, 0.0, z], dtype=D)


def head(**pose: float) -> tuple[Renderer, Tensor]:
    rig = Rig.load().to(dtype=D)
    camera = square_camera(64, 250.0)
    renderer = build_renderer(rig, camera, Material(HeadTexture.load()()), samples=1).double()
    controls = rig.controls.pack({"jawOpen": 0.4, "headTranslationZ": -1.0, **pose}, rig.controls.rest)
    with torch.no_grad():
        return renderer, Deformer(rig).double()(controls)


SCENES: dict[str, Callable[[], tuple[Renderer, Tensor]]] = {
    "a ball": lambda: head_like(32, 16),
    "partly outside the view": lambda: moved(0.06),
    "partly behind the camera": lambda: moved(0.0, 0.95),
    "a part before another": lambda: two_balls(48)[:2],
    "a part before itself": lambda: cap_on_a_wall(48)[:2],
    "surfaces that pierce each other": pierced,
    "a normal map": bent,
    "harmonics": under_harmonics,
    "no texture": without_texture,
    "no outlines": lambda: head_like(32, 16, outlines=False),
    "one sample a pixel": lambda: head_like(32, 16, samples=1),
    "cameras and lights of their own": several,
    "the rig from the front": head,
    "the rig in profile": lambda: head(headRotationY=1.4),
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_pictures_derivative_is_that_of_its_jvps(scene: str) -> None:
    assert gap(*SCENES[scene]()) <= 1e-10


def test_nothing_in_view_moves_nothing() -> None:
    renderer, vertices = moved(1.0)
    assert linearize(renderer, vertices)(random(2, *vertices.shape)).abs().max() == 0


def test_without_the_fused_functions_it_is_the_same() -> None:
    with fused.plain():
        assert gap(*head_like(32, 16)) <= 1e-10


def test_a_batch_with_two_axes() -> None:
    renderer, vertices = head_like(32, 16)
    assert gap(renderer, torch.stack([vertices, vertices + 0.003, vertices - 0.002])[None]) <= 1e-10


def test_single_precision_is_as_precise_as_it_can_be() -> None:
    renderer, vertices = head()
    tangents = random(2, *vertices.shape)
    expected = linearize(renderer, vertices)(tangents)
    found = linearize(renderer.float(), vertices.float())(tangents.float())
    assert found.dtype == torch.float32
    assert (found - expected).norm() <= 1e-3 * expected.norm()  # some samples see another triangle


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_detectors_derivative_is_that_of_its_jvps(smoothing: float) -> None:
    detect = FaceMesh.load(smoothing=smoothing).double()
    pictures = random(2, 1, 256, 256, 3, low=0.0, high=1.0)
    assert gap(detect, pictures, count=1) <= 1e-10
    assert gap(detect, pictures[0, 0], count=5) <= 1e-10


def test_chunks_do_not_change_the_columns() -> None:
    renderer, vertices = head_like(32, 16)
    tangents, done = random(5, *vertices.shape), []
    found = push_columns(renderer, vertices, tangents, 2, done.append)
    torch.testing.assert_close(found, linearize(renderer, vertices)(tangents), atol=1e-9, rtol=1e-9)
    assert done == [2, 4, 5]
