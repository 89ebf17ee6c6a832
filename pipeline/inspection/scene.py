"""The chain as a fit left it, or before a camera of its own: what is inspected, and at which controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.chain import build_chain, build_deformer, build_stand_in
from pipeline.config import Config
from pipeline.controls_file import ControlsFile, PhotoCamera, SeenPhoto, read_controls
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.axes import Axis
from pipeline.detect.detectors import load_detector
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.region import Region
from pipeline.detector_bias.known import known_errors, spread_of
from pipeline.errors import ChainRigError
from pipeline.face_prior import build_prior
from pipeline.inspection.face_regions import landmarks_of
from pipeline.inspection.findings import View
from pipeline.layer import Pipeline
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import NEAR_M, Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material
from pipeline.rigs.fittable import fittable_rig
from pipeline.rigs.texture import texture_of
from pipeline.solve.priors import Prior
from pipeline.subject import read_subject
from pipeline.target.photo import Photo, read_photo
from pipeline.target.reading import read_through, trusting
from pipeline.target.schemes import scheme
from pipeline.uncertainty import belief

# Width of the detector's smooth rectifier in its derivative. A fit takes a larger one, with which directions
# over a useful step are as good, and lengths half of what they are; here lengths count.
SMOOTHING = 0.03
PLAIN = PhotoCamera(4000.0, (500.0, 500.0), 1000, 1000)  # a metre away, a face is a view of 1000 pixels


@dataclass(frozen=True)
class Scene:
    """X1, the chain behind it and what its landmarks are compared with.

    Attributes:
        title: what is inspected: the photo's file name, else that of the controls.
        rig: whose controls X1 are.
        detector: the last layer of the chain.
        chain: detect ∘ render ∘ deform, float32.
        stand_in: embed ∘ deform, float64.
        x: `(K,)` float64 controls at which everything is inspected.
        objective: residuals against the photo's points; without a photo, against the render's own, so that
            its scale is right and its residual is zero.
        spread: `(L,)` of the detector's landmarks on renders; None where it is not known, or where a person
            placed the points.
        target: `(L, 2)` the detector's landmarks of the photo, in pixels of the view.
        prior: of a face about which nothing else is known.
        crop: `(H, W, 3)` sRGB the photo through the detector's view, where the photo is at hand.
        has_target: whether there is a photo's residual.
        at_fit: whether x is where a fit has ended.
    """

    title: str
    rig: Rig
    detector: LandmarkDetector
    chain: Pipeline
    stand_in: Pipeline
    x: Tensor
    objective: LandmarkObjective
    spread: Tensor | None
    target: Tensor
    prior: Prior
    crop: Tensor | None
    has_target: bool
    at_fit: bool

    @property
    def camera(self) -> Camera:
        camera = list(self.chain)[1].camera
        assert isinstance(camera, Camera)
        return camera

    @torch.no_grad()
    def view(self) -> View:
        """Every station at the controls."""
        _, vertices, picture, landmarks = self.chain.stations(self.x.float())
        residual = self.objective.of_detected(landmarks, self.x)
        return View(
            vertices=vertices,
            triangles=self.rig.triangles,
            camera=self.camera,
            picture=picture,
            landmarks=landmarks,
            photo=self.crop,
            target=self.target if self.has_target else None,
            residual_percent=self.objective.percent(residual) if self.has_target else None,
        )


def read_scene(
    file: Path | None, config: Config, changes: dict[str, float] | None = None, at_rest: bool = False
) -> Scene:
    """The scene of a fit.json, of a plain file of controls, or (without a file) of the rest pose.

    Args:
        changes: controls by name that are moved elsewhere.
        at_rest: with a neutral expression, whatever the file says.

    Raises:
        ChainRigError: the file cannot be read, or there is no control of such a name.
    """
    read = read_controls(file) if file is not None else ControlsFile({})
    kind = read.photo.deformer if read.photo else config.fit.deformer
    rig, lens = fittable_rig(read.photo.rig if read.photo else config.fit.rig, kind), read.camera or PLAIN
    values = {"headTranslationZ": -1.0} | read.values
    x = rig.controls.pack(values, rig.controls.rest.clone())
    if at_rest:
        expression = rig.controls.groups["expression"]
        x[expression] = rig.controls.rest[expression]
    x = rig.controls.pack(changes or {}, x)
    _require_possible(rig, x)
    focal, middle = torch.tensor(lens.focal_px), torch.tensor(lens.principal_point_px)
    whole = build_stand_in(rig, Camera(focal, middle)).double()
    region = read.photo.region if read.photo else Region.around(whole(x).float())
    camera = Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))

    texture = texture_of(rig)
    if read.colours:
        texture = HeadTexture(texture.weights, texture.detail, read.colours)
    material = Material(texture())
    choice = read.photo.detector if read.photo else config.landmarks.detector
    detector = load_detector(choice, smoothing=SMOOTHING)
    settings = config.render
    chain = build_chain(
        rig,
        camera,
        detector,
        material,
        read.light,
        build_deformer(rig, kind),
        samples=settings.samples,
        renderer=settings.renderer,
        rasterizer=settings.rasterizer,
    )
    if read.photo:
        target = region.map_to_crop(read.photo.target)
    else:
        with torch.no_grad():
            target = chain(x.float())[:, :2]
    stand_in = build_stand_in(rig, camera).double()
    objective, spread = _objective(chain, stand_in, target, detector, rig, read.photo, config)
    photo = _photo(read.photo) if read.photo else None
    held = dict(config.controls)
    if read.photo and read.photo.subject:
        person = read_subject(read.photo.subject, rig)
        objective.persons_offset = objective.comparison.embedded(person.shift(stand_in, x))
        held = person.identity | held
    return Scene(
        title=read.photo.path.name if read.photo else file.name if file else "the default rig",
        rig=rig,
        detector=detector,
        chain=chain,
        stand_in=stand_in,
        x=x,
        objective=objective,
        spread=spread,
        target=target,
        prior=belief(build_prior(rig, config.priors, held), rig, config.priors),
        crop=None if photo is None else region.crop(photo.srgb),
        has_target=read.photo is not None,
        at_fit=read.photo is not None and not at_rest and not changes,
    )


def _require_possible(rig: Rig, x: Tensor) -> None:
    """Raises ChainRigError for a control beyond its range, or a head that is not before the camera."""
    for control, value in zip(rig.controls.controls, x.tolist(), strict=True):
        if not control.low - 1e-6 <= value <= control.high + 1e-6:
            raise ChainRigError(
                f"{control.name} = {value:g} is outside of its range, {control.low:g} to {control.high:g}: "
                "derivatives there say nothing of use."
            )
    if float(Deformer(rig)(x.float())[:, 2].max()) > -NEAR_M:
        raise ChainRigError(
            "The head reaches behind the camera, which looks along -z: "
            "set headTranslationZ to -1, a metre away."
        )


def _objective(
    chain: Pipeline,
    stand_in: Pipeline,
    target: Tensor,
    detector: LandmarkDetector,
    rig: Rig,
    photo: SeenPhoto | None,
    config: Config,
) -> tuple[LandmarkObjective, Tensor | None]:
    """As the fit had it, and the spread of landmarks that it may count by.

    Args:
        target: `(L, 2)` the detector's landmarks, in pixels of the view.
    """
    settings = config.landmarks
    if photo is None or photo.labels is None:
        spread = spread_of(known_errors(detector, rig, settings.bias_file))
        sigma = config.priors.residual_percent
        counted = spread if settings.whiten else None
        return LandmarkObjective.towards(target, chain, stand_in, sigma, detector.scheme, counted), spread
    reading = read_through(photo.labels, detector.scheme, trust=trusting(settings.near))
    points = photo.region.map_to_crop(reading.points.float()).double()
    by_detector = LandmarkObjective.towards(target, chain, stand_in, 1.0, detector.scheme)
    apart, zoom = photo.labels.outer_eye_distance, photo.region.size / float(photo.region.side)
    iod = apart * zoom if apart else by_detector.iod
    sigma = settings.label_percent
    return LandmarkObjective(chain, stand_in, reading.comparison, points, iod, sigma), None


def require_names(
    controls: Sequence[str], landmarks: Sequence[str], detector: str = "facemesh", rig: str | None = None
) -> None:
    """Says now what would go wrong after a minute: a name or pattern that fits nothing.

    Raises:
        ChainRigError: there is one.
    """
    head, of = fittable_rig(rig), scheme(load_detector(detector).scheme)
    Axis("control", head.controls.names).find(list(controls))
    Axis("landmark", tuple(map(str, range(len(of))))).find(landmarks_of(landmarks, head, of.name))


def _photo(seen: SeenPhoto) -> Photo | None:
    """The fit's photo if it still lies where it was, and is the same: it is only looked at."""
    try:
        photo = read_photo(seen.path)
    except ChainRigError:
        return None
    return photo if photo.sha256 == seen.sha256 else None
