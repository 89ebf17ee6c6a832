"""A person's own head from neutral photos: one shape that explains them all."""

from collections.abc import Callable, Sequence
from statistics import mean

import torch

from pipeline.config import Config
from pipeline.errors import ChainRigError
from pipeline.face_prior import relax_identity
from pipeline.fit import FaceFitter
from pipeline.rigs.fittable import fittable_rig
from pipeline.solve.adjoint_broyden import AdjointBroyden
from pipeline.solve.priors import Prior
from pipeline.solve.shared import Shared
from pipeline.subject import Subject, offsets
from pipeline.target.faces import Face
from pipeline.target.photo import Photo

STAGES = (12, 10)  # steps with the shape held tight, and relaxed


def calibrate(
    photos: Sequence[tuple[Photo, Face]],
    config: Config,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> Subject:
    """The shape of the head in photos of one person at rest; all expressions are held at 0.

    The shape is shared by the photos, each has its own pose, camera, light and colours
    (`pipeline/solve/shared.py`).

    Args:
        on_progress: called with (step, steps at most, mean residual in % of the outer-eye distance).

    Raises:
        ChainRigError: the detector doubts a face, or it is not FaceMesh.
    """
    if config.landmarks.detector != "facemesh":
        raise ChainRigError("A subject is calibrated with facemesh: leave --detector out.")
    at_rest = dict.fromkeys(fittable_rig(config.fit.rig).expression_names, 0.0)
    fitter = FaceFitter(config.model_copy(update={"controls": config.controls | at_rest}))
    rig, space = fitter.rig, fitter.rig.controls
    views, starts = [], []
    for photo, face in photos:
        target = fitter.target(photo, face)
        camera = fitter.camera(photo, target)
        objective = fitter.objective(target, camera)
        views.append((photo, target, camera, objective))
        starts.append(fitter.warm_start(objective, fitter.first_guess(target, camera)))
    is_shape = torch.zeros(len(space), dtype=torch.bool)
    is_shape[space.groups["identity"]] = True
    together = Shared([objective for *_, objective in views], is_shape)

    steps = 0

    def step(residual: torch.Tensor) -> None:
        nonlocal steps
        steps += 1
        if on_progress is not None:
            on_progress(steps, sum(STAGES), percent(residual))

    def percent(residual: torch.Tensor) -> float:
        parts = residual.chunk(len(views))
        return mean(view[3].percent(part) for view, part in zip(views, parts, strict=True))

    def stage(x: torch.Tensor, prior: Prior, count: int) -> torch.Tensor:
        for (photo, target, camera, objective), own in zip(views, x, strict=True):
            fitter.dress(photo, target, camera, objective, own)
        solver = AdjointBroyden(steps=count, refresh=False)
        found = solver.minimize(together, together.prior(prior), together.joined(x), on_step=step)
        return together.apart(found.x)

    x = stage(torch.stack(starts), fitter.prior, STAGES[0])
    x = stage(x, relax_identity(fitter.prior, rig, config.priors, x[0]), STAGES[1])

    moved, left = [], []
    for (_, target, _, objective), own in zip(views, x, strict=True):
        apart = target.region.map_to_crop(target.landmarks)[:, :2] - objective.landmarks(own)[:, :2]
        moved.append(offsets(objective.stand_in_chain, own, apart.double()))
        left.append(objective.percent(objective.residual(own)))
    values = space.unpack(x[0])
    return Subject(
        identity={name: values[name] for name in rig.identity_names},
        offsets=torch.stack(moved).mean(0),
        photos=tuple(str(photo.path) for photo, _ in photos),
        residual_percent=mean(left),
    )
