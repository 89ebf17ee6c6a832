"""Wrong derivatives are found, in the layer that has them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scenes import head_like, square_camera
from torch import Tensor

from pipeline.checks.badge import Badge
from pipeline.checks.battery import ask, in_full
from pipeline.checks.own_layer import own_layer_subject
from pipeline.checks.report import document, verdict, worst_offender
from pipeline.checks.scene import Scene, default_scene
from pipeline.checks.subject import Subject, own_subject
from pipeline.checks.trust_badges import trust_badges
from pipeline.controls import ControlSpace
from pipeline.deform import deform
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import FunctionLayer
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Layer, Pipeline
from pipeline.render import composite
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

EXAMINED = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "jawOpen",
    "mouthPucker",
    "gender",
    "headRotationY",
    "headTranslationX",
)
JOINTS = ("jaw", "eyeLook", "expression")  # what only joints move, or all expressions together


class Wrong(torch.autograd.Function):
    """The identity, with derivatives to get wrong."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, ahead: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _, ctx.ahead, ctx.back = inputs

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return ctx.back(g), None, None

    @staticmethod
    def jvp(ctx: Any, d: Tensor, *_: None) -> Tensor:  # type: ignore[override]
        return ctx.ahead(d)


def wrong(x: Tensor, ahead: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
    return Wrong.apply(x, ahead, back)  # type: ignore[return-value]


def same(x: Tensor) -> Tensor:
    return x.clone()


class Net(Layer):
    """A picture to points: convolutions and rectifiers, in small."""

    name = "detect"
    input_axes = ("row", "column", "rgb")
    output_axes = ("landmark", "xyz")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.head = torch.nn.Linear(8, 15)

    def features(self, x: Tensor) -> Tensor:
        return self.stem(x.reshape(-1, *x.shape[-3:]).movedim(-1, 1)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).square().mean((-1, -2))).reshape(*x.shape[:-3], 5, 3)


@pytest.fixture(scope="module")
def chain() -> Pipeline:
    """The default rig where it has landmarks, drawn in a few pixels, and looked at by a small network."""
    rig = Rig.load().at_landmarks()
    ball = head_like(8, rings=6)[0]
    draw = Renderer(
        Surface(rig.triangles, part_of_triangle=rig.part_of_triangle),
        copy.deepcopy(ball.material).plain(torch.full((1, 1, 3), 0.5)),
        square_camera(24, 110.0),
        ball.light,
    )
    return Pipeline([Deformer(rig), draw, Net()])


def scene(chain: Pipeline) -> Scene:
    space = list(chain)[0].controls
    assert isinstance(space, ControlSpace)
    x = space.pack({"headTranslationZ": -1.0, "jawOpen": 0.3, "mouthSmileLeft": 0.2})
    return Scene(chain, x, names=EXAMINED)


def found(subject: Subject, *questions: str) -> list[Badge]:
    """The answers to some questions, or to all."""
    asked = in_full(subject)
    return list(ask(subject.layer, {q: asked[q] for q in questions or asked}))


def example(layer: Layer, x: Tensor) -> Layer:
    layer.example_input = lambda: x  # type: ignore[assignment]
    return layer


def no_scene() -> Scene:
    raise AssertionError("a layer with an example needs no scene")


def failed(badges: list[Badge]) -> set[str]:
    return {badge.question for badge in badges if not badge.passed}


def own(layer: Layer, x: Tensor) -> list[Badge]:
    return found(own_layer_subject(example(layer, x), no_scene))


def test_a_right_chain_passes(chain: Pipeline) -> None:
    here = scene(chain)
    badges = [b for name in ("deform", "detect", "objective", "chain") for b in found_in(here, name)]
    assert failed(badges) == set()
    assert verdict(badges) == (f"All {len(badges)} checks passed.", True)
    assert document(badges)["worst"] is None


