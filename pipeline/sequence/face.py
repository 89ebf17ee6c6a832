"""A frame by itself, then with what its neighbours have, by the chain. All is loaded once a process."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.batch.fitting import Fitted
from pipeline.batch.work import FaceFiles
from pipeline.config import Config
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.objective import robust_loss
from pipeline.result import FitResult
from pipeline.sequence.frames import Frame
from pipeline.sequence.joint import Found, free_controls
from pipeline.sequence.motion import Motion, tied
from pipeline.sequence.performer import Neighbours, Tracked
from pipeline.sequence.video import VideoReader
from pipeline.solve.priors import Prior
from pipeline.target.faces import Face, find_doubtful_face, find_faces
from pipeline.target.photo import Photo, read_photo


class FacePerformer:
    """A `Performer`.

    Raises:
        ChainRigError: the configuration cannot be used.
    """

    def __init__(self, config: Config, motion: Motion, fps: float, video: VideoReader | None) -> None:
        use_machine(config.fit.threads)
        self.fitter = FaceFitter(config)
        self.stiffness = motion.stiffness(self.fitter.rig.controls, fps)
        self.video = video
        # What the joint step left is little: no approach, and half the steps.
        self.last = copy.copy(self.fitter)
        self.last.config = config.model_copy(
            update={
                "priors": config.priors.model_copy(update={"approach": 1.0}),
                "fit": config.fit.model_copy(update={"iterations": config.fit.iterations // 2}),
            }
        )

    @property
    def prior(self) -> Prior:
        return self.fitter.prior

    def track(self, frame: Frame, before: Tracked | None) -> Tracked:
        photo = self.read(frame)
        faces = self.faces(photo)
        index = _same_face(faces, before.box) if before else _largest(faces)
        result = self.fitter.fit(photo, faces[index], start=before.found.x if before else None)
        hessian, gradient = self.linearised(result)
        assert result.x is not None
        found = Found(frame.place, result.x, hessian, gradient)
        return Tracked(found, index, faces[index].box)

    def polish(self, frame: Frame, index: int, x: Tensor, neighbours: Neighbours) -> FaceFiles:
        photo = self.read(frame)
        fitter = copy.copy(self.last)
        fitter.prior = tied(self.prior, self.stiffness, neighbours)
        return Fitted(index, fitter.fit(photo, self.faces(photo)[index], start=x), self.fitter.config)

    def read(self, frame: Frame) -> Photo:
        """Raises ChainRigError: it is missing, or cannot be read."""
        if frame.missing:
            raise ChainRigError(f"There is no {frame.name}: its number is left out.")
        if self.video is None:
            return read_photo(frame.path)
        pixels, sha256 = self.video.read(frame.place)
        return Photo(pixels, frame.path, sha256)

    def faces(self, photo: Photo) -> list[Face]:
        """Left to right, at least one. Raises ChainRigError: there is none."""
        found = find_faces(photo.pixels)
        if not found and self.fitter.config.landmarks.force and (doubt := find_doubtful_face(photo.pixels)):
            return [doubt[0]]
        if not found:
            raise ChainRigError("There is no face in it.")
        return found

    def linearised(self, result: FitResult) -> tuple[Tensor, Tensor]:
        """JᵀWJ `(F, F)` and JᵀWr `(F,)` at a fit's controls: J of the stand-in, r of the chain's points."""
        fitter, x = self.fitter, result.x
        assert x is not None
        target = fitter.target(result.photo, result.face)
        objective = fitter.objective(target, fitter.camera(result.photo, target))
        jacobian = objective.stand_in(x)[: len(objective.per_pixel), free_controls(self.prior)]
        found = target.region.map_to_crop(result.render.to(target.region.side))
        residual = objective.of_points(objective.comparison.detected(found).double())
        weight = robust_loss(fitter.config.fit, objective).weight(residual)
        return jacobian.T @ (weight.expand_as(residual)[:, None] * jacobian), jacobian.T @ (weight * residual)


def _largest(faces: Sequence[Face]) -> int:
    return max(range(len(faces)), key=lambda index: faces[index].area)


def _same_face(faces: Sequence[Face], box: Tensor) -> int:
    """The one that overlaps most with where the face was; the largest, if none does."""

    def overlap(face: Face) -> float:
        low, high = torch.maximum(face.box[:2], box[:2]), torch.minimum(face.box[2:], box[2:])
        shared = float((high - low).clamp(min=0).prod())
        return shared / (face.area + float((box[2:] - box[:2]).prod()) - shared)

    index = max(range(len(faces)), key=lambda index: overlap(faces[index]))
    return index if overlap(faces[index]) > 0 else _largest(faces)
