"""Depth and blendshape scores as residuals beside the points."""

import pytest
import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.chain import build_stand_in
from pipeline.config import Landmarks
from pipeline.deform.rig import Rig
from pipeline.detect.blendshape_head import SCORES, BlendshapeHead
from pipeline.detection_terms import detection_terms
from pipeline.errors import ChainRigError
from pipeline.layer import Pipeline
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera


@pytest.fixture(scope="module")
def stand_in() -> Pipeline:
    return build_stand_in(Rig.load(), Camera(torch.tensor(1230.0), torch.full((2,), 128.0))).double()


@pytest.fixture(scope="module")
def smile() -> Tensor:
    """(K,) float64 a face that smiles, in front of the camera."""
    pose = {"headTranslationY": 0.035, "headTranslationZ": -1.2, "headRotationY": 0.2}
    return Rig.load().controls.pack(pose | {"mouthSmileLeft": 0.6, "jawOpen": 0.2}).double()


def objective(stand_in: Pipeline, seen: Tensor, **settings: float) -> LandmarkObjective:
    plain = LandmarkObjective.towards(seen, stand_in, stand_in, 0.2)
    terms = detection_terms(Landmarks.model_validate(settings), seen, plain.iod, 0.2)
    return LandmarkObjective.towards(seen, stand_in, stand_in, 0.2, terms=terms)


def test_residuals_are_zero_where_the_photo_is_and_change_with_the_face(
    stand_in: Pipeline, smile: Tensor
) -> None:
    problem = objective(stand_in, stand_in(smile), depth=0.5, scores=3.0)
    residual = problem.residual(smile)
    assert residual.shape == (884 + 442 + 52,) and residual.abs().max() < 1e-5
    straight = smile.clone()
    straight[Rig.load().controls.index("mouthSmileLeft")] = 0
    points, depth, scores = problem.residual(straight).split([884, 442, 52])
    assert depth.norm() > 0.01 * points.norm() and int(scores.abs().argmax()) in smiles()
    assert problem.percent(problem.residual(straight)) == pytest.approx(
        objective(stand_in, stand_in(smile)).percent(points)
    )  # what is quoted is the distance of points


def smiles() -> list[int]:
    return [SCORES.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]


def test_scores_are_the_head_s(stand_in: Pipeline, smile: Tensor) -> None:
    seen = stand_in(smile)
    there = stand_in(smile + 0.05)
    residual = objective(stand_in, seen, scores=2.0).of_embedded(there)[884:]
    head = BlendshapeHead.load().double()
    torch.testing.assert_close(residual, 2 * (head(there) - head(seen)), atol=1e-5, rtol=1e-5)


def test_derivatives(stand_in: Pipeline, smile: Tensor) -> None:
    problem = objective(stand_in, stand_in(smile + 0.02), depth=0.5, scores=3.0)
    direction = torch.randn(len(smile), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 50
    step = 1e-5 * direction
    difference = (problem.residual(smile + step) - problem.residual(smile - step)) / 2e-5
    _, jacobian = problem.embedded_and_jacobian(smile)
    torch.testing.assert_close(jacobian @ direction, difference, rtol=1e-5, atol=1e-6)
    residual, vjp = problem.residual_and_vjp(smile)
    probe = torch.linspace(-1, 1, len(residual), dtype=torch.float64)
    torch.testing.assert_close(vjp(probe) @ direction, probe @ difference, rtol=1e-5, atol=1e-6)


def test_terms_count_in_the_uncertainty(stand_in: Pipeline, smile: Tensor) -> None:
    rig, sd = Rig.load(), []
    for settings in ({}, {"depth": 1.0}):
        problem = objective(stand_in, stand_in(smile), **settings)
        residual = problem.residual(smile)
        weight = uncertainty.whitening(problem, rig.landmark_spread, len(residual))
        jacobian = uncertainty.cheap_jacobian(problem, rig, smile) * weight[:, None]
        sd.append(torch.linalg.inv(jacobian.T @ jacobian + torch.eye(len(smile)).double()).diagonal())
    assert (sd[1] < sd[0] + 1e-9).all() and sd[1].mean() < sd[0].mean()


def test_other_detectors_have_neither() -> None:
    assert detection_terms(Landmarks(), torch.zeros(68, 2), 80.0, 0.2) == ()
    with pytest.raises(ChainRigError, match="need facemesh"):
        detection_terms(Landmarks(depth=0.1), torch.zeros(68, 2), 80.0, 0.2)


def test_depth_counts_from_the_face_s_own_middle(stand_in: Pipeline, smile: Tensor) -> None:
    seen = stand_in(smile)
    problem = objective(stand_in, seen, depth=0.5)
    nearer = seen + torch.tensor([0.0, 0.0, 7.0])  # where z is 0 is the network's own affair
    assert problem.of_embedded(nearer).abs().max() < 1e-9
