"""One face of a photo as a fit left it: its photo, its landmarks, its residual, and fitting it again."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipeline.batch.disk import FACE
from pipeline.config import Config, load_config
from pipeline.controls_file import PhotoCamera, read_controls
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.inspection.scene import Scene, read_scene
from pipeline.outputs.face_glb import face_glb
from pipeline.outputs.folder import write_fit
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.result import FitResult
from pipeline.rigs.texture import texture_of
from pipeline.target.faces import Face, find_doubtful_face, find_faces
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo, read_photo
from pipeline.target.reading import converted
from pipeline.view.posed_rig import PosedRig

BY_HAND = "by-hand"
LONGEST = 2400  # pixels of the photo's longer side that the page gets
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Points:
    """The points that are compared, M of them, in pixels of the photo.

    Attributes:
        rig: `(M, 2)` the chain's.
        residual_percent: their mean distance from the photo's, % of the outer-eye distance.
        exact: whether the detector has looked at the render; else the rig's own points tell what changed.
    """

    rig: Tensor
    residual_percent: float
    exact: bool


class FittedFace:
    """A fit.json, opened.

    Args:
        overrides: settings laid over those of the fit.

    Raises:
        ChainRigError: the file is of no use, or tells of a fit that failed.
    """

    def __init__(self, file: Path, config: str | None = None, overrides: list[str] | None = None) -> None:
        self.file = file
        beside = file.with_name("config.yaml")
        settings = load_config(config or (beside if beside.is_file() else None), overrides)
        read = read_controls(file)
        if read.photo is None or read.camera is None:
            raise ChainRigError(
                f"{file} has no landmarks of a photo: give a fit.json that chainrig fit wrote."
            )
        self.document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8-sig"))
        self.scene: Scene = read_scene(file, settings)
        rig, lens, seen = self.scene.rig, read.camera, read.photo
        light = read.light or Light.default()
        self.posed = PosedRig(rig, self.scene.x, lens, _texture(rig, read.colours), light, seen.deformer)
        self.region = seen.region
        self.photo, self.without_photo = _photo_of(seen.path, seen.sha256, file)
        self.settings = _as_it_was(settings, seen, lens, self.document)
        self._residual, self._by_rig = self._residuals(self.scene.x)
        self._fitter: FaceFitter | None = None
        self._result: tuple[Tensor, FitResult] | None = None

    @property
    def by_hand(self) -> Path:
        """The folder for a person's labels and changes; the fit itself stays.

        Of a batch's `face-K` it lies beside that, as a batch that fits the image anew replaces `face-K`.
        """
        folder = self.file.parent
        if folder.name.endswith(BY_HAND):
            return folder
        if FACE.fullmatch(folder.name):
            return folder.with_name(f"{folder.name}-{BY_HAND}")
        return folder / BY_HAND

    @torch.no_grad()
    def compared(self, x: Tensor, exact: bool) -> Points:
        """Where the points lie at controls `(K,)`.

        Args:
            exact: through the whole chain, a tenth of a second; else from where the chain had them at the
                fit, moved as far as the rig's own points move.
        """
        objective = self.scene.objective
        if exact:
            residual = objective.residual(x)
        else:
            residual = self._residual + objective.embedded(x) - self._by_rig
        apart = (residual[: len(objective.per_pixel)] / objective.per_pixel).view(-1, 2)
        found = self.region.map_to_photo((objective.target + apart).float())
        return Points(found, objective.percent(residual), exact)

    def target(self) -> Tensor:
        """`(M, 2)` the photo's points."""
        return self.region.map_to_photo(self.scene.objective.target.float())

    def suggested68(self) -> Tensor:
        """`(68, 2)` iBUG points to begin labelling from: the detector's where it has them, else the rig's."""
        found = self.document["landmarks"]
        rigs = torch.tensor(self.document["landmarks68"]["projected"])
        scheme = found.get("scheme", "mediapipe478")
        read = torch.tensor(found["target"])
        detected = read if scheme == "ibug68" else converted(read, scheme, "ibug68")[:, :2]
        return torch.where(detected.isfinite(), detected, rigs)

    def solve(self, x: Tensor, labels: Labels | None, on_progress: Progress) -> FitResult:
        """Fits again, from controls `(K,)`.

        Raises:
            ChainRigError: there is no photo, or the labels are not this face's.
        """
        result = self._fit(x, labels, on_progress, self.settings)
        assert result.x is not None
        self._result = result.x, result
        return result

    def save(self, x: Tensor) -> list[Path]:
        """Writes what `chainrig fit` writes, for controls `(K,)`, into the folder `by_hand`.

        Raises:
            ChainRigError: there is no photo, or the folder takes no files.
        """
        if self._result is not None and torch.allclose(self._result[0], x, atol=1e-6, rtol=0):
            result = self._result[1]
        else:
            still = self.settings.model_copy(
                update={"fit": self.settings.fit.model_copy(update={"iterations": 0})}
            )
            result = self._fit(x, None, lambda *_: None, still)
        assert self._fitter is not None
        glb = face_glb(result, self._fitter.rig, self._fitter.studio.deform)
        return write_fit(result, self.document["face"]["index"], self.settings, self.by_hand, glb=glb)

    def picture(self) -> bytes:
        """The photo as the page shows it, WebP."""
        photo = self._require_photo()
        picture = Image.fromarray(photo.pixels.numpy())
        picture.thumbnail((LONGEST, LONGEST))
        file = BytesIO()
        picture.save(file, "WEBP", quality=90, method=0)
        return file.getvalue()

    def _fit(self, x: Tensor, labels: Labels | None, on_progress: Progress, settings: Config) -> FitResult:
        photo = self._require_photo()
        if self._fitter is None:
            self._fitter = FaceFitter(settings)
        self._fitter.config = settings
        start = self._fitter.prior.project(x)
        return self._fitter.fit(photo, self._face(photo), on_progress, labels, start)

    def _face(self, photo: Photo) -> Face:
        """The face of the photo that was fitted."""
        box = torch.tensor(self.document["face"]["box"])
        faces = find_faces(photo.pixels)
        if not faces and (doubtful := find_doubtful_face(photo.pixels)) is not None:
            faces = [doubtful[0]]
        if not faces:
            raise ChainRigError(f"There is no face in {photo.path} any more.")
        return min(faces, key=lambda face: float((face.box - box).abs().sum()))

    def _residuals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return self.scene.objective.residual(x), self.scene.objective.embedded(x)

    def _require_photo(self) -> Photo:
        if self.photo is None:
            raise ChainRigError(self.without_photo)
        return self.photo


