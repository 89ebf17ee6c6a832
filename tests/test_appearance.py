"""Light, colours and focal length from a picture: what was put in comes out, and a photo is followed."""

import json
import math

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from pipeline import assets
from pipeline.appearance import Appearance, estimate, face_mask, photometric_error
from pipeline.appearance_prior import UNKNOWNS, decode
from pipeline.chain import build_renderer
from pipeline.cli import app
from pipeline.config import Config, load_config
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.focal import estimate_focal
from pipeline.outputs.fit_json import fit_json
from pipeline.render.camera import Camera
from pipeline.render.head_texture import SKIN_TONES, HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

FROM_THE_SIDE = torch.tensor([1.0, 0.2, 0.4])


class Head:
    """The rig in front of a camera, in the light and colours of a person."""

    def __init__(self) -> None:
        self.rig, self.texture = Rig.load(), HeadTexture.load()
        self.camera = Camera(torch.tensor(1000.0), torch.tensor([128.0, 118.0]))
        self.material = Material(self.texture())
        controls = self.rig.controls.pack({"headTranslationZ": -1.0, "headRotationY": 0.2}).float()
        self.vertices = Deformer(self.rig)(controls)
        height, width = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
        self.mask = ((width - 128) / 60) ** 2 + ((height - 130) / 70) ** 2 < 1  # inside the face

    @torch.no_grad()
    def seen(self, material: Material, light: Light) -> Tensor:
        return build_renderer(self.rig, self.camera, material, light)(self.vertices).clamp(0, 1)

    def person(self, tone: str) -> Tensor:
        """A picture of somebody of a tone in light from the left side of the picture's right."""
        texture = HeadTexture.load(skin=SKIN_TONES[tone], lip=(0.9, 0.4, 0.5), iris=(0.03, 0.06, 0.12))
        light = Light(torch.tensor([0.22, 0.22, 0.24]), torch.tensor([1.4, 1.3, 1.2]), FROM_THE_SIDE)
        return self.seen(Material(texture()), light)

    def found(self, photo: Tensor) -> Appearance:
        renderer = build_renderer(self.rig, self.camera, self.material)
        return estimate(renderer, self.texture, self.vertices, photo, self.mask)

    def error(self, appearance: Appearance, photo: Tensor, mask: Tensor) -> float:
        return photometric_error(self.seen(appearance.material(self.texture), appearance.light), photo, mask)


@pytest.fixture(scope="module")
def head() -> Head:
    return Head()


def degrees_between(a: Tensor, b: Tensor) -> float:
    return math.degrees(math.acos(float(torch.nn.functional.cosine_similarity(a, b, dim=0))))


@pytest.mark.parametrize("tone", ["light", "dark"])
def test_known_light_and_tone_are_found(head: Head, tone: str) -> None:
    photo = head.person(tone)
    appearance = head.found(photo)
    assert head.error(appearance, photo, head.mask) < 0.015
    assert head.error(Appearance.default(), photo, head.mask) > 0.05
    assert degrees_between(appearance.light.direction, FROM_THE_SIDE) < 20
    skin, truth = torch.tensor(appearance.colours["skin"]), torch.tensor(SKIN_TONES[tone])
    assert (skin.log() - truth.log()).abs().max() < math.log(1.5)
    others = [torch.tensor(SKIN_TONES[name]).log() for name in SKIN_TONES if name != tone]
    assert all((skin.log() - truth.log()).norm() < (skin.log() - other).norm() for other in others)


def test_a_covered_quarter_of_the_face_does_not_spoil_the_rest(head: Head) -> None:
    photo = head.person("medium")
    covered, rest = photo.clone(), head.mask.clone()
    covered[118:, 128:] = torch.tensor([0.05, 0.5, 0.1])  # a green scarf
    rest[118:, 128:] = False
    appearance = head.found(covered)
    assert head.error(appearance, covered, rest) < 0.02
    assert degrees_between(appearance.light.direction, FROM_THE_SIDE) < 25


def test_light_is_white_unless_the_eyes_say_otherwise(head: Head) -> None:
    """A dark red brown face is dark skin, not light skin in red light."""
    ambient = head.found(head.person("dark")).light.ambient
    assert float(ambient.max() / ambient.min()) < 1.5


def test_the_mask_is_the_inside_of_the_landmarks() -> None:
    angles = torch.linspace(0, 2 * math.pi, 479)[:-1]
    circle = torch.stack([100 + 50 * angles.cos(), 120 + 50 * angles.sin(), 0 * angles], dim=-1)
    mask = face_mask(circle, 256)
    assert mask[120, 100] and mask[120, 140] and not mask[120, 160] and not mask[20, 20]
    assert 0.9 < float(mask.sum()) / (math.pi * 50**2) < 1.02


def test_with_nothing_to_see_the_default_light_stays() -> None:
    light, _ = decode(torch.zeros(UNKNOWNS, dtype=torch.float64))
    assert torch.allclose(light.ambient.float(), Light.default().ambient)
    assert torch.allclose(light.direction.float(), Light.default().direction)
    assert not light.harmonics.any()


def test_a_head_beside_the_face_is_refused(head: Head) -> None:
    renderer = build_renderer(head.rig, head.camera, head.material)
    with pytest.raises(ChainRigError, match="does not cover the face"):
        estimate(
            renderer, head.texture, head.vertices, head.person("tan"), torch.zeros(256, 256, dtype=torch.bool)
        )


