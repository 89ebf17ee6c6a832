"""Where the chain's X4 says what hand labels say: each labelled point in the detector's scheme, or on the
rig.

Labels and detector need not share a scheme. A labelled point is read, in this order,

1. from the detector's landmarks, where its scheme has the point, exactly or nearly (see `matches.py`);
2. from the rig's landmark embedding, where only that has it: then no pixel is asked about this point;
3. not at all: the report tells why.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.target.comparison import Comparison, means
from pipeline.target.labels.labels import Labels
from pipeline.target.matches import matches
from pipeline.target.schemes import MEDIAPIPE478, Agreement, Match, scheme

TRUST: Mapping[Agreement, float] = {"exact": 1.0, "near": 0.5, "outline": 0.0}  # factors of the weights
LEAST = 4  # points: with fewer, a head's pose is anybody's guess
# Means of the distances to the face that was found, of the outer-eye distance. No detector errs by as much.
ANOTHER_FACE, EXCHANGED = 0.25, 0.15


def trusting(near: float) -> Mapping[Agreement, float]:
    """Factors of the weights, with a chosen one for points that are only near."""
    return {**TRUST, "near": near}


@dataclass(frozen=True)
class Reading:
    """How M of the labels' N points are read.

    Attributes:
        labels: the labels.
        index: `(M,)` int64, which of the N.
        points: `(M, 2)` float64, in pixels of the photo.
        comparison: where the detector and the rig have them; they count by the labels' weights times the
            trust in the agreement.
        agreements: M, of the match that is read.
        detector: name of the detector's scheme; None if only the rig is read.
        rig: name of the scheme of the rig's landmark embedding.
        left_out: labelled points that are not read, by the reason.
    """

    labels: Labels
    index: Tensor
    points: Tensor
    comparison: Comparison
    agreements: tuple[Agreement, ...]
    detector: str | None
    rig: str
    left_out: Mapping[str, tuple[int, ...]]

    @property
    def regions(self) -> tuple[str, ...]:
        """M, the part of the face of each point."""
        return tuple(self.labels.scheme.regions[i] for i in self.index.tolist())

    def require_face(self, landmarks: Tensor) -> None:
        """Sees that the labels are on the face that was found.

        Args:
            landmarks: `(R, 2 or 3)` of that face in the embedding's scheme, in pixels of the photo.

        Raises:
            ChainRigError: they are far from it, or right and left are exchanged.
        """
        found = self.comparison.embedded(landmarks.double())  # [M, 2]
        eyes = scheme(self.rig).outer_eyes
        assert eyes is not None, "every shipped scheme has them"
        iod = (landmarks[eyes[0], :2] - landmarks[eyes[1], :2]).norm()

        def error(points: Tensor) -> float:  # points that are not labelled are NaN
            return float(((points - found).norm(dim=-1) / iod).nanmean())

        path, own = self.labels.path, error(self.points)
        twins = torch.tensor(self.labels.scheme.twins)[self.index]
        if own > EXCHANGED and error(self.labels.points[twins]) < own / 2:
            raise ChainRigError(f"{path} has right and left exchanged: right is the subject's own right.")
        if own <= ANOTHER_FACE:
            return
        raise ChainRigError(
            f"{path} has labels that lie {own:.1f} eye distances from the face that was "
            "found: they belong to another size of the photo, to another face, or to another scheme."
        )

    def report(self) -> str:
        """What was read of the labels and how, for a person."""
        own, given = self.labels.scheme, int(self.labels.labelled.sum())
        sentences = [f"{len(self.index)} of {own.name}'s {len(own)} points: {_by_region(self.regions)}."]
        on_rig = self.comparison.on_rig
        for name, of in ((self.detector, ~on_rig), ("the rig's embedding", on_rig)):
            read = [self.agreements[i] for i in of.nonzero().flatten().tolist()]
            if read and name == own.name:
                sentences.append(f"{len(read)} are the detector's own points.")
            elif read:
                counts = ", ".join(f"{read.count(one)} {one}" for one in TRUST if one in read)
                sentences.append(f"{len(read)} are read from {name} ({counts}).")
        for reason, points in self.left_out.items():
            what = _by_region([own.regions[i] for i in points])
            sentences.append(f"{what} left out, because {reason}.")
        if given < len(own):
            sentences.append(f"{len(own) - given} are not labelled.")
        return " ".join(sentences)


def read_through(
    labels: Labels,
    detector: str | None,
    rig: str = MEDIAPIPE478.name,
    trust: Mapping[Agreement, float] = TRUST,
) -> Reading:
    """Finds every labelled point among a detector's landmarks or the rig's.

    Args:
        detector: name of the detector's scheme; None to read the rig alone.
        rig: name of the scheme of the rig's landmark embedding.
        trust: what the weight of a point is multiplied by; 0 leaves points of that agreement out.

    Raises:
        ChainRigError: fewer than four points can be read, or there is no such scheme.
    """
    seen: tuple[Match | None, ...]
    seen = matches(labels.scheme, detector) if detector is not None else (None,) * len(labels.scheme)
    lies = matches(labels.scheme, rig)
    rows: list[tuple[int, Match | None, Match, Agreement]] = []
    left_out: dict[str, list[int]] = {}
    for i in labels.labelled.nonzero().flatten().tolist():
        by_detector, on_rig = seen[i], lies[i]
        if by_detector is not None and on_rig is not None and trust[by_detector.agreement] > 0:
            rows.append((i, by_detector, on_rig, by_detector.agreement))
        elif on_rig is not None and trust[on_rig.agreement] > 0:
            rows.append((i, None, on_rig, on_rig.agreement))
        else:
            left_out.setdefault(_reason(on_rig), []).append(i)
    if len(rows) < LEAST:
        raise ChainRigError(
            f"{labels.path} labels only {len(rows)} points that can be used: label {LEAST} or more that are "
            "not on the outline of the face."
        )
    index = torch.tensor([i for i, *_ in rows])
    factors = torch.tensor([trust[agreement] for *_, agreement in rows], dtype=torch.float64)
    weights = labels.weights[index] * factors
    return Reading(
        labels=labels,
        index=index,
        points=labels.points[index],
        comparison=Comparison(
            from_detector=means([match for _, match, _, _ in rows], scheme(detector or rig)),
            from_rig=means([match for _, _, match, _ in rows], scheme(rig)),
            on_rig=torch.tensor([match is None for _, match, _, _ in rows]),
            share=weights / weights.sum(),
        ),
        agreements=tuple(agreement for *_, agreement in rows),
        detector=detector,
        rig=rig,
        left_out={reason: tuple(points) for reason, points in left_out.items()},
    )


def _reason(on_rig: Match | None) -> str:
    if on_rig is None:
        return "the rig has no counterpart"
    if on_rig.agreement == "outline":
        return "the outline of a face in a photo is no fixed place on its skin"
    return "points that are only near are not trusted"


def converted(landmarks: Tensor, source: str, target: str) -> Tensor:
    """Landmarks of one scheme as those of another, as near as there are.

    Args:
        landmarks: `(*B, N, D)` of the scheme `source`.

    Returns:
        `(*B, M, D)` of the scheme `target`; NaN where `source` has no counterpart.

    Raises:
        ChainRigError: there is no such scheme.
    """
    found = matches(scheme(target), source)
    missing = torch.tensor([match is None for match in found], device=landmarks.device)
    result = means(list(found), scheme(source)).to(landmarks) @ landmarks
    return result.masked_fill(missing[:, None], torch.nan)


def _by_region(regions: list[str] | tuple[str, ...]) -> str:
    """Such as "4 eye, 12 lip and 1 jaw points"."""
    counts = [f"{regions.count(region)} {region}" for region in dict.fromkeys(regions)]
    listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
    return f"{listed} point{'s' if len(regions) > 1 else ''}"
