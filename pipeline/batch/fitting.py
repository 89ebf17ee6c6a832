"""The fits of a run: everything is loaded once a process, then one image file after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.batch.manifest import FittedFace
from pipeline.config import Config
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from pipeline.batch.work import FitImage
    from pipeline.fit import FaceFitter
    from pipeline.result import FitFailure, FitResult

Choice = Literal["largest", "all"]


@dataclass(frozen=True)
class Fitted:
    """A face with its result, as `chainrig fit` has it and writes it."""

    index: int
    result: "FitResult | FitFailure"
    config: Config
    glb: bytes | None = None

    @property
    def told(self) -> FittedFace:
        from pipeline.result import FitFailure

        if isinstance(self.result, FitFailure):
            return FittedFace(self.index, "failed", error=self.result.error)
        return FittedFace(self.index, self.result.status, round(self.result.residual_final, 4))

    def files(self) -> dict[str, bytes]:
        from pipeline.outputs.folder import failure_files, fit_files
        from pipeline.result import FitFailure

        if isinstance(self.result, FitFailure):
            return failure_files(self.result, self.index)
        return fit_files(self.result, self.index, self.config, glb=self.glb)


def load(config: Config, choice: Choice, glb: bool = False) -> "FitImage":
    """The function that fits an image file.

    Args:
        choice: whether all faces are fitted, or the largest.
        glb: whether each gets a face.glb.

    Raises:
        ChainRigError: the configuration cannot be used.
    """
    from pipeline.fit import FaceFitter

    use_machine(config.fit.threads)
    return partial(fit_image, FaceFitter(config), choice, glb)


def fit_image(fitter: "FaceFitter", choice: Choice, glb: bool, path: Path) -> Sequence[Fitted]:
    """The chosen faces of an image file, left to right; one that cannot be fitted has its reason.

    Raises:
        ChainRigError: it is no image, or shows no face.
    """
    from pipeline.outputs.face_glb import face_glb
    from pipeline.result import FitFailure
    from pipeline.target.faces import find_doubtful_face, find_faces
    from pipeline.target.photo import read_photo

    photo = read_photo(path)
    faces = find_faces(photo.pixels)
    if not faces and fitter.config.landmarks.force and (doubtful := find_doubtful_face(photo.pixels)):
        faces = [doubtful[0]]
    if not faces:
        raise ChainRigError(f"There is no face in {path}: take a photo of a whole face from the front.")
    largest = max(range(len(faces)), key=lambda index: faces[index].area)
    done = []
    for index in range(len(faces)) if choice == "all" else [largest]:
        try:
            result = fitter.fit(photo, faces[index])
        except ChainRigError as refused:
            done.append(Fitted(index, FitFailure(photo, faces[index], str(refused)), fitter.config))
        else:
            data = face_glb(result, fitter.rig, fitter.studio.deform) if glb else None
            done.append(Fitted(index, result, fitter.config, data))
    return done
