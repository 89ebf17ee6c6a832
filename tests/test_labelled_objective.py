"""Labels against the chain: each point read from the detector or the rig, and a fit that finds them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.chain import build_stand_in
from pipeline.config import Priors
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.face_prior import build_prior
from pipeline.layer import Layer, Pipeline
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera
from pipeline.solve import levenberg_marquardt
from pipeline.target.faces import Settled
from pipeline.target.labels.labels import Labels
from pipeline.target.reading import converted, read_through
from pipeline.target.schemes import IBUG68, MEDIAPIPE478, WFLW98, Scheme
from pipeline.target.target import labelled, seen_by

# What the hand-placed sets have: chin, nose base, eye corners, outer lips, six of the inner.
PLACED = [8, 33, 36, 39, 42, 45, *range(48, 60), 61, 62, 63, 65, 66, 67]


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def stand_in(rig: Rig) -> Pipeline:
    return build_stand_in(rig, Camera(torch.tensor(1230.0), torch.full((2,), 128.0))).double()


@pytest.fixture(scope="module")
def smile(rig: Rig) -> Tensor:
    """(K,) float64 a face that smiles, in front of the camera."""
    pose = {"headTranslationY": 0.035, "headTranslationZ": -1.2, "headRotationY": 0.2}
    shape = {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "jawOpen": 0.2}
    return rig.controls.pack(pose | shape).double()


def labels_of(points: Tensor, scheme: Scheme, only: list[int] | None = None) -> Labels:
    """Labels at points `(478, 3)` of the mesh, of those that the scheme has."""
    own = converted(points, "mediapipe478", scheme.name)[:, :2]
    weights = (~own[:, 0].isnan()).double()
    if only is not None:
        weights[[i for i in range(len(scheme)) if i not in only]] = 0
    own[weights == 0] = torch.nan
    return Labels(own, weights, scheme, Path("me.json"))


class Sees(Layer):
    """A detector of another scheme that sees the mesh's points exactly."""

    name, input_axes, output_axes = "detect", ("landmark", "xyz"), ("landmark", "xyz")

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.scheme = scheme

    def forward(self, landmarks: Tensor) -> Tensor:
        return converted(landmarks, "mediapipe478", self.scheme)


def objective(
    stand_in: Pipeline, labels: Labels, detector: str | None, sigma_percent: float = 0.5
) -> LandmarkObjective:
    chain = Pipeline([stand_in, Sees(detector)]) if detector else stand_in
    reading = read_through(labels, detector)
    return LandmarkObjective(chain, stand_in, reading.comparison, reading.points, 75.0, sigma_percent)


@pytest.mark.parametrize("detector", ["mediapipe478", "ibug68", "wflw98", None])
@pytest.mark.parametrize("scheme", [IBUG68, WFLW98, MEDIAPIPE478], ids=lambda scheme: scheme.name)
def test_the_residual_is_zero_where_the_labels_are(
    stand_in: Pipeline, smile: Tensor, scheme: Scheme, detector: str | None
) -> None:
    problem = objective(stand_in, labels_of(stand_in(smile), scheme), detector)
    embedded = problem.embedded(smile)
    assert embedded.abs().max() < 1e-9
    residual, vjp = problem.residual_and_vjp(smile)
    slack = 15.0 if "wflw98" in (scheme.name, detector) else 1e-9  # lids half-way, but not quite
    assert residual.abs().max() < slack
    torch.testing.assert_close(problem.residual(smile), residual)
    assert vjp(residual).shape == smile.shape
    assert (problem.evaluations, problem.gradients) == (2, 1)


def test_half_the_mean_square_in_units_of_sigma(stand_in: Pipeline, smile: Tensor) -> None:
    labels = labels_of(stand_in(smile), IBUG68, PLACED)
    moved = Labels(labels.points + torch.tensor([3.0, 4.0]), labels.weights, IBUG68, labels.path)
    problem = objective(stand_in, moved, "mediapipe478", sigma_percent=2.0)
    residual = problem.residual(smile)
    assert float(residual.square().sum()) == pytest.approx((5 / (75 * 0.02)) ** 2)
    assert problem.percent(residual) == pytest.approx(100 * 5 / 75)


def test_labels_are_carried_into_the_view(stand_in: Pipeline, smile: Tensor) -> None:
    region = Region(torch.tensor([300.0, 200.0]), torch.tensor(128.0), torch.tensor(0.3))
    seen = stand_in(smile)
    photo = region.map_to_photo(seen.float())
    detected = seen_by(FaceMesh(), Settled(region, photo, 1.0), (region, photo))
    for only in (PLACED, PLACED[6:]):  # with and without the eye corners
        reading = read_through(labels_of(photo.double(), IBUG68, only), "mediapipe478")
        target = labelled(detected, reading.labels, FaceMesh())
        problem = LandmarkObjective(
            stand_in, stand_in, target.comparison, target.in_view, target.iod_in_view, 0.5
        )
        assert problem.percent(problem.residual(smile)) < 1e-3
        assert problem.iod == pytest.approx(float((seen[33] - seen[263])[:2].norm()), rel=1e-4)