@pytest.fixture(scope="module")
def fitter() -> FaceFitter:
    return FaceFitter(load_config(None, ["fit.iterations=8"]))


def test_near_heads_are_told_from_far_ones(fitter: FaceFitter) -> None:
    """Landmarks of the rig itself, taken from half and from four times the distance that is assumed."""
    photo = read_photo(assets.path("example.png"))
    target = fitter.target(photo, find_faces(photo.pixels)[0])
    assumed = fitter.camera(photo, target)
    index = fitter.rig.controls.index("headTranslationZ")
    found = []
    for factor in (0.4, 4.0):
        objective = fitter.objective(target, assumed)
        true = Camera(assumed.focal_px * factor, assumed.principal_point_px, assumed.view, assumed.size)
        x = fitter.first_guess(target, true)
        seen = fitter.objective(target, true).stand_in_chain(x)
        objective.target = objective.comparison.embedded(seen)
        objective.chain = (
            objective.stand_in_chain.float()
        )  # no pixels: what the detector adds is another question
        objective.stand_in_chain = fitter.objective(target, assumed).stand_in_chain
        start = fitter.warm_start(objective, fitter.first_guess(target, assumed))
        estimate = estimate_focal(objective, fitter.prior, start, index, assumed, spread=0.5)
        assert estimate.x[index] / start[index] == pytest.approx(
            float(estimate.focal_px / assumed.focal_px), rel=0.1
        )
        assert 0 < estimate.spread < 0.5
        found.append(float(estimate.focal_px / assumed.focal_px))
    assert found[0] < 0.7 and found[1] > 1.2


def test_the_example_is_followed_and_its_landmarks_come_no_worse(fitter: FaceFitter) -> None:
    photo = read_photo(assets.path("example.png"))
    (face,) = find_faces(photo.pixels)
    fixed = FaceFitter(load_config(None, ["fit.iterations=8", "appearance.fit=false"])).fit(photo, face)
    result = fitter.fit(photo, face)
    assert fixed.appearance is None
    assert "appearance" not in json.loads(fit_json(fixed, 0))
    assert result.residual_final <= fixed.residual_final + 0.05
    assert result.appearance is not None
    assert result.appearance.error_final < 0.6 * result.appearance.error_start
    document = json.loads(fit_json(result, 0))
    assert document["appearance"]["colours"]["skin"] == pytest.approx(result.appearance.colours["skin"])
    assert document["appearance"]["distance_m"] == pytest.approx(-document["pose"]["translation_m"][2])

    # The overlay's picture shows it, too.
    rgba = result.picture.rgba.float() / 255
    other = fixed.picture.rgba.float() / 255
    seen = (rgba[..., 3] == 1) & (other[..., 3] == 1)
    assert rgba[seen][:, :3].mean() > other[seen][:, :3].mean() + 0.05  # she is paler than the default


def test_a_known_focal_length_stays(fitter: FaceFitter) -> None:
    config = load_config(None, ["camera.focal_px=700"])
    photo = read_photo(assets.path("example.png"))
    assert FaceFitter(config).known_focal(photo) == 700
    assert FaceFitter(Config()).known_focal(photo) is None


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], (True, False)),
        (["--no-appearance"], (False, False)),
        (["--estimate-focal"], (True, True)),
    ],
)
def test_the_options_choose(
    options: list[str], wanted: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []

    def fitter(config: Config) -> None:
        configs.append(config)
        raise ChainRigError("That is all.")

    monkeypatch.setattr("pipeline.fit.FaceFitter", fitter)
    CliRunner().invoke(app, ["fit", str(assets.path("example.png")), "--quiet", *options])
    assert [(config.appearance.fit, config.camera.estimate) for config in configs] == [wanted]


def test_a_face_too_little_of_which_is_seen_keeps_the_default(
    fitter: FaceFitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = read_photo(assets.path("example.png"))
    target = fitter.target(photo, find_faces(photo.pixels)[0])
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    x = fitter.first_guess(target, camera)
    assert fitter.dress(photo, target, camera, objective, x).found is not None
    monkeypatch.setattr("pipeline.appearance.FEWEST", 10**6)
    assert fitter.dress(photo, target, camera, objective, x) is fitter.studio.default


def test_the_focal_length_is_estimated_where_nothing_tells_it() -> None:
    photo = read_photo(assets.path("example.png"))
    fitter = FaceFitter(load_config(None, ["camera.estimate=true"]))
    target = fitter.target(photo, find_faces(photo.pixels)[0])
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    x = fitter.warm_start(objective, fitter.first_guess(target, camera))
    found, spread, moved = fitter.better_camera(photo, camera, objective, x)
    assert spread is not None and 0 < spread < 0.5 and found.focal_px != camera.focal_px
    away = fitter.rig.controls.index("headTranslationZ")
    assert float(moved[away] / x[away]) == pytest.approx(float(found.focal_px / camera.focal_px), rel=0.05)
    assert objective.percent(objective.embedded(moved)) < objective.percent(objective.embedded(x)) + 0.05
    told = FaceFitter(load_config(None, ["camera.estimate=true", "camera.focal_px=900"]))
    assert told.better_camera(photo, camera, objective, x) == (camera, None, x)
