"""The detector's networks against the original ones, and their derivatives against differences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from pipeline.detect.blazeface import BlazeFace, Boxes, merge
from pipeline.detect.facemesh import FaceMesh

REFERENCE = Path(__file__).parent / "data" / "detector_reference.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return dict(np.load(REFERENCE))


@pytest.fixture(scope="module")
def crops(reference: dict[str, np.ndarray]) -> Tensor:
    """(3, 256, 256, 3): a face, coloured squares, plain grey."""
    return torch.from_numpy(reference["crops"]).float() / 255


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return FaceMesh.load()


@pytest.fixture()
def exact() -> FaceMesh:
    return FaceMesh.load().double()


def direction(like: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def test_landmarks_and_presence_are_the_original_networks(reference, crops, mesh):
    found = mesh.forward_full(crops)
    theirs = torch.from_numpy(reference["landmarks"]) + torch.tensor([0.5, 0.5, 0.0])
    assert (found.landmarks - theirs).abs().max() < 1e-2
    torch.testing.assert_close(found.presence, torch.sigmoid(torch.from_numpy(reference["presence_logit"])))
    assert found.presence[0] > 0.99 and found.presence[1:].max() < 0.01


def test_blazeface_is_the_original_network(reference):
    pictures = torch.from_numpy(reference["pictures"]).float() / 255
    logits, boxes = BlazeFace.load()(pictures)
    assert (logits - torch.from_numpy(reference["logits"])).abs().max() < 1e-3
    assert (boxes - torch.from_numpy(reference["boxes"])).abs().max() < 1e-2  # pixels of 128


def test_blazefaces_derivative_is_the_central_difference(reference):
    finder = BlazeFace.load().double()
    x = torch.from_numpy(reference["pictures"]).double() / 255
    x = x + 1e-3 * direction(x, seed=2)  # in plain surfaces several pixels are the largest of a pool
    d = direction(x)
    y, along = jvp(finder, (x,), (d,))[:2]
    h = 1e-8
    ahead, behind = finder(x + h * d), finder(x - h * d)
    for slope, one, other in zip(along, ahead, behind, strict=True):
        difference = (one - other) / (2 * h)
        assert (slope - difference).norm() < 1e-5 * difference.norm()
    g = tuple(direction(value, seed=1) for value in y)
    (back,) = vjp(finder, x)[1](g)
    inner = sum((a * b).sum() for a, b in zip(g, along, strict=True))
    assert abs((back * d).sum() - inner) < 1e-9 * abs(inner)


def test_a_batch_is_its_singles(crops, mesh):
    together = mesh(crops[:, None])  # leading dimensions (3, 1)
    assert together.shape == (3, 1, 478, 3)
    for one, single in zip(together[:, 0], crops, strict=True):
        torch.testing.assert_close(one, mesh(single), atol=1e-3, rtol=0)


def test_vmap_is_the_batch(crops, mesh):
    torch.testing.assert_close(vmap(mesh)(crops[:2]), mesh(crops[:2]), atol=1e-3, rtol=0)


def test_jvp_is_the_central_difference(crops, exact):
    x = crops[0].double()
    d = direction(x)
    _, along = jvp(exact, (x,), (d,))[:2]
    h = 1e-8  # the network is piecewise affine with fine kinks: larger steps cross some
    difference = (exact(x + h * d) - exact(x - h * d)) / (2 * h)
    assert (along - difference).norm() < 1e-5 * difference.norm()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_reverse_mode_is_the_adjoint_of_forward_mode(crops, exact, smoothing):
    exact.smoothing = smoothing
    x = crops[0].double()
    d = direction(x)
    y, along = jvp(exact, (x,), (d,))[:2]
    g = direction(y, seed=1)
    (back,) = vjp(exact, x)[1](g)
    assert abs((back * d).sum() - (g * along).sum()) < 1e-9 * abs((g * along).sum())


def test_smoothing_changes_the_derivative_and_not_the_value(crops, mesh):
    x = crops[0]
    d = direction(x)
    smooth = FaceMesh.load(smoothing=0.3)
    y, along = jvp(mesh, (x,), (d,))[:2]
    y_smooth, along_smooth = jvp(smooth, (x,), (d,))[:2]
    assert torch.equal(mesh(x), smooth(x))
    torch.testing.assert_close(y, y_smooth, atol=1e-3, rtol=0)
    assert (along - along_smooth).norm() > 0.1 * along.norm()
    smooth.smoothing = 1e-5  # a step so narrow that it is the network's own
    narrow = jvp(smooth, (x,), (d,))[1]
    assert (along - narrow).norm() < 1e-2 * along.norm()


def test_smooth_derivatives_of_a_batch_are_those_of_its_singles(crops, exact):
    exact.smoothing = 0.3
    x = crops[:2].double()
    d = direction(x)
    together = jvp(exact, (x,), (d,))[1]
    mapped = vmap(lambda x, d: jvp(exact, (x,), (d,))[1])(x, d)
    single = jvp(exact, (x[1],), (d[1],))[1]
    torch.testing.assert_close(mapped, together)
    torch.testing.assert_close(single, together[1])


class Shallow(FaceMesh):
    """The same parts, a quarter of the blocks: quicker to trace."""

    BLOCKS = 1


@pytest.mark.parametrize("make", [FaceMesh.load, lambda: Shallow(smoothing=0.3)], ids=["exact", "smooth"])
def test_it_compiles_to_one_graph_with_the_same_derivative(crops, make):
    torch.manual_seed(0)
    network = make()
    # Traced only, as not every machine has a compiler for the code that would be generated.
    compiled = torch.compile(network, backend="eager", fullgraph=True)

    def value_and_gradient(function):
        x = crops[:1].clone().requires_grad_()
        y = function(x)
        return y.detach(), torch.autograd.grad(y, x, direction(y))[0]

    torch.testing.assert_close(value_and_gradient(compiled), value_and_gradient(network))


def test_float32_is_float64_to_a_hundredth_of_a_pixel(crops, mesh, exact):
    assert exact(crops[0].double()).dtype == torch.float64
    assert (mesh(crops) - exact(crops.double())).abs().max() < 1e-2


def test_what_is_refused(mesh):
    with pytest.raises(ValueError, match="256"):
        mesh(torch.zeros(128, 128, 3))
    with pytest.raises(ValueError, match="smoothing"):
        FaceMesh(smoothing=-1)


def test_boxes_of_one_face_are_merged_by_score():
    box = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [2, 2, 5, 5]])
    boxes = Boxes(box, torch.zeros(4, 6, 2), torch.tensor([0.9, 0.6, 0.7, 0.8]))
    merged = merge(boxes)
    # the second box joins the first, weighted 0.6 : 0.9; the last lies inside the first: a part of the face
    torch.testing.assert_close(merged.box, torch.tensor([[0.4, 0, 10.4, 10], [50, 50, 60, 60]]))
    torch.testing.assert_close(merged.score, torch.tensor([0.9, 0.7]))
