"""The three layers as one function: batches, precision, and derivatives that are those of what is computed.

Whether they are also those of a finer picture is another question: tests/test_chain_gradient.py.
"""

import pytest
import torch
from torch import Tensor

from pipeline.chain import build_chain, build_deformer, build_stand_in
from pipeline.deform.deform import Deformer
from pipeline.deform.quasistatic.deformer import QuasistaticDeformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer

RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners
FRONTAL = {"headTranslationY": 0.035, "headTranslationZ": -1.2}
LIVELY = FRONTAL | {
    "headRotationY": 0.1, "jawOpen": 0.3, "mouthSmileLeft": 0.4, "mouthSmileRight": 0.2, "browInnerUp": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


def camera() -> Camera:
    """A face 1.2 m away fills the 256 × 256 view."""
    return Camera(torch.tensor(1230.0), torch.full((2,), 128.0))


@pytest.fixture(scope="module")
def chain(rig: Rig) -> Pipeline:
    return build_chain(rig, camera(), FaceMesh.load(), Material(HeadTexture.load()()))


@pytest.fixture(scope="module")
def precise(rig: Rig) -> Pipeline:
    """The chain in float64, the detector's derivative exact."""
    return build_chain(rig, camera(), FaceMesh.load(smoothing=0), Material(HeadTexture.load()())).double()


def controls(rig: Rig, values: dict[str, float]) -> Tensor:
    return rig.controls.pack(values, rig.controls.rest)


@pytest.fixture(scope="module")
def several(rig: Rig) -> Tensor:
    """(2, 3, K): six faces, none like another."""
    faces = [controls(rig, LIVELY | {"headRotationY": 0.08 * i - 0.2, "jawOpen": 0.1 * i}) for i in range(6)]
    return torch.stack(faces).float().view(2, 3, -1)


@torch.no_grad()
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_a_batch_is_its_faces_one_by_one(chain: Pipeline, several: Tensor, batch: tuple[int, ...]) -> None:
    x = several[0, 0] if batch == () else several[0, :2] if batch == (2,) else several
    landmarks = chain(x)
    assert landmarks.shape == (*batch, 478, 3)
    singles = torch.stack([chain(one) for one in x.reshape(-1, x.shape[-1])]).view_as(landmarks)
    assert (landmarks - singles).abs().max() < 1e-3  # pixels: float32 sums in another order
    if batch:  # or a chain that answers all alike would do
        assert (landmarks[..., 0, :, :] - landmarks[..., 1, :, :]).abs().max() > 1


@torch.no_grad()
def test_stations_are_what_the_layers_hand_on(rig: Rig, chain: Pipeline, several: Tensor) -> None:
    x = several[0, :2]
    given, vertices, pixels, landmarks = chain.stations(x)
    assert torch.equal(given, x)
    assert vertices.shape == (2, len(rig.rest), 3) and pixels.shape == (2, 256, 256, 3)
    assert (0 <= pixels).all() and (pixels <= 1).float().mean() > 0.995  # but for highlights
    assert torch.equal(landmarks, chain(x))
    assert [layer.name for layer in chain] == ["deform", "render", "detect"]


@torch.no_grad()
def test_float64_agrees_with_float32(chain: Pipeline, precise: Pipeline, several: Tensor) -> None:
    landmarks = precise(several[0, 1].double())
    assert landmarks.dtype == torch.float64
    assert (landmarks - chain(several[0, 1])).abs().max() < 0.05  # a sample or two may see another triangle


def test_reverse_mode_is_the_adjoint_of_forward_mode(rig: Rig, precise: Pipeline) -> None:
    x = controls(rig, LIVELY)
    draw = torch.Generator().manual_seed(1)
    d = torch.randn(len(x), generator=draw, dtype=torch.float64)
    d[rig.controls.groups["pose"]] *= 0.1
    g = torch.randn(478, 3, generator=draw, dtype=torch.float64)
    forward = torch.func.jvp(precise, (x,), (d,))[1]
    leaf = x.clone().requires_grad_()
    (reverse,) = torch.autograd.grad(precise(leaf), leaf, g)
    assert float(reverse @ d) == pytest.approx(float((g * forward).sum()), rel=1e-6)


DERIVED = [
    "jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkLeft", "mouthPucker", "headRotationX",
    "headTranslationX", "headTranslationZ",
]  # fmt: skip


def test_the_gradient_is_that_of_what_is_computed(rig: Rig, precise: Pipeline) -> None:
    """Without outlines every layer is differentiated as it stands, so central differences must agree.

    The step has to be so small that no sample (512 × 512 of them) comes to see another part of the face and
    no texture another mip level: at 1e-8 of a control, or of 0.1 m, the picture moves by a millionth of a
    pixel. At 1e-6 some samples do change, and pose controls, which move all outlines at once, jump by more
    than their gradient. headRotationY is left out: its gradient here is 30 times smaller than its fellows',
    and round-off shows.
    """
    x = controls(rig, LIVELY)
    renderer = list(precise)[1]
    assert isinstance(renderer, Renderer)
    away = torch.randn(478, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    renderer.outlines = False
    try:
        target = precise(x) + away

        def objective(x: Tensor) -> Tensor:
            return (precise(x) - target)[:, :2].square().sum()

        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(leaf), leaf)
        for name in DERIVED:
            i = rig.controls.index(name)
            step = torch.zeros_like(x)
            step[i] = 1e-9 if "Translation" in name else 1e-8
            with torch.no_grad():
                slope = (objective(x + step) - objective(x - step)) / (2 * step[i])
            assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-3), name
    finally:
        renderer.outlines = True


