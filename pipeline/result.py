"""What a fit found: filled by pipeline/finished_fit.py, read by pipeline/outputs/."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from pipeline.detect.region import Region
from pipeline.solve.trace import Trace
from pipeline.target.faces import Face
from pipeline.target.photo import Photo
from pipeline.target.schemes import Match

Status = Literal["converged", "stalled", "max_iterations"]
PANEL = 640  # pixels of the longer side of pictures of a fit
BACKGROUND = (64, 66, 70)  # behind the rendered rig, sRGB


@dataclass(frozen=True)
class Picture:
    """The fitted rig, rendered.

    Attributes:
        rgba: `(H, W, 4)` uint8, sRGB-encoded, straight alpha.
        photo_from_picture: `(2, 3)` affine map from pixels (x, y, 1) of the picture to pixels of the photo,
            both with (0, 0) at the top-left corner and pixel centres at +0.5.
    """

    rgba: Tensor
    photo_from_picture: Tensor


@dataclass(frozen=True)
class FoundAppearance:
    """Light and colours that make the render look like the photo; linear RGB.

    Attributes:
        ambient, directional: light.
        direction: unit vector from the face to the light, in camera space.
        harmonics: 9 rows in the order of `harmonics_basis`.
        colours: of the texture's regions, as `HeadTexture` takes them.
        error_start, error_final: mean absolute difference of sRGB values in [0, 1] inside the outline of the
            face, with default and with found light and colours.
        distance_m: of the head.
        distance_spread: standard deviation of the logarithm of distance and focal length; None where
            they were not estimated.
    """

    ambient: list[float]
    directional: list[float]
    direction: list[float]
    harmonics: list[list[float]]
    colours: dict[str, list[float]]
    error_start: float
    error_final: float
    distance_m: float
    distance_spread: float | None


@dataclass(frozen=True)
class LabelledPoints:
    """Points that a person placed, as a fit has read them. In pixels of the photo.

    Attributes:
        path: of the labels' file.
        scheme: the labels'.
        index, weight: M, which of the scheme's points, and how much the labels' file lets each count.
        like: M, for schemes of users: what each is like in a shipped one; empty for shipped ones.
        target, render: `(M, 2)` the labels, and the chain's points beside them.
        report: what was read and how, for a person.
    """

    path: str
    scheme: str
    index: tuple[int, ...]
    weight: tuple[float, ...]
    like: tuple[Match, ...]
    target: Tensor
    render: Tensor
    report: str


@dataclass(frozen=True)
class FitResult:
    """The controls that explain one face of a photo. Points are in pixels of the photo.

    Attributes:
        rig, detector, deformer, rasterizer, solver: names of what was used.
        controls: expression controls by name.
        identity: identity controls by name.
        rotation_vector, translation: the head's pose in camera space, radians and metres.
        eye_left, eye_right: (yaw, pitch) of the subject's eyes in the head, radians; yaw positive to the
            subject's left, pitch positive up.
        focal_px, principal_point: the camera, in pixels of the photo.
        presence: FaceMesh's probability that there is a face.
        scheme: name of the detector's landmarks' scheme.
        region: the square that the detector looked at.
        target, render: `(L, 2)` the detector's landmarks on the photo and on the render.
        projected68: `(68, 2)` the rig's own iBUG points, projected.
        residual_start, residual_final: mean distance over the points that are compared, % of the outer-eye
            distance.
        gradient_norm_start, gradient_norm_final: of the objective, None where it was never computed.
        appearance: what was found of C2, None where it was fixed.
        evaluations: images that went forward through the chain.
        gradients: backward passes through the chain.
        uncertainty: how far the true value of each control (expression, identity, pose) may lie from the
            found one, in the control's unit: a standard deviation, see pipeline/uncertainty.py.
        unobservable: controls whose full range moves no landmark: what is found for them is a guess.
        labels: the points that a person placed, where these were the target.
        subject: the file of the person, where only expression was looked for; `render` is then moved by the
            person's offsets, as in the residual.
        trace: of the solver, every evaluation; its residual is the distance of the points in % IOD.
        x: `(K,)` float64, all controls in the rig's order; for the fit of a next frame.
    """

    photo: Photo
    face: Face
    rig: str
    detector: str
    rasterizer: str
    solver: str
    controls: dict[str, float]
    identity: dict[str, float]
    rotation_vector: tuple[float, float, float]
    translation: tuple[float, float, float]
    eye_left: tuple[float, float]
    eye_right: tuple[float, float]
    focal_px: float
    principal_point: tuple[float, float]
    region: Region
    target: Tensor
    render: Tensor
    projected68: Tensor
    residual_start: float
    residual_final: float
    gradient_norm_start: float | None
    gradient_norm_final: float | None
    evaluations: int
    gradients: int
    seconds: float
    status: Status
    picture: Picture
    appearance: FoundAppearance | None = None
    uncertainty: dict[str, float] = field(default_factory=dict)
    unobservable: tuple[str, ...] = ()
    scheme: str = "mediapipe478"
    presence: float = 1.0
    labels: LabelledPoints | None = None
    subject: str | None = None
    trace: Trace | None = None
    deformer: str = "skinning"
    x: Tensor | None = None


@dataclass(frozen=True)
class FitFailure:
    """A face that could not be fitted, and the sentence that says why."""

    photo: Photo
    face: Face
    error: str


def frame(photo: Photo, landmarks: Tensor) -> tuple[int, int, int, int]:
    """The part of the photo that an overlay shows: left, top, right, bottom in pixels.

    A square twice the landmarks' longer side, so that hair and neck are in it, cut at the photo's edges.

    Args:
        landmarks: `(N, 2)` pixels of the photo.
    """
    low, high = landmarks.amin(0), landmarks.amax(0)
    half = float((high - low).max())
    x, y = ((low + high) / 2).tolist()
    left, top = max(0, int(x - half)), max(0, int(y - half))
    right, bottom = min(photo.width, round(x + half)), min(photo.height, round(y + half))
    return left, top, max(right, left + 1), max(bottom, top + 1)
