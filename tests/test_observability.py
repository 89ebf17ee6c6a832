"""What a photo can tell of controls: recipes are real slider moves, reasons say what is the matter."""

import dataclasses

import pytest
import torch

from pipeline import uncertainty
from pipeline.chain import build_stand_in
from pipeline.config import Priors
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import FunctionLayer
from pipeline.detect.embedding import SCORED
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.face_prior import build_prior
from pipeline.inspection.findings import Columns, Observability
from pipeline.inspection.observability import observe
from pipeline.inspection.scene import Scene
from pipeline.layer import Pipeline
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera

NAMES = (
    "tongueOut", "mouthSmileLeft", "jawOpen", "jawForward", "mouthClose", "eyeLookInLeft", "eyeLookOutLeft",
    "browInnerUp", "mouthLowerDownLeft", "mouthLowerDownRight", "cheekPuff", "headRotationX",
)  # fmt: skip
POSE = {"headTranslationZ": -1.2}
VALUES = {"mouthSmileLeft": 1.0, "jawOpen": 0.2}


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A known head; the chain is its stand-in, so that columns cost nothing."""
    rig = Rig.load()
    focal, middle = torch.tensor(2000.0), torch.full((2,), 256.0)
    x = rig.controls.pack(POSE | VALUES, rig.controls.rest.clone())
    region = Region.around(build_stand_in(rig, Camera(focal, middle)).double()(x).float())
    camera = Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))
    stand_in = build_stand_in(rig, camera).double()
    return Scene(
        rig=rig,
        detector=FaceMesh(),
        spread=rig.landmark_spread,
        target=stand_in(x),
        chain=stand_in,
        stand_in=stand_in,
        x=x,
        objective=LandmarkObjective.towards(stand_in(x), stand_in, stand_in, Priors().residual_percent),
        prior=build_prior(rig, Priors(), dict.fromkeys(rig.identity_names, 0.0)),
        crop=None,
        has_target=False,
        at_fit=False,
        title="a portrait",
    )


@pytest.fixture(scope="module")
def columns(scene: Scene) -> Columns:
    space, at = scene.rig.controls, [scene.rig.controls.index(name) for name in NAMES]
    units = torch.eye(len(space)).double()[at]

    def of(layer: torch.nn.Module) -> torch.Tensor:
        return torch.stack([torch.func.jvp(layer, (scene.x,), (unit,))[1] for unit in units])

    controls = tuple(space.controls[k] for k in at)
    vertices, pixels = of(Deformer(scene.rig).double()), torch.zeros(len(at), 1, 1, 3)
    return Columns(controls, scene.x[at], vertices, pixels, of(scene.stand_in))


@pytest.fixture(scope="module")
def found(scene: Scene, columns: Columns) -> Observability:
    return observe(scene, columns)


def test_recipes_are_slider_moves_that_no_landmark_shows(scene: Scene, found: Observability) -> None:
    space = scene.rig.controls
    assert len(found.weakest) == 2
    for recipe in found.weakest:
        there = space.pack(
            {name: float(scene.x[space.index(name)]) + change for name, change in recipe.changes.items()},
            scene.x,
        )
        assert ((there >= space.low - 1e-9) & (there <= space.high + 1e-9)).all()
        shift = (scene.stand_in(there) - scene.stand_in(scene.x))[list(SCORED), :2].norm(dim=-1).max()
        assert float(shift) <= recipe.landmark_px <= uncertainty.VISIBLE_PX
        deform = Deformer(scene.rig).double()
        mesh = 1000 * float((deform(there) - deform(scene.x)).norm(dim=-1).max())
        assert mesh == pytest.approx(recipe.vertex_mm, rel=0.1) and mesh > 0.3
        assert len(recipe.changes) <= 5 and "tongueOut" not in recipe.changes
    first, second = (set(recipe.changes) for recipe in found.weakest)
    assert first != second


def test_what_is_not_seen_comes_first_and_says_so(found: Observability) -> None:
    name, why = found.least_determined[0]
    assert name == "tongueOut" and found.unobservable == ("tongueOut",)
    assert why.startswith(
        "tongueOut cannot be seen here: its full range moves no landmark by more than 0.1 px"
    )
    assert "; without the photo ± 0.3" in why
    left = (found.sd / found.prior_sd).tolist()
    worst = [left[found.names.index(name)] for name, _ in found.least_determined]
    assert len(worst) == 3 and min(worst) >= sorted(left)[-4]


def test_what_only_the_chain_shows_is_no_longer_unobservable(scene: Scene, columns: Columns) -> None:
    """A detector that answers to the tongue once it is out, and not before."""
    tongue = scene.rig.controls.index("tongueOut")

    def landmarks(x: torch.Tensor) -> torch.Tensor:
        return scene.stand_in(x) + 4 * x[..., tongue, None, None].square()

    chain = Pipeline([FunctionLayer(landmarks, ("control",), ("landmark", "xyz"))])
    found = observe(dataclasses.replace(scene, chain=chain), columns)
    assert found.unobservable == ()
    assert float(found.full_range_px[NAMES.index("tongueOut")]) == pytest.approx(4 * 2**0.5, rel=0.01)
    why = dict(found.least_determined)["tongueOut"]
    assert why.startswith("tongueOut does not show from here: about its value no landmark moves")


def test_reasons_name_the_end_of_a_range_and_weak_motion(scene: Scene, columns: Columns) -> None:
    reasons = dict(observe(scene, columns, directions=0, worst=len(NAMES)).least_determined)
    assert "at the end of its range: the photo says only that it is large" in reasons["mouthSmileLeft"]
    assert "as eyeLookOutLeft in this rig: no photo tells them apart" in reasons["eyeLookInLeft"]


def test_a_motion_smaller_than_the_errors_hardly_shows(scene: Scene, columns: Columns) -> None:
    faint = dataclasses.replace(columns, landmarks=columns.landmarks.clone())
    faint.landmarks[NAMES.index("browInnerUp")] *= 0.2
    reasons = dict(observe(scene, faint, directions=0, worst=len(NAMES)).least_determined)
    assert "browInnerUp hardly shows here" in reasons["browInnerUp"]


def test_held_controls_are_known_and_stay(scene: Scene, columns: Columns) -> None:
    low, high, jaw = scene.prior.low.clone(), scene.prior.high.clone(), scene.rig.controls.index("jawOpen")
    low[jaw] = high[jaw] = scene.x[jaw]
    held = dataclasses.replace(scene, prior=dataclasses.replace(scene.prior, low=low, high=high))
    found = observe(held, columns)
    assert float(found.sd[NAMES.index("jawOpen")]) == 0
    assert all("jawOpen" not in recipe.changes for recipe in found.weakest)
    assert f"Of {len(NAMES) - 1} controls" in found.sentences[0]


def test_a_control_that_another_imitates_is_named_with_it(scene: Scene, columns: Columns) -> None:
    """browInnerUp as the landmarks see it, given to another control as well."""
    twin = columns.landmarks.clone()
    source, copy = NAMES.index("browInnerUp"), NAMES.index("jawForward")
    twin[copy] = 4 * twin[source]
    doubled = Columns(columns.controls, columns.values, columns.vertices, columns.pixels, twin)
    found = observe(scene, doubled, directions=0, worst=len(NAMES))
    pair = next(one for one in found.trade_offs if {one.first, one.second} == {"browInnerUp", "jawForward"})
    assert pair.correlation < -0.3


def test_sd_and_singular_values_are_those_of_the_whitened_columns(
    scene: Scene, columns: Columns, found: Observability
) -> None:
    assert (found.singular_values.diff() <= 0).all() and len(found.singular_values) == len(NAMES)
    objective = scene.objective
    weight = uncertainty.whitening(objective, scene.spread, 2 * len(SCORED))[::2] * objective.per_pixel[::2]
    jaw = NAMES.index("jawOpen")
    column = (weight[:, None] * columns.landmarks[jaw, list(SCORED), :2]).flatten()
    alone = (column.square().sum() + 0.5).rsqrt()  # were all others known
    assert float(alone) < float(found.sd[jaw]) < float(found.prior_sd[jaw])
    assert found.singular_values[0] > column.norm()
    assert torch.isinf(found.prior_sd[NAMES.index("headRotationX")])
