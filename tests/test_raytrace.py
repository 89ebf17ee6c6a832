"""The ray tracer: the rasterizer's picture where light is alike, shadows and reflections where it is not."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
from scenes import jvp, random, settings, square_camera, vjp
from torch import Tensor
from torch.nn import functional

from pipeline import doctor
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render import llvm, raycast, srgb
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.raytrace import RayTracer
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

if find_spec("mitsuba") is None:
    MISSING = "Mitsuba is not installed"
else:
    MISSING = "" if llvm.find() else f"Mitsuba finds no LLVM library: {llvm.HOW_TO_GET_ONE}"
traces = pytest.mark.skipif(bool(MISSING), reason=MISSING)

FACE = {
    "headTranslationY": 0.035,
    "headTranslationZ": -1.2,
    "headRotationY": 0.1,
    "jawOpen": 0.3,
    "browInnerUp": 0.3,
}
OTHER = FACE | {"headTranslationX": 0.004, "headRotationX": 0.05, "headRotationY": 0.04, "jawOpen": 0.1,
                "mouthPucker": 0.3, "eyeBlinkLeft": 0.4}  # fmt: skip


FIXED_SHAPE = [
    "light.ambient", "light.directional", "light.harmonics",
    "material.texture", "material.specular", "material.wrap",
]  # fmt: skip


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10((a - b).square().mean().item())


def cosine(a: Tensor, b: Tensor) -> float:
    return functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def tracer(renderer: Renderer, **options: Any) -> RayTracer:
    """Traces what `renderer` rasterizes."""
    arguments: dict[str, Any] = settings(renderer) | {"samples": 4} | options
    return RayTracer(**arguments).double()


def plain(color: float, wrap: float = 0.0) -> Material:
    """A surface of one colour: Lambert's, but for a faint sheen towards the horizon."""
    texel = torch.tensor([[[color, color, color, 1.0]]], dtype=torch.float64)
    return Material(texel, specular=torch.tensor(0.0), wrap=torch.tensor(wrap))


def disc_above_a_wall(size: int = 48, **options: Any) -> tuple[RayTracer, Tensor]:
    """A disc 5 cm in front of a wall, 1 m away, lit from the upper left at 45°."""
    plane, _, triangles = scenes.grid(2, 1.0)
    disc, _, disc_triangles = scenes.grid(2, 0.08)
    disc[:, 2] = 0.05
    light = Light(torch.full((3,), 0.3), torch.full((3,), 0.5), torch.tensor([-1.0, 0.0, 1.0]))
    surface = Surface(torch.cat([triangles, disc_triangles + len(plane)]))
    arguments = {"material": plain(0.5), "light": light, "samples": 4} | options
    built = RayTracer(surface=surface, camera=square_camera(size, 3.6 * size), **arguments)
    return built.double(), torch.cat([plane, disc]) - torch.tensor([0, 0, 1.0], dtype=torch.float64)


# The same light


@traces
@pytest.mark.parametrize("scene", [scenes.two_balls, scenes.cap_on_a_wall])
def test_camera_rays_alone_give_the_rasterizers_picture(scene) -> None:
    renderer, vertices, _ = scene(64, samples=4)
    assert psnr(tracer(renderer, bounces=0)(vertices), renderer(vertices)) > 35


@traces
def test_every_camera_sees_alike() -> None:
    """A view that turns, shears and shifts, of a camera whose axis does not meet its middle."""
    renderer, vertices = scenes.head_like(64, samples=4)
    view = torch.tensor([[0.9, 0.25, -8.0], [-0.1, 1.1, 4.0]], dtype=torch.float64)
    middle = torch.tensor([38.0, 29.0], dtype=torch.float64)
    renderer.camera = Camera(renderer.camera.focal_px, middle, view, (48, 64))
    assert psnr(tracer(renderer, bounces=0)(vertices), renderer(vertices)) > 35


@pytest.fixture(scope="module")
def head() -> tuple[Rig, dict[str, Any]]:
    rig = Rig.load()
    surface = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle)
    return rig, {"surface": surface, "material": Material(HeadTexture.load()()), "camera": head_camera(128)}


def head_camera(size: int) -> Camera:
    """A face 1.2 m away fills the view."""
    return Camera(torch.tensor(4.8 * size), torch.full((2,), size / 2), size=(size, size))


