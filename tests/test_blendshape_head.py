"""The scores X4′: names, invariances, derivatives, and as the end of a chain from pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import jacrev, jvp, vjp, vmap

from pipeline.detect.blendshape_head import READ, SCORES, BlendshapeHead
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Pipeline

REFERENCE = Path(__file__).parent / "data" / "runtime_reference.npz"


@pytest.fixture(scope="module")
def faces() -> Tensor:
    """(2, 478, 3) a smile, and a calm face in near-profile; pixels of a photo."""
    recorded = np.load(REFERENCE)
    return torch.from_numpy(np.stack([recorded[f"{n}/landmarks"][0] for n in ("example", "profile_left")]))


@pytest.fixture(scope="module")
def head() -> BlendshapeHead:
    return BlendshapeHead.load()


@pytest.fixture()
def exact() -> BlendshapeHead:
    return BlendshapeHead.load().double()


def test_the_astronaut_smiles_and_the_resting_rig_does_not(faces: Tensor, head: BlendshapeHead) -> None:
    smiling, calm = (dict(zip(SCORES, scores.tolist(), strict=True)) for scores in head(faces))
    for side in ("Left", "Right"):
        assert smiling[f"mouthSmile{side}"] > 0.8 > 0.2 > calm[f"mouthSmile{side}"]
    assert smiling["jawOpen"] < 0.1
    assert len(set(SCORES)) == 52


def test_where_and_how_large_does_not_matter_how_turned_does(faces: Tensor, exact: BlendshapeHead) -> None:
    points = faces.double()
    torch.testing.assert_close(exact(3 * points + 70), exact(points))
    torch.testing.assert_close(exact(points[..., :2]), exact(points))  # z is not read
    turned = torch.stack([-points[..., 1], points[..., 0]], -1)
    assert (exact(turned) - exact(points)).abs().max() > 0.1


def test_a_batch_is_its_singles_and_vmap_is_the_batch(faces: Tensor, head: BlendshapeHead) -> None:
    together = head(faces[:, None])
    assert together.shape == (2, 1, 52)
    torch.testing.assert_close(together[:, 0], torch.stack([head(face) for face in faces]))
    torch.testing.assert_close(vmap(head)(faces), head(faces))


def test_float32_is_float64_to_its_precision(
    faces: Tensor, head: BlendshapeHead, exact: BlendshapeHead
) -> None:
    assert exact(faces.double()).dtype == torch.float64
    torch.testing.assert_close(head(faces).double(), exact(faces.double()), atol=1e-5, rtol=0)


def test_derivatives_are_central_differences_and_adjoint(faces: Tensor, exact: BlendshapeHead) -> None:
    x = faces.double()
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    h = 1e-6  # pixels
    difference = (exact(x + h * d) - exact(x - h * d)) / (2 * h)
    y, along = jvp(exact, (x,), (d,))[:2]
    assert (along - difference).norm() < 1e-7 * difference.norm()
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    (back,) = vjp(exact, x)[1](g)
    assert abs((back * d).sum() - (g * along).sum()) < 1e-9 * (g * along).sum().abs()


def test_only_the_landmarks_that_it_reads_move_it(faces: Tensor, head: BlendshapeHead) -> None:
    J = jacrev(head)(faces[0])  # [52, 478, 3]
    moved = J.abs().amax((0, 2)).nonzero().flatten().tolist()
    assert moved == sorted(READ) and len(READ) == 146
    assert not J[..., 2].any()


def test_a_point_in_the_very_middle_has_a_derivative(exact: BlendshapeHead) -> None:
    """Its distance from the middle has none; a subgradient of 0 stands in."""
    x = torch.zeros(478, 2, dtype=torch.float64)
    half = torch.arange(146.0, dtype=torch.float64).view(73, 2)
    half[0] = 0
    x[list(READ)] = torch.cat([half, -half])  # whole numbers: the mean is exactly the first of them
    assert vjp(exact, x)[1](torch.ones(52, dtype=x.dtype))[0].isfinite().all()
    assert jvp(exact, (x,), (torch.ones_like(x),))[1].isfinite().all()


def test_it_ends_a_chain_from_pixels(head: BlendshapeHead) -> None:
    crop = torch.from_numpy(np.load(REFERENCE.parent / "detector_reference.npz")["crops"][:1]).float() / 255
    chain = Pipeline([FaceMesh.load(), head])
    scores, back = vjp(chain, crop)[:2]
    assert scores.shape == (1, 52) and chain.output_axes == ("score",)
    smile = torch.zeros_like(scores)
    smile[0, SCORES.index("mouthSmileLeft")] = 1
    (gradient,) = back(smile)
    rows = gradient.square().sum((0, 2, 3))
    assert rows[100:].sum() > rows[:100].sum() > 0  # rather the mouth than the forehead


def test_what_is_refused(head: BlendshapeHead) -> None:
    for shape in ((468, 3), (478,), (478, 4)):
        with pytest.raises(ValueError, match="478, 2 or 3"):
            head(torch.zeros(shape))