def test_weights_count(stand_in: Pipeline, smile: Tensor) -> None:
    labels = labels_of(stand_in(smile), IBUG68, [36, 39, 42, 45, 48])
    labels.points[48] += 10  # the others agree
    labels.weights[48] = 4.0
    problem = objective(stand_in, labels, None)
    residual = problem.embedded(smile)  # half the weight of all is on the one that is off by 14 px
    assert float(residual.square().sum()) == pytest.approx(4 / 8 * 200 / (75 * 0.005) ** 2)
    assert problem.percent(residual) == pytest.approx(1 / 5 * 10 * 2**0.5 / 75 * 100)


def test_derivatives(stand_in: Pipeline, smile: Tensor, rig: Rig) -> None:
    problem = objective(stand_in, labels_of(stand_in(smile), WFLW98), "ibug68")
    assert problem.comparison.on_rig.any() and not problem.comparison.on_rig.all()
    direction = torch.randn(len(smile), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 50
    step = 1e-6 * direction
    difference = (problem.residual(smile + step) - problem.residual(smile - step)) / 2e-6
    residual, vjp = problem.residual_and_vjp(smile)
    probe = torch.linspace(-1, 1, len(residual), dtype=torch.float64)
    assert float(vjp(probe) @ direction) == pytest.approx(float(probe @ difference), rel=1e-5)
    difference = (problem.embedded(smile + step) - problem.embedded(smile - step)) / 2e-6
    torch.testing.assert_close(problem.stand_in(smile) @ direction, difference, rtol=1e-4, atol=1e-6)


def test_a_fit_finds_hand_placed_points(stand_in: Pipeline, smile: Tensor, rig: Rig) -> None:
    labels = labels_of(stand_in(smile), IBUG68, PLACED)
    noise = torch.randn(68, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = Labels(labels.points + 0.3 * noise, labels.weights, IBUG68, labels.path)
    problem = objective(stand_in, noisy, None)
    prior = build_prior(rig, Priors(), {})
    start = prior.project(rig.controls.pack({"headTranslationZ": -1.1}).double())
    x = levenberg_marquardt.minimize(
        problem.embedded_and_jacobian, problem.embedded, prior, start, steps=9, tolerance=1e-3
    )
    projected = converted(stand_in(x), "mediapipe478", "ibug68")[PLACED, :2]
    error = (projected - labels.points[PLACED]).norm(dim=-1).mean() / 75 * 100
    assert error < 1
    assert rig.controls.unpack(x)["mouthSmileLeft"] > 0.2


def test_the_report_says_what_was_read(stand_in: Pipeline, smile: Tensor) -> None:
    placed = read_through(labels_of(stand_in(smile), IBUG68, PLACED), "mediapipe478").report()
    assert "24 of ibug68's 68 points: 1 jaw, 1 nose, 4 eye, 12 lip and 6 inner lip points." in placed
    assert "24 are read from mediapipe478 (11 exact, 13 near)." in placed
    assert "44 are not labelled." in placed

    whole = read_through(labels_of(stand_in(smile), IBUG68), "mediapipe478").report()
    assert "52 of ibug68's 68 points: 1 jaw, 10 brow" in whole
    assert "16 jaw points left out, because the outline of a face in a photo is no fixed place" in whole
    assert "labelled" not in whole

    own = read_through(labels_of(stand_in(smile), IBUG68), "ibug68").report()
    assert "68 are the detector's own points." in own

    both = read_through(labels_of(stand_in(smile), WFLW98), "ibug68").report()
    assert "88 are read from ibug68" in both and "10 are read from the rig's embedding" in both


def test_trust_is_a_choice(stand_in: Pipeline, smile: Tensor) -> None:
    labels = labels_of(stand_in(smile), IBUG68)
    share = read_through(labels, "mediapipe478").comparison.share
    exact = share.max()  # an eye corner's
    torch.testing.assert_close(share[[0, 1, 11]] / exact, torch.full((3,), 0.5).double())  # chin, brows
    assert float(share.sum()) == pytest.approx(1)
    assert len(read_through(labels, "ibug68").comparison.share.unique()) == 1
    reading = read_through(labels, "mediapipe478", trust={"exact": 1, "near": 0.25, "outline": 0.1})
    assert len(reading.index) == 68
    share = reading.comparison.share
    torch.testing.assert_close(
        share[[0, 8, 17]] / share[36], torch.tensor([0.1, 0.25, 0.25], dtype=torch.float64)
    )


def test_too_few_points(stand_in: Pipeline, smile: Tensor) -> None:
    labels = labels_of(stand_in(smile), IBUG68, [0, 1, 2, 3, 4, 36, 45, 8])
    with pytest.raises(ChainRigError, match="only 3 points"):
        read_through(labels, "mediapipe478")
    with pytest.raises(ChainRigError, match="ibug86"):
        read_through(labels, "ibug86")


def test_labels_of_another_face(stand_in: Pipeline, smile: Tensor) -> None:
    found = stand_in(smile)
    reading = read_through(labels_of(found, IBUG68, PLACED), "mediapipe478")
    reading.require_face(found)
    with pytest.raises(ChainRigError, match="another size"):
        reading.require_face(found * 2)
    mirrored = labels_of(found[list(MEDIAPIPE478.twins)], IBUG68, PLACED)
    with pytest.raises(ChainRigError, match="right and left exchanged"):
        read_through(mirrored, "mediapipe478").require_face(found)
