"""Fits side by side: what they share, and that each gets what it would get alone."""

import copy
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from pipeline import assets
from pipeline.chain import build_chain, together
from pipeline.config import load_config
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.fit import FaceFitter
from pipeline.layer import Layer, Pipeline
from pipeline.lockstep import SharedChain, run_together
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo


@pytest.fixture(scope="module")
def chains() -> list[SharedChain]:
    """Three views of one rig in float64, each with its own camera, light and colours."""
    rig, detector = Rig.load(), FaceMesh.load()
    deform, texture = Deformer(rig), HeadTexture.load()()
    found = []
    for i in range(3):
        camera = Camera(torch.tensor(1230.0 + 60 * i), torch.tensor([128.0, 120 + 4 * i]))
        light = Light(
            torch.full((3,), 0.3 + 0.1 * i), torch.full((3,), 1.0), torch.tensor([0.2 * i, 0.4, 1.0])
        )
        material = Material(texture * (1 - 0.2 * i))
        chain = build_chain(rig, camera, detector, material, light, deform)
        found.append(SharedChain(chain).double())
    return found


@pytest.fixture(scope="module")
def controls() -> list[Tensor]:
    space = Rig.load().controls
    values = {"headTranslationY": 0.035, "headTranslationZ": -1.2}
    return [space.pack(values | {"jawOpen": 0.2 * i, "headRotationY": 0.1 * i}, space.rest) for i in range(3)]


def asks(chain: Pipeline, x: Tensor, pulls: int = 1) -> Callable[[], list[Tensor]]:
    """A program: landmarks, then `pulls` derivatives, then landmarks at another place."""

    def program() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        seen = chain(leaf)
        answers = [seen.detach()]
        for k in range(pulls):
            v = torch.linspace(-1, 1 + k, seen.numel(), dtype=seen.dtype).view_as(seen)
            answers.append(torch.autograd.grad(seen, leaf, v, retain_graph=True)[0])
        return [*answers, chain(x + 0.001)]

    return program


def test_programs_get_what_they_would_get_alone(chains: list[SharedChain], controls: list[Tensor]) -> None:
    programs = [asks(chain, x, pulls) for chain, x, pulls in zip(chains, controls, (1, 2, 0), strict=True)]
    for shared, program in zip(run_together(programs), programs, strict=True):
        for ours, alone in zip(shared, program(), strict=True):
            torch.testing.assert_close(ours, alone, rtol=1e-6, atol=1e-9)


class Counted(Layer):
    """x², which keeps the size of every batch that it sees."""

    one: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.ones((), dtype=torch.float64))
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.one * x * x


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """A chain of one layer in place of the real one's three."""
    monkeypatch.setattr("pipeline.lockstep.together", lambda chains: chains[0].layers[0])
    return Counted()


def test_passes_are_shared_while_there_are_several(squares: Counted) -> None:
    chain = SharedChain([squares])

    def program(times: int) -> Callable[[], Tensor]:
        def run() -> Tensor:
            x = torch.full((2,), float(times), dtype=torch.float64)
            for _ in range(times):
                x = chain(x) / x
            return x

        return run

    found = run_together([program(times) for times in (1, 2, 4)])
    assert [float(x[0]) for x in found] == [1.0, 2.0, 4.0]
    assert squares.seen == [3, 2, 1, 1]


def test_who_wants_a_derivative_does_not_burden_the_others(squares: Counted) -> None:
    chain = SharedChain([squares])
    x = torch.tensor([3.0], dtype=torch.float64)

    def derived() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(chain(leaf).sum(), leaf)[0]

    values = run_together([derived, lambda: chain(x), derived, lambda: chain(2 * x)])
    assert [float(value) for value in values] == [6, 9, 6, 36]
    assert squares.seen == [2, 2]


def test_one_that_fails_leaves_the_others_their_results(squares: Counted) -> None:
    chain, ended = SharedChain([squares]), []

    def fails() -> None:
        chain(torch.ones(2, dtype=torch.float64))
        raise ValueError("no face")

    def works() -> None:
        chain(chain(torch.ones(2, dtype=torch.float64)))
        ended.append(True)

    with pytest.raises(ValueError, match="no face"):
        run_together([works, fails, works])
    assert ended == [True, True]


def test_a_pass_that_fails_alone_fails_for_who_asked(
    squares: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Counted.forward

    def no_threes(self: Counted, x: Tensor) -> Tensor:
        if (x == 3).any():
            raise RuntimeError("no threes")
        return plain(self, x)

    monkeypatch.setattr(Counted, "forward", no_threes)
    chain = SharedChain([squares])

    def program(value: float) -> Callable[[], str]:
        def run() -> str:
            try:
                return str(float(chain(torch.tensor([value], dtype=torch.float64))))
            except RuntimeError as error:
                return str(error)

        return run

    assert run_together([program(2), program(3), program(4)]) == ["4.0", "no threes", "16.0"]
    assert threading.active_count() < 20  # programs have ended


def test_what_fails_in_a_batch_is_done_one_by_one(squares: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Counted.forward

    def small_only(self: Counted, x: Tensor) -> Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, x)

    monkeypatch.setattr(Counted, "forward", small_only)
    chain, x = SharedChain([squares]), torch.tensor([3.0], dtype=torch.float64)
    assert [float(value) for value in run_together([lambda: chain(x), lambda: chain(2 * x)])] == [9, 36]


def test_a_program_that_exits_is_heard_of() -> None:
    with pytest.raises(SystemExit):
        run_together([sys.exit, lambda: None])


def test_chains_that_draw_otherwise_do_not_run_together(chains: list[SharedChain]) -> None:
    deform, renderer, detector = chains[1]
    coarse = copy.copy(renderer)
    assert isinstance(coarse, Renderer)
    coarse.samples = 1
    with pytest.raises(ValueError, match="in one size and manner"):
        together([chains[0], Pipeline([deform, coarse, detector])])


def test_chains_of_different_rigs_do_not_run_together(chains: list[SharedChain]) -> None:
    other = Pipeline([Deformer(Rig.load()), *list(chains[1])[1:]])
    with pytest.raises(ValueError, match="one deformer"):
        together([chains[0], other])


def test_faces_fitted_side_by_side_come_out_as_alone() -> None:
    """Rounding differs in a batch, by less than that of the controls does (0.0002 and 0.003 px), but fits
    make more of it at every step."""
    photo = read_photo(assets.path("example.png"))
    mirrored = replace(photo, pixels=photo.pixels.flip(1))
    fitter = FaceFitter(load_config(None, ["fit.iterations=2", "render.samples=1"]))
    photos = [photo, mirrored]
    programs = [partial(fitter.fit, one, find_faces(one.pixels)[0]) for one in photos]
    for shared, alone in zip(run_together(programs), [program() for program in programs], strict=True):
        assert shared.evaluations == alone.evaluations
        assert abs(shared.residual_final - alone.residual_final) < 0.03
        apart = [abs(shared.controls[name] - value) for name, value in alone.controls.items()]
        assert max(apart) < 0.1 and sum(apart) / len(apart) < 0.005
        assert (shared.render - alone.render).norm(dim=-1).max() < 1