def _texture(rig: Rig, colours: dict[str, list[float]]) -> HeadTexture:
    texture = texture_of(rig)
    return HeadTexture(texture.weights, texture.detail, colours) if colours else texture


def _photo_of(path: Path, sha256: str, file: Path) -> tuple[Photo | None, str]:
    """The photo, if it is where the fit found it, or beside the fit's files; else why it is not shown."""
    why = f"The photo {path} is not where the fit found it: put it back, or start from the same folder."
    for place in dict.fromkeys((path, file.parent / path, file.parent / path.name)):
        if not place.is_file():
            continue
        try:
            photo = read_photo(place)
        except ChainRigError as refused:
            why = str(refused)
            continue
        if photo.sha256 == sha256:
            return photo, ""
        why = f"The photo {place} has changed since it was fitted: fit it again."
    return None, why


def _as_it_was(settings: Config, seen: Any, lens: PhotoCamera, document: dict[str, Any]) -> Config:
    """The settings of a fit that goes on: the same rig, detector and camera, whatever else is asked for."""
    fit = {"rig": seen.rig, "deformer": seen.deformer, "subject": seen.subject}
    camera = {"focal_px": lens.focal_px, "estimate": False}
    landmarks = {"detector": seen.detector}
    if document["face"].get("presence", 1.0) < 0.5:
        landmarks["force"] = True
    return settings.model_copy(
        update={
            "fit": settings.fit.model_copy(update=fit),
            "camera": settings.camera.model_copy(update=camera),
            "landmarks": settings.landmarks.model_copy(update=landmarks),
        }
    )