@traces
def test_the_head_and_its_gradients_agree_with_the_rasterizers(head: tuple[Rig, dict[str, Any]]) -> None:
    """At 36 rays and 4 × 4 samples a pixel, averaged in linear light by both."""
    rig, scene = head
    whole: dict[str, Any] = scene | {"camera": head_camera(512)}
    deform = Deformer(rig)
    start, goal = (rig.controls.pack(values, rig.controls.rest).float() for values in (FACE, OTHER))
    groups = rig.controls.groups

    def coarse(picture: Tensor) -> Tensor:
        return functional.avg_pool2d(picture.movedim(-1, 0)[None], 4, 2)

    other_light = Light(torch.full((3,), 0.45), torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.5, 0.3, 0.8]))
    with torch.no_grad():
        target = coarse(Renderer(**scene, light=other_light, samples=4)(deform(goal)))

    def rasterized(light: Light, vertices: Tensor) -> Tensor:
        linear = srgb.decode(Renderer(**whole, light=light, samples=1)(vertices))
        return srgb.encode(linear.view(128, 4, 128, 4, 3).mean((1, 3)))

    def traced(light: Light, vertices: Tensor) -> Tensor:
        return RayTracer(**scene, light=light, samples=6, bounces=0)(vertices)

    def traced_with_shadows(light: Light, vertices: Tensor) -> Tensor:
        return RayTracer(**scene, light=light, samples=4)(vertices)

    def look(render: Callable[[Light, Tensor], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        light = Light.default()
        parameters = [
            x.requires_grad_() for x in (light.ambient, light.directional, light.direction, light.harmonics)
        ]
        x = start.clone().requires_grad_()
        picture = render(light, deform(x))
        loss = (coarse(picture) - target).square().mean()
        by_x, *by_light = torch.autograd.grad(loss, [x, *parameters])
        gradients = {name: by_x[groups[name]] for name in ("expression", "pose")}
        return picture.detach(), gradients | {"light": torch.cat([g.flatten() for g in by_light])}

    picture, gradients = look(rasterized)
    same, found = look(traced)
    assert psnr(picture, same) > 35
    for name, gradient in gradients.items():
        assert cosine(found[name], gradient) > 0.95, name
    shaded, found = look(traced_with_shadows)  # under the chin and the nose, in the mouth
    assert 25 < psnr(picture, shaded) < 35
    assert (
        cosine(found["pose"], gradients["pose"]) > 0.95 and cosine(found["light"], gradients["light"]) > 0.9
    )


# Its own light


@traces
def test_a_shadow_falls_where_the_light_casts_it() -> None:
    trace, vertices = disc_above_a_wall(softness=0.0)
    picture = trace(vertices)
    row = picture[24, :, 0]
    lit = row[2]
    # What is 5 cm above the wall casts its shadow 5 cm to the right: the disc covers ±4 cm, this 1 to 9 cm.
    shadow = torch.arange(48).sub(23.5).div(3.6 * 48)  # metres on the wall
    dark = (shadow > 0.05) & (shadow < 0.085)
    bright = (shadow > 0.095) | (shadow < -0.045)
    assert (row[dark] < 0.8 * lit).all() and (row[bright] > 0.93 * lit).all()


@traces
def test_a_larger_light_casts_a_softer_shadow() -> None:
    def steepest(softness: float) -> float:
        trace, vertices = disc_above_a_wall(softness=softness, samples=8)
        return trace(vertices)[24, 36:, 0].diff().abs().max().item()

    assert steepest(0.0) > 2 * steepest(0.25)


@traces
def test_an_open_surface_in_uniform_light_is_neither_darker_nor_brighter() -> None:
    """Nothing to hide behind: the closed form and its corrections must agree."""
    renderer, vertices = scenes.head_like(32, samples=4)
    ball, _, triangles, _ = scenes.sphere(40, 40, bumps=0.0)
    light = Light(torch.full((3,), 0.8), torch.zeros(3), torch.tensor([0, 0, 1.0]))
    trace = RayTracer(Surface(triangles), plain(0.5), renderer.camera, light).double()
    picture = trace(ball - torch.tensor([0, 0, 1.0]))
    direct = tracer(trace, bounces=0)(ball - torch.tensor([0, 0, 1.0]))
    middle = picture[12:20, 12:20]
    assert (middle - direct[12:20, 12:20]).abs().max() < 0.02  # the sheen, next to nothing from the front
    assert ((middle - direct[12:20, 12:20]) > -1e-9).all()


@traces
def test_a_mirror_shows_what_stands_before_it() -> None:
    """Everything mirrors a uniform sky; only the disc's unlit back is seen in the wall, dark."""
    texel = torch.tensor([[[0.0, 0.0, 0.0, 0.05]]], dtype=torch.float64)
    mirror = Material(texel, specular=torch.tensor(1.0))
    light = Light(torch.full((3,), 0.5), torch.zeros(3), torch.tensor([0, 0, 1.0]))
    trace, vertices = disc_above_a_wall(material=mirror, light=light)
    vertices[9:] += torch.tensor([0.07, 0.0, 0.25])  # 30 cm above the wall, from 3 cm to 11 cm on the right
    row = trace(vertices)[24, :, 0]
    # The mirror image is 1.3 m away, from 28.0 px on; the disc itself hides it from 31.4 px on.
    assert row[29:31].max() < 0.1
    assert (row[torch.cat([torch.arange(27), torch.arange(33, 48)])] - 0.735).abs().max() < 0.01


@traces
@pytest.mark.parametrize("bounces", [1, 3])
def test_mitsubas_own_path_tracer_sees_the_same(bounces: int) -> None:
    trace, vertices = disc_above_a_wall(32, softness=0.0, bounces=bounces, samples=8)
    mi: Any = raycast.load_mitsuba("cpu")
    mesh = mi.Mesh("mesh", len(vertices), len(trace.surface.triangles), props=_diffuse(mi, 0.5))
    values = mi.traverse(mesh)
    values["faces"] = mi.UInt32(mi.Int32(trace.surface.triangles.int().flatten()))
    values["vertex_positions"] = mi.Float(vertices.float().flatten().contiguous())
    values.update()
    world = {
        "type": "scene",
        "mesh": mesh,
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": 0.3}},
        "sun": {
            "type": "directional",
            "direction": [1, 0, -1],
            "irradiance": {"type": "rgb", "value": 0.5 * math.pi},
        },
        "sensor": {
            "type": "perspective",
            "fov": 2 * math.degrees(math.atan(0.5 / 3.6)),
            "to_world": mi.ScalarTransform4f().look_at(origin=[0, 0, 0], target=[0, 0, -1], up=[0, 1, 0]),
            "film": {"type": "hdrfilm", "width": 32, "height": 32, "rfilter": {"type": "box"}},
        },
        "integrator": {"type": "path", "max_depth": 2 + bounces},
    }
    linear = mi.render(mi.load_dict(world), spp=256).torch()[..., :3]
    assert psnr(trace(vertices), srgb.encode(linear)) > 35


def _diffuse(mi: Any, color: float) -> Any:
    properties = mi.Properties()
    reflectance = {"type": "rgb", "value": color}
    properties["bsdf"] = mi.load_dict(
        {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": reflectance}}
    )
    return properties


# Derivatives


@traces
def test_forward_and_reverse_mode_are_adjoint() -> None:
    renderer, vertices, _ = scenes.two_balls(32)
    trace = tracer(renderer, samples=2)
    direction = random(*vertices.shape, seed=4)
    picture, along = jvp(trace, vertices, direction)
    weights = random(*picture.shape, seed=5)
    left, right = (vjp(trace, vertices, weights) * direction).sum(), (weights * along).sum()
    assert (left - right).abs() < 1e-9 * weights.norm() * along.norm()
    shifts = torch.func.jacfwd(lambda shift: trace(vertices + shift))(torch.zeros(3).double())
    _, sideways = jvp(trace, vertices, torch.tensor([1.0, 0, 0]).double().expand_as(vertices))
    assert (shifts[..., 0] - sideways).abs().max() < 1e-9 * sideways.abs().max()


@traces
@pytest.mark.parametrize("softness", [0.0, 0.2])
@pytest.mark.parametrize("motion", ["towards the camera", "sideways", "the light"])
def test_moving_shadows_carry_gradients(motion: str, softness: float) -> None:
    """Against central differences of finer pictures."""
    renderer, vertices, small = scenes.two_balls(32)
    away = torch.tensor(
        [0.0, 0.0, 1.0] if motion == "towards the camera" else [0.6, 0.8, 0.0], dtype=torch.float64
    )
    shift = small[:, None] * away
    towards = torch.tensor([[0.5, 0.7, 0.6], [0.3, -0.5, 0.1]], dtype=torch.float64)

    def picture(t: Tensor, samples: int, seed: int = 0) -> Tensor:
        direction = towards[0] + t * towards[1] if motion == "the light" else renderer.light.direction
        light = Light(renderer.light.ambient, renderer.light.directional, direction)
        trace = tracer(renderer, light=light, samples=samples, softness=softness, seed=seed)
        moved = trace(vertices if motion == "the light" else vertices + t * shift)
        return functional.avg_pool2d(moved.movedim(-1, 0)[None], 4, 2)

    size = {"towards the camera": 0.03, "sideways": 0.012, "the light": 0.4}[motion]
    with torch.no_grad():
        target = picture(torch.tensor(size), 8)

        def loss(t: float) -> Tensor:
            return (picture(torch.tensor(t), 8) - target).square().sum()

        expected = (loss(size / 10) - loss(-size / 10)) / (size / 5)
    found = []
    for seed in (1, 2):
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        found.append(torch.autograd.grad((picture(t, 4, seed) - target).square().sum(), t)[0])
    assert torch.stack(found).mean() == pytest.approx(expected.item(), rel=0.2)


@traces
@pytest.mark.parametrize("name", FIXED_SHAPE)
def test_parameters_that_move_nothing_have_exact_gradients(name: str) -> None:
    renderer, vertices = scenes.wall(12)
    trace = tracer(renderer, samples=2)
    value = trace.get_buffer(name).clone()
    direction = 0.5 * value if name == "material.specular" else random(*value.shape, seed=7)
    weights = random(12, 12, 3, seed=8)

    def loss(x: Tensor) -> Tensor:
        return (torch.func.functional_call(trace, {name: x}, (vertices,)) * weights).sum()

    step = 1e-5
    expected = (loss(value + step * direction) - loss(value - step * direction)) / (2 * step)
    x = value.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    assert (gradient * direction).sum().item() == pytest.approx(expected.item(), rel=1e-3)


# Batches and odd input


@traces
def test_a_batch_is_its_pictures_one_by_one() -> None:
    renderer, vertices, _ = scenes.two_balls(24)
    lights = Light(
        torch.tensor([[0.3] * 3, [0.1] * 3]), torch.ones(2, 3), torch.tensor([[0, 1.0, 1.0], [1.0, 0, 1.0]])
    )
    both = torch.stack([vertices, vertices + 0.01 * random(*vertices.shape, seed=2)])
    pictures = tracer(renderer, light=lights.double(), samples=2)(both)
    for i in range(2):
        light = Light(lights.ambient[i], lights.directional[i], lights.direction[i])
        assert (tracer(renderer, light=light, samples=2)(both[i]) - pictures[i]).abs().max() < 1e-9


@traces
def test_the_seed_decides_the_samples() -> None:
    renderer, vertices, _ = scenes.two_balls(24)
    first, again, other = (tracer(renderer, seed=seed)(vertices) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert 30 < psnr(first, other) < 60


@traces
def test_broken_meshes_leave_the_rest_of_the_picture_alone() -> None:
    renderer, vertices, small = scenes.two_balls(24)
    vertices[small.nonzero()[0]] = torch.nan
    assert tracer(renderer)(vertices).isfinite().all()
    assert (
        tracer(renderer)(torch.full_like(vertices, torch.nan)).sub(tracer(renderer)(vertices + 9)).abs().max()
        < 1e-12
    )
    nothing = RayTracer(
        Surface(torch.zeros(0, 3, dtype=torch.int64)), plain(0.5), square_camera(1), Light.default()
    )
    assert nothing.double()(vertices).shape == (1, 1, 3)


# What may be missing


def test_without_mitsuba_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raycast, "find_spec", lambda name: None)
    with pytest.raises(ChainRigError, match=r"pip install .*\[raytrace\]"):
        raycast.load_mitsuba("cpu")


@pytest.fixture
def _fresh_trials():
    llvm.trials.cache_clear()
    yield
    llvm.trials.cache_clear()


@pytest.mark.usefixtures("_fresh_trials")
def test_without_llvm_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raycast, "find_spec", lambda name: True)
    monkeypatch.setenv(llvm.VARIABLE, "/no/such/libLLVM.so")
    with pytest.raises(ChainRigError, match="libllvm19"):
        raycast.load_mitsuba("cpu")


@pytest.mark.usefixtures("_fresh_trials")
def test_a_library_that_aborts_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = tmp_path / "libLLVM.so.99", tmp_path / "libLLVM.so.19.1"
    for file in (bad, good):
        file.write_bytes(b"")
    monkeypatch.delenv(llvm.VARIABLE, raising=False)
    monkeypatch.setattr(llvm, "_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(
        llvm, "_TRIAL", f"import os; os.environ['{llvm.VARIABLE}'].endswith('99') and os.abort()"
    )
    assert llvm.find() == good
    assert llvm.trials()[0] == llvm.Trial(bad, "it aborts the process (signal 6)")


@pytest.mark.usefixtures("_fresh_trials")
def test_doctor_says_what_is_wrong_with_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "libLLVM.so"
    broken.write_bytes(b"no library")
    monkeypatch.setenv(llvm.VARIABLE, str(broken))
    monkeypatch.setattr(doctor, "find_spec", lambda name: True)
    monkeypatch.setattr(doctor, "version", lambda name: "3.9.1")
    (check,) = [check for check in doctor.examine()["Ray tracer"]]
    assert not check.usable and "libllvm19" in check.note and str(broken) in check.note
