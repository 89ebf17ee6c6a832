"""What the Jacobians of a chain say at one point: filled by the modules beside it, read by the report.

Every station X1 … X4 has the same K columns, one a control: what one unit of the control does to it.
"""

from dataclasses import dataclass, field

from torch import Tensor

from pipeline.checks.badge import Badge
from pipeline.controls import Control
from pipeline.render.camera import Camera


@dataclass(frozen=True)
class View:
    """The chain at the controls that are inspected.

    Attributes:
        vertices: `(V, 3)` X2, camera space, metres.
        triangles: `(F, 3)` int64.
        camera: its view has H × W pixels, those that the detector sees.
        picture: `(H, W, 3)` X3, sRGB-encoded in [0, 1].
        landmarks: `(L, 2 or 3)` X4, pixels of the view.
        photo: `(H, W, 3)` the photo through the same view, where there is one.
        target: `(L, 2 or 3)` the photo's landmarks in pixels of the view, where there is a photo.
        residual_percent: distance of landmarks and target in % IOD, where there is a photo.
    """

    vertices: Tensor
    triangles: Tensor
    camera: Camera
    picture: Tensor
    landmarks: Tensor
    photo: Tensor | None = None
    target: Tensor | None = None
    residual_percent: float | None = None


@dataclass(frozen=True)
class Columns:
    """∂X2/∂X1, ∂X3/∂X1 and ∂X4/∂X1: the columns of K controls at every station, per unit of the control.

    Attributes:
        controls: the K controls.
        values: `(K,)` float64 where they stand.
        vertices: `(K, V, 3)` metres.
        pixels: `(K, H, W, 3)` sRGB-encoded.
        landmarks: `(K, L, 2 or 3)` pixels of the view.
    """

    controls: tuple[Control, ...]
    values: Tensor
    vertices: Tensor
    pixels: Tensor
    landmarks: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(control.name for control in self.controls)


@dataclass(frozen=True)
class GradientStation:
    """The residual's gradient where it has come to on its way back.

    Attributes:
        station: "landmarks", "pixels", "vertices" or "controls".
        through: the layer it came back through ("" at the landmarks, where it starts).
        norm: its Euclidean norm.
        unit: what an entry is counted in, e.g. "per pixel".
        reach: share of the squared norm that the controls can act on: the part of the gradient inside the
            span of ∂X_j/∂X1.
        shares: share of the squared norm by place, e.g. {"face": 0.6, "outlines": 0.3, "background": 0.1}.
        map: `(H, W)` of the pixels, `(V,)` of the vertices: the gradient's size at every place; else None.
    """

    station: str
    through: str
    norm: float
    unit: str
    reach: float
    shares: dict[str, float] = field(default_factory=dict)
    map: Tensor | None = None


@dataclass(frozen=True)
class DeadControl:
    """A control that the residual's gradient cannot move, or that moves nothing that is seen.

    Attributes:
        name: of the control.
        where: the layer in which its column dies ("deform", "render", "detect"), or "range".
        reason: a plain sentence without a full stop, e.g. "what it moves is hidden".
    """

    name: str
    where: str
    reason: str


@dataclass(frozen=True)
class Recipe:
    """A direction in the controls that the landmarks hardly see.

    Attributes:
        changes: control → how far the slider goes; the largest first.
        landmark_px: how far the landmark that moves most moves, pixels of the view.
        vertex_mm: how far the vertex that moves most moves.
        singular_value: of the whitened Jacobian.
    """

    changes: dict[str, float]
    landmark_px: float
    vertex_mm: float
    singular_value: float


@dataclass(frozen=True)
class TradeOff:
    """Two controls that can stand in for each other.

    Attributes:
        first, second: controls.
        correlation: of their errors, in [-1, 1]; towards −1: if one is too high, the other is too low.
        cosine: of what they do to the landmarks, in [-1, 1]; towards 1: the same.
    """

    first: str
    second: str
    correlation: float
    cosine: float


@dataclass(frozen=True)
class Observability:
    """What this photo can tell of the K controls.

    Attributes:
        names: of the controls.
        sd: `(K,)` standard deviation that remains, in the control's unit.
        prior_sd: `(K,)` what was known without the photo (inf where nothing was).
        full_range_px: `(K,)` how far the control's full range moves the landmark that moves most.
        singular_values: `(K,)` of the Jacobian, whitened by landmark spread and control range, falling.
        weakest: directions that hardly show, the weakest first.
        trade_offs: pairs of controls, the worst first.
        unobservable: controls whose full range moves no landmark by 0.2 px.
        least_determined: controls that the photo determines worst, the worst first, each with the reason in a
            plain sentence.
        sentences: what else there is to say, in plain sentences.
    """

    names: tuple[str, ...]
    sd: Tensor
    prior_sd: Tensor
    full_range_px: Tensor
    singular_values: Tensor
    weakest: tuple[Recipe, ...]
    trade_offs: tuple[TradeOff, ...]
    unobservable: tuple[str, ...]
    least_determined: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attribution:
    """Which landmarks ask for which control: the terms of −Jᵀ W r.

    Attributes:
        names: of the K controls.
        regions: `(L,)` region of the face that each landmark belongs to, e.g. "mouth", "left brow".
        terms: `(L, K)`; positive: this landmark asks for more of the control. Their sum over L is the
            negative gradient of the landmark term.
    """

    names: tuple[str, ...]
    regions: tuple[str, ...]
    terms: Tensor


@dataclass(frozen=True)
class Findings:
    """Everything that `chainrig jacobian` reports.

    Attributes:
        title: what was inspected, e.g. the photo's file name.
        at: at which controls, e.g. "the fitted controls" or "the rest pose".
        steps: control → the step its card shows: 0.1, for a turn in radians 0.1, for a shift in metres 0.01.
        gradient, dead, attribution: without a photo there is no residual: empty and None.
        cost: one sentence on what the Jacobian cost.
    """

    title: str
    at: str
    view: View
    columns: Columns
    steps: dict[str, float]
    observability: Observability
    badges: tuple[Badge, ...]
    gradient: tuple[GradientStation, ...]
    dead: tuple[DeadControl, ...]
    attribution: Attribution | None
    cost: str