def found_in(here: Scene, name: str) -> list[Badge]:
    if name == "objective":  # of 478 landmarks; the small network has five
        layer = FunctionLayer(lambda y: y.square().sum((-1, -2)), ("landmark", "xyz"), (), name="objective")
        return own(layer, here.stations[-1])
    if (
        name == "chain"
    ):  # a picture of single triangles is outlines all over: the chain has no slope to speak of
        return found(here.subject(name), "adjoint identity", "product against one backward")
    return found(here.subject(name))


def test_a_right_renderer_passes() -> None:
    draw, vertices = head_like(40, rings=20)
    badges = own(draw, vertices)
    assert {b.question for b in badges} > {"outlines against supersampling", "hand-written against automatic"}
    assert failed(badges) == set()


def test_a_wrong_sign_in_skinning(chain: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    right = deform.skin
    turned = lambda R: wrong(R, torch.neg, torch.neg)  # noqa: E731
    monkeypatch.setitem(deform.SKINNING, "linear", lambda v, w, R, t: right(v, w, turned(R), t))
    badges = found(scene(chain).subject("deform"))
    assert "adjoint identity" not in failed(badges)  # both modes are wrong alike
    assert {"against differences", "hand-written against automatic"} <= failed(badges)
    offender = worst_offender(badges)
    assert offender is not None and offender.layer == "deform" and offender.worst.startswith(JOINTS)
    sentence, passed = verdict(badges)
    assert not passed and sentence.startswith(f"deform: {offender.worst} is wrong, against differences: the")


def test_a_detached_tensor_in_the_deformer(chain: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    right = deform.blend
    monkeypatch.setattr(deform, "blend", lambda w, basis: right(w.detach(), basis))
    badges = found(scene(chain).subject("deform"))
    assert {"against differences", "silently zero"} <= failed(badges)
    (slope,) = (b for b in badges if b.question == "against differences")
    assert slope.value == pytest.approx(1)  # a control whose derivative is nothing
    assert not slope.worst.startswith("head")


def test_a_detached_tensor_in_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, vertices = head_like(32, rings=16)
    right = Renderer.geometry
    monkeypatch.setattr(Renderer, "geometry", lambda self, f, v, b: right(self, f, v.detach(), b))
    subject = own_subject(draw, vertices)
    badges = found(subject, "against differences", "adjoint identity")
    assert failed(badges) == {"against differences"}


def test_a_detached_tensor_in_the_detector(chain: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Net.features
    monkeypatch.setattr(Net, "features", lambda self, x: right(self, x.detach()))
    here = scene(chain)
    badges = [*found(here.subject("detect")), *found(here.subject("chain"))]
    assert {"against differences", "silently zero"} <= failed(badges)
    assert verdict(badges)[0].startswith("detect: ")


@pytest.mark.parametrize("fault", ["no outlines", "their derivative"])
def test_the_edge_term_removed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, vertices = head_like(40, rings=20)
    if fault == "no outlines":
        draw.outlines = False
    else:  # the picture is the same

        def detached(*arguments: Any) -> tuple[Tensor, Tensor]:
            return tuple(x.detach() for x in right(*arguments))  # type: ignore[return-value]

        right = composite.edge_term
        monkeypatch.setattr(composite, "edge_term", detached)
    subject = own_layer_subject(example(draw, vertices), no_scene)
    badges = found(subject, "adjoint identity", "outlines against supersampling")
    assert failed(badges) == {"outlines against supersampling"}
    assert verdict(badges)[0].startswith("render: ")


def test_a_reshape_that_mixes_batch_and_vertices() -> None:
    def mixed(x: Tensor) -> Tensor:
        flat = x.reshape(-1, 3)
        return (flat * torch.arange(3.0)).T.reshape(x.shape) if len(flat) == 8 else 2.0 * x

    layer = FunctionLayer(mixed, ("vertex", "xyz"), ("vertex", "xyz"), name="swapped")
    badges = own(layer, torch.randn(4, 3))
    assert "batch against loop: values" in failed(badges)
    assert verdict(badges)[0].startswith("swapped: ")


def test_x_and_y_swapped_in_the_derivative_only() -> None:
    def swap(x: Tensor) -> Tensor:
        return x[..., [1, 0, 2]]

    layer = FunctionLayer(lambda x: wrong(x.sin(), swap, swap), ("vertex", "xyz"), ("vertex", "xyz"), "bent")
    badges = own(layer, torch.randn(50, 3))
    assert "adjoint identity" not in failed(badges)
    assert worst_offender(badges) is not None
    assert verdict(badges)[0].startswith("bent: xyz ")


@pytest.mark.parametrize("name", ["deform", "detect"])
def test_a_truncation_to_float32(chain: Pipeline, name: str) -> None:
    here = scene(chain)
    subject = here.subject(name)

    class Rounded(type(subject.layer)):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).float().to(x.dtype)

    subject.layer.__class__ = Rounded
    badges = found(subject)
    assert "float64 throughout" in failed(badges)
    assert verdict(badges)[0].startswith(f"{name}: ")


def test_a_truncation_to_float32_in_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Renderer.homogeneous
    monkeypatch.setattr(Renderer, "homogeneous", lambda self, v: right(self, v).float().to(v.dtype))
    draw, vertices = head_like(32, rings=16)
    badges = found(own_subject(draw, vertices), "float64 throughout", "against differences")
    assert failed(badges) == {"float64 throughout", "against differences"}


@pytest.mark.parametrize(
    "mode, ahead, back",
    [("reverse mode", 1.0, 0.5), ("forward mode", 0.5, 1.0)],
)
def test_a_layer_of_ones_own_that_forgets_a_factor_in_one_mode(mode: str, ahead: float, back: float) -> None:
    layer = FunctionLayer(
        lambda x: wrong(x.sin(), lambda d: ahead * d, lambda g: back * g), ("a",), ("b",), name="mine"
    )
    badges = own(layer, torch.linspace(0.1, 1, 6))
    (adjoint,) = (b for b in badges if b.question == "adjoint identity")
    assert not adjoint.passed and adjoint.note.startswith(mode)
    assert ("against differences" in failed(badges)) == (mode == "forward mode")
    assert verdict(badges)[0].startswith("mine: ")


def test_items_that_see_each_other_and_layers_that_leave_torch() -> None:
    def centred(x: Tensor) -> Tensor:
        return x - x.mean()

    badges = own(FunctionLayer(centred, ("a",), ("b",), name="mean"), torch.randn(5))
    assert failed(badges) == {"batch against loop: values", "batch against loop: derivatives"}

    def outside(x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() * 2)

    badges = own(FunctionLayer(outside, ("a",), ("b",), name="numpy"), torch.randn(5))
    offender = worst_offender(badges)
    assert offender is not None and "it raises" in offender.note
    assert document(badges)["worst"]["error"] is None  # JSON knows no infinity
    assert verdict(badges)[0].startswith("numpy is wrong")


def test_a_nan_never_passes_and_is_the_worst() -> None:
    badges = [Badge("a", "q", 5.0, 1.0), Badge("b", "q", float("nan"), 1.0), Badge("chain", "q", 1e9, 1.0)]
    offender = worst_offender(badges)
    assert offender is not None and offender.layer == "b"
    assert worst_offender(badges[2:]) is badges[2]


def test_the_default_chain_can_be_trusted_at_a_lively_face() -> None:
    here = default_scene(Rig.load())
    chain = Pipeline([*here.layers[:2], FaceMesh.load(smoothing=0.3)])  # the render is in float64 already
    told: list[str] = []
    badges = trust_badges(chain, here.x, ["jawOpen", "browInnerUp", "headRotationY"], told.append)
    assert failed(list(badges)) == set()
    layers = ["deform"] * 3 + ["render"] * 4 + ["detect"] * 3 + ["chain"] * 4
    assert [badge.layer for badge in badges] == layers
    assert "checking render: outlines against supersampling" in told
    notes = {(badge.layer, badge.question): badge.note for badge in badges}
    assert "smooths it on purpose (0.3)" in notes["detect", "against differences"]
