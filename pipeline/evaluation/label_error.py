"""How far the fitted rig's own points lie from those that a person placed: the 68-point error."""

from dataclasses import dataclass
from statistics import mean

from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.result import FitResult
from pipeline.target.comparison import means
from pipeline.target.labels.labels import Labels
from pipeline.target.matches import matches, shipped
from pipeline.target.schemes import IBUG68, MEDIAPIPE478, Match, Scheme, scheme


@dataclass(frozen=True)
class LabelError:
    """Distances from labels, in % of the labels' outer-eye distance.

    Attributes:
        scheme: the labels'.
        points: which of the scheme's points were compared.
        fitted: mean distance of the rig's points, projected.
        worst: the largest.
        detector: mean distance of the detector's landmarks on the photo, where it has all of the points:
            what a fit that matches the detector perfectly would come to.
        regions: `fitted`, by part of the face.
    """

    scheme: str
    points: tuple[int, ...]
    fitted: float
    worst: float
    detector: float | None
    regions: dict[str, float]


def comparable(labelled: Scheme) -> dict[int, Match]:
    """The points of a scheme that are one or several of iBUG's 68, without those that slide along the jaw.

    iBUG's jaw lies on the outline that a photo shows, the rig's points are fixed to the skin; the chin stays.
    """
    on_rig = shipped(IBUG68.name, MEDIAPIPE478.name)
    fixed = {i for i, match in enumerate(on_rig) if match is not None and match.agreement != "outline"}
    found = enumerate(matches(labelled, IBUG68.name))
    return {i: match for i, match in found if match is not None and fixed.issuperset(match.points)}


def label_error(result: FitResult, labels: Labels) -> LabelError:
    """The 68-point error of a fit.

    Where labels leave an outer eye corner out, the fit's own outer-eye distance is the unit.

    Raises:
        ChainRigError: no labelled point can be compared.
    """
    of = labels.scheme
    pairs = {i: match for i, match in comparable(of).items() if bool(labels.labelled[i])}
    if not pairs:
        raise ChainRigError(f"{labels.path} labels no point that can be compared with the rig's 68.")
    index = list(pairs)
    eyes = IBUG68.outer_eyes
    assert eyes is not None, "iBUG's scheme has them"
    unit = labels.outer_eye_distance or float(
        (result.projected68[eyes[0]] - result.projected68[eyes[1]]).norm()
    )

    def apart(points: Tensor, found: list[Match], source: str) -> Tensor:  # (M,), % of the unit
        seen = means(found, scheme(source)) @ points.detach().cpu().double()
        return (seen - labels.points[index]).norm(dim=-1) / unit * 100

    fitted = apart(result.projected68, list(pairs.values()), IBUG68.name).tolist()
    by_detector = matches(of, result.scheme)
    seen = [match for i in index if (match := by_detector[i]) is not None]
    whole = len(seen) == len(index)
    kinds = [of.regions[i] for i in index]
    return LabelError(
        scheme=of.name,
        points=tuple(index),
        fitted=mean(fitted),
        worst=max(fitted),
        detector=float(apart(result.target, seen, result.scheme).mean()) if whole else None,
        regions={
            name: mean(value for value, kind in zip(fitted, kinds, strict=True) if kind == name)
            for name in dict.fromkeys(kinds)
        },
    )
