"""The faces of the study of docs/chain-rule.md: the example photo, renders of known controls, other photos.

A face is read as a fit reads it: target, camera, warm start, and a render in the light and the colours that
are found there. All derivatives that are compared begin at this point, with this look.
"""

from dataclasses import dataclass
from pathlib import Path

from known_controls import draw, photograph
from torch import Tensor

from pipeline import assets, uncertainty
from pipeline.config import load_config
from pipeline.fit import FaceFitter
from pipeline.objective import LandmarkObjective
from pipeline.portrait import Look, face_in_view
from pipeline.render.camera import Camera
from pipeline.solve.priors import Prior
from pipeline.target.faces import find_faces
from pipeline.target.photo import Photo, read_photo
from pipeline.target.target import Target

RENDER = "render"  # of known controls: "render 1000" has the seed 1000


@dataclass
class Case:
    """One face, before a fit of the chain begins.

    Attributes:
        look: light and colours at the warm start; `objective` renders in them throughout.
        start: `(K,)` float64, where the warm start ends.
        truth: `(K,)` float64, of a render.
    """

    name: str
    fitter: FaceFitter
    photo: Photo
    target: Target
    camera: Camera
    look: Look
    objective: LandmarkObjective
    start: Tensor
    truth: Tensor | None

    def crop(self) -> Tensor:
        """`(256, 256, 3)` float32: the photo as the detector sees it."""
        return face_in_view(self.photo, self.target)[0]


def read(name: str, settings: tuple[str, ...] = ()) -> Case:
    """The case of "example", of "render SEED" or of a photo's path."""
    truth, overrides = None, list(settings)
    if name.startswith(RENDER):
        truth, light, material, focal = draw(int(name.split()[1]))
        photo = photograph(truth, light, material, focal)
        overrides.append(f"camera.focal_px={focal}")
    else:
        photo = read_photo(assets.path("example.png") if name == "example" else name)
    fitter = FaceFitter(load_config(None, overrides))
    face = max(find_faces(photo.pixels), key=lambda face: face.area)
    target = fitter.target(photo, face)
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    start = fitter.warm_start(objective, fitter.first_guess(target, camera))
    look = fitter.dress(photo, target, camera, objective, start)
    shown = Path(name).stem if truth is None else name
    return Case(shown, fitter, photo, target, camera, look, objective, start, truth)


def control_error(case: Case, x: Tensor) -> float | None:
    """Mean absolute error of the expressions of a render at controls `(K,)`."""
    if case.truth is None:
        return None
    expression = case.fitter.rig.controls.groups["expression"]
    return float((x - case.truth)[expression].abs().mean())


def belief(case: Case) -> Prior:
    """What is known before any photo: the same for all runs, whatever their stages."""
    fitter = case.fitter
    return uncertainty.belief(fitter.prior, fitter.rig, fitter.config.priors)


def objective_value(case: Case, residual: Tensor, x: Tensor) -> float:
    """f: landmarks and belief together."""
    return 0.5 * float(residual.square().sum()) + float(belief(case).value(x))