@torch.no_grad()
@pytest.mark.parametrize(
    "name, ids", [("jawOpen", (17, 200)), ("browInnerUp", (107, 336)), ("headRotationY", (1,))]
)
def test_the_stand_in_moves_as_the_chain_does(
    rig: Rig, chain: Pipeline, name: str, ids: tuple[int, ...]
) -> None:
    stand_in = build_stand_in(rig, camera()).double()
    start, moved = controls(rig, FRONTAL), controls(rig, FRONTAL | {name: 0.25})
    seen = (chain(moved.float()) - chain(start.float()))[list(ids), :2].double()
    said = (stand_in(moved) - stand_in(start))[list(ids), :2]
    assert said.norm(dim=-1).min() > 1  # pixel
    assert ((seen - said).norm(dim=-1) < 0.4 * said.norm(dim=-1)).all()


@torch.no_grad()
def test_the_stand_in_says_about_what_the_chain_says(rig: Rig, chain: Pipeline) -> None:
    x = controls(rig, FRONTAL)
    seen, said = chain(x.float()), build_stand_in(rig, camera()).double()(x)
    distance = (seen - said)[list(SCORED), :2].norm(dim=-1).mean()
    assert 100 * distance / (seen[RIGHT_EYE] - seen[LEFT_EYE])[:2].norm() < 2


def test_the_stand_in_may_be_more_precise_than_the_chain(rig: Rig) -> None:
    own = camera()
    build_stand_in(rig, own).double()
    assert own.focal_px.dtype == torch.float32


def test_flesh_takes_the_deformer_s_place(rig: Rig) -> None:
    flesh = build_deformer(rig, "quasistatic")
    assert isinstance(flesh, QuasistaticDeformer) and type(build_deformer(rig)) is Deformer
    chain = build_chain(rig, camera(), FaceMesh.load(), Material(HeadTexture.load()()), deform=flesh)
    x = rig.controls.pack(FRONTAL).requires_grad_()
    landmarks = chain(x)
    with torch.no_grad():  # without expression the flesh rests
        plain = build_chain(rig, camera(), FaceMesh.load(), Material(HeadTexture.load()()))(x)
    torch.testing.assert_close(landmarks, plain, atol=0.05, rtol=0)
    landmarks[:, 0].sum().backward()
    assert x.grad is not None and x.grad[rig.controls.index("headTranslationX")] > 100
