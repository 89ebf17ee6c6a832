"""A person's own head from several photos: one shape that explains them all.

Each photo has its own expression, pose, camera, light and colours; the shape is shared
(`pipeline/solve/shared_broyden.py`). Neutral photos tell most: there all that is seen is shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.errors import ChainRigError
from pipeline.face_prior import last_prior
from pipeline.fit import FaceFitter, Progress
from pipeline.objective import LandmarkObjective, robust_loss
from pipeline.render.camera import Camera
from pipeline.rigs.fittable import fittable_rig
from pipeline.solve.priors import Prior
from pipeline.solve.shared import Shared
from pipeline.solve.shared_broyden import SharedBroyden
from pipeline.subject import Subject, offsets
from pipeline.target.faces import Face, find_faces
from pipeline.target.photo import Photo
from pipeline.target.target import Target


@dataclass
class View:
    """A photo of the person, and where its solution stands.

    Attributes:
        x: `(K,)` float64 controls.
    """

    photo: Photo
    target: Target
    camera: Camera
    objective: LandmarkObjective
    x: Tensor

    @classmethod
    def of(cls, fitter: FaceFitter, photo: Photo, face: Face) -> "View":
        """After the warm start."""
        target = fitter.target(photo, face)
        camera = fitter.camera(photo, target)
        objective = fitter.objective(target, camera)
        start = fitter.warm_start(objective, fitter.first_guess(target, camera))
        return cls(photo, target, camera, objective, start)

    def dress(self, fitter: FaceFitter) -> None:
        """Camera, light and colours, as they are found at x."""
        self.camera, _, self.x = fitter.better_camera(self.photo, self.camera, self.objective, self.x)
        fitter.dress(self.photo, self.target, self.camera, self.objective, self.x)

    def left(self) -> tuple[Tensor, float]:
        """What the rig's shape cannot say: offsets `(R, 3)`, and the points' distance in % IOD."""
        seen = self.target.region.map_to_crop(self.target.landmarks)[:, :2]
        apart = seen - self.objective.landmarks(self.x)[:, :2]
        percent = self.objective.percent(self.objective.residual(self.x))
        return offsets(self.objective.stand_in_chain, self.x, apart.double()), percent


def largest_face(photo: Photo) -> tuple[int, Face]:
    """And which one it is, counted from 0, left to right.

    Raises:
        ChainRigError: there is none.
    """
    faces = find_faces(photo.pixels)
    if not faces:
        raise ChainRigError(f"There is no face in {photo.path}: leave it out, or take another one.")
    index = max(range(len(faces)), key=lambda index: faces[index].area)
    return index, faces[index]


def calibrate(
    photos: Sequence[tuple[Photo, Face]],
    config: Config,
    at_rest: bool = True,
    on_progress: Progress | None = None,
) -> Subject:
    """The person in the photos.

    Args:
        at_rest: whether the faces are neutral: then all expressions are held at 0.
        on_progress: called with (step, steps at most, mean residual in % of the outer-eye distance).

    Raises:
        ChainRigError: the detector doubts a face, or it is not FaceMesh.
    """
    if config.landmarks.detector != "facemesh":
        raise ChainRigError("A person's head is found with facemesh: leave --detector out.")
    if at_rest:
        held = dict.fromkeys(fittable_rig(config.fit.rig).expression_names, 0.0)
        config = config.model_copy(update={"controls": config.controls | held})
    fitter = FaceFitter(config)
    views = [View.of(fitter, photo, face) for photo, face in photos]
    solve_together(fitter, views, on_progress)
    values = fitter.rig.controls.unpack(views[0].x)
    moved, left = zip(*(view.left() for view in views), strict=True)
    return Subject(
        identity={name: values[name] for name in fitter.rig.identity_names},
        offsets=torch.stack(moved).mean(0),
        photos=tuple(str(photo.path) for photo, _ in photos),
        residual_percent=mean(left),
    )


def solve_together(fitter: FaceFitter, views: Sequence[View], on_progress: Progress | None = None) -> None:
    """Moves every view's x to where one shape explains all; `fit.iterations`, `derivatives` and `loss` hold.

    In the stages of a fit. A step is an evaluation of every photo's chain.
    """
    settings, rig = fitter.config.fit, fitter.rig
    is_shape = torch.zeros(len(rig.controls), dtype=torch.bool)
    is_shape[rig.controls.groups["identity"]] = True
    chain_only = settings.derivatives == "chain"
    steps, learnt = 0, None

    def on_step(residual: Tensor) -> None:
        nonlocal steps
        steps += 1
        if on_progress is not None:
            parts = zip(views, residual.chunk(len(views)), strict=True)
            on_progress(
                steps, settings.iterations, mean(view.objective.percent(part) for view, part in parts)
            )

    def stage(priors: Sequence[Prior], count: int) -> None:
        nonlocal learnt
        for view in views:
            view.dress(fitter)
        together = Shared([view.objective for view in views], is_shape)
        solver = SharedBroyden(
            steps=count,
            gradients=settings.derivatives != "embedding",
            refresh=not chain_only,
            correction=learnt,
        )
        found = solver.minimize(
            together,
            together.prior(priors),
            together.joined(torch.stack([view.x for view in views])),
            loss=robust_loss(settings, views[0].objective),
            on_step=on_step,
        )
        learnt = found.correction if chain_only else None
        for view, x in zip(views, together.apart(found.x), strict=True):
            view.x = x

    half, priors = settings.iterations // 2, fitter.config.priors
    stage([fitter.prior.times(priors.approach)] * len(views), half)
    stage([last_prior(fitter.prior, rig, priors, view.x) for view in views], settings.iterations - half)
