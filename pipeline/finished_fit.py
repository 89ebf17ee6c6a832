"""A finished fit in the words of its result: named controls, pixels of the photo, a picture."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pipeline.config import Config
from pipeline.deform.rig import Rig
from pipeline.head_angles import yaw_pitch_roll
from pipeline.objective import LandmarkObjective
from pipeline.portrait import Look, Studio
from pipeline.render.camera import Camera
from pipeline.result import FitResult, LabelledPoints
from pipeline.rigs.gaze import gaze_turns
from pipeline.solve.solver import Solution
from pipeline.subject import Subject
from pipeline.target.faces import Face
from pipeline.target.photo import Photo
from pipeline.target.reading import converted
from pipeline.target.target import Target


@dataclass(frozen=True)
class FinishedFit:
    """What is at hand when a fit ends.

    Attributes:
        objective, camera, seen_as: as they were for the last stage.
        landmarks: `(L, 3)` the chain's at the solution, in the view.
        residuals: `(M,)` at the start and at the solution.
        gradient_norms: of the objective, without what points out of the controls' ranges.
        uncertainty: ± of every control `(K,)`, and the names of those that the photo cannot see.
        seconds: that it took.
    """

    photo: Photo
    face: Face
    target: Target
    camera: Camera
    objective: LandmarkObjective
    seen_as: Look
    solution: Solution
    landmarks: Tensor
    residuals: tuple[Tensor, Tensor]
    gradient_norms: tuple[float, float]
    uncertainty: tuple[Tensor, tuple[str, ...]]
    seconds: float


def fit_result(
    finished: FinishedFit, config: Config, rig: Rig, studio: Studio, scheme: str, subject: Subject | None
) -> FitResult:
    """The result of a fit.

    Args:
        scheme: of the detector's landmarks.
        subject: whose landmarks lie beside the rig's.
    """
    photo, target, camera, objective = finished.photo, finished.target, finished.camera, finished.objective
    solution, seen_as = finished.solution, finished.seen_as
    x, region = solution.x, target.region
    space = rig.controls
    values, groups, names = space.unpack(x), space.groups, space.names
    embedded = region.map_to_photo(objective.stand_in_chain(x).to(target.landmarks))
    beside = subject.shift(objective.stand_in_chain, x).float() if subject else 0.0
    rotation, translation = x[groups["pose"]][:3].tolist(), x[groups["pose"]][3:].tolist()
    sd, unseen = finished.uncertainty
    return FitResult(
        photo=photo,
        face=finished.face,
        rig=config.fit.rig or "head_rig",
        deformer=config.fit.deformer,
        detector=config.landmarks.detector,
        scheme=scheme,
        presence=target.mesh.presence,
        rasterizer=studio.rasterizer,
        solver=config.fit.derivatives,
        controls={name: values[name] for name in names[groups["expression"]]},
        identity={name: values[name] for name in names[groups["identity"]]},
        rotation_vector=(rotation[0], rotation[1], rotation[2]),
        translation=(translation[0], translation[1], translation[2]),
        eye_left=_gaze(rig, x, "eye_left"),
        eye_right=_gaze(rig, x, "eye_right"),
        focal_px=float(camera.focal_px),
        principal_point=(float(camera.principal_point_px[0]), float(camera.principal_point_px[1])),
        region=region,
        target=target.landmarks[:, :2],
        render=region.map_to_photo(finished.landmarks[:, :2] + beside),
        projected68=converted(embedded, "mediapipe478", "ibug68")[:, :2],
        residual_start=objective.percent(finished.residuals[0]),
        residual_final=objective.percent(finished.residuals[1]),
        gradient_norm_start=finished.gradient_norms[0],
        gradient_norm_final=finished.gradient_norms[1],
        evaluations=objective.evaluations,
        gradients=objective.gradients,
        seconds=finished.seconds,
        status=solution.status,
        picture=studio.picture(photo, target, camera, x, seen_as),
        appearance=studio.told(photo, target, camera, x, seen_as) if seen_as.found is not None else None,
        uncertainty=space.unpack(sd),
        unobservable=unseen,
        labels=_labelled(finished),
        subject=config.fit.subject,
        trace=solution.trace,
        x=x,
    )


def _labelled(finished: FinishedFit) -> LabelledPoints | None:
    """The labels beside what the chain says of them."""
    target, objective = finished.target, finished.objective
    if target.reading is None:
        return None
    residual = finished.residuals[1]
    apart = (residual[: len(objective.per_pixel)] / objective.per_pixel).view(-1, 2)
    found = (objective.target + apart).to(target.landmarks)
    labels, report = target.reading.labels, target.reading.report()
    if labels.image is not None and Path(labels.image).stem != Path(finished.photo.path).stem:
        report = f"They are said to be of another photo, {Path(labels.image).name}. {report}"
    index = target.reading.index
    return LabelledPoints(
        path=str(labels.path),
        scheme=labels.scheme.name,
        index=tuple(index.tolist()),
        weight=tuple(labels.weights[index].tolist()),
        like=tuple(labels.scheme.like[i] for i in index.tolist() if labels.scheme.like),
        target=target.points,
        render=target.region.map_to_photo(found),
        report=report,
    )


def _gaze(rig: Rig, x: Tensor, joint: str) -> tuple[float, float]:
    """(yaw, pitch) of an eye in the head, radians; 0 for a rig without eyes."""
    drivers = gaze_turns(rig, joint).double()  # [E, 3]
    turn = (x[rig.controls.groups["expression"]] @ drivers).tolist()
    yaw, pitch, _ = yaw_pitch_roll((turn[0], turn[1], turn[2]))
    return yaw, pitch
