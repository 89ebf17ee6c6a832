"""Which points a fit compares: where a detector and the rig have them, and how much each counts."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pipeline.detect.embedding import SCORED
from pipeline.target.matches import matches
from pipeline.target.schemes import MEDIAPIPE478, Match, Scheme, scheme


@dataclass(frozen=True)
class Comparison:
    """M points, each the mean of some of a detector's L landmarks and of some of the rig's R.

    Attributes:
        from_detector: `(M, L)` float64, rows of sum 1; zero where the rig is read instead.
        from_rig: `(M, R)` float64, rows of sum 1 for every point: where the detector is read, they stand in
            for it.
        on_rig: `(M,)` bool, the points that the detector does not have: they are read from the rig.
        share: `(M,)` float64 weights, of sum 1.
    """

    from_detector: Tensor
    from_rig: Tensor
    on_rig: Tensor
    share: Tensor

    def __len__(self) -> int:
        return len(self.share)

    def detected(self, landmarks: Tensor) -> Tensor:
        """The points `(*B, M, 2)` among a detector's landmarks `(*B, L, 2 or 3)`; 0 for those on the rig."""
        return _averaged(self.from_detector, self._of_detector, landmarks[..., :2])

    def embedded(self, landmarks: Tensor) -> Tensor:
        """The points `(*B, M, 2)` among the rig's landmarks `(*B, R, 2 or 3)`."""
        return _averaged(self.from_rig, self._of_rig, landmarks[..., :2])

    @cached_property
    def _of_detector(self) -> Tensor | None:
        return _picked(self.from_detector)

    @cached_property
    def _of_rig(self) -> Tensor | None:
        return _picked(self.from_rig)

    def whitened(self, spread: Tensor) -> "Comparison":
        """The same points, each counted by how well it is known: its share over its variance.

        A landmark strays by its spread on renders, and on photographs by some more that nobody has measured:
        that is taken to be the same for all, and as large as their median spread.

        Args:
            spread: `(L,)` standard deviations of the detector's landmarks on renders, in any unit.
        """
        of_landmarks = spread.to(self.from_detector).square()
        variance = self.from_detector.square() @ (of_landmarks + of_landmarks.median())
        variance[self.on_rig] = variance[~self.on_rig].median() if not self.on_rig.all() else 1.0
        share = self.share / variance
        return replace(self, share=share / share.sum())


def own_points(detector: str, rig: str = MEDIAPIPE478.name) -> Comparison:
    """A detector's landmarks on the photo against its landmarks on the render, each counting the same.

    Without those on the outline of the face, which slides over the cheeks as the head turns: the rig has no
    such point. The irises' are among them, and tell where the eyes look.

    Args:
        detector, rig: names of the schemes of the detector and of the rig's landmark embedding.

    Raises:
        ChainRigError: there is no such scheme.
    """
    of = scheme(detector)
    if detector == rig == MEDIAPIPE478.name:
        pairs = [(i, Match(rig, (i,), "exact")) for i in SCORED]
    else:
        found = enumerate(matches(of, rig))
        pairs = [(i, match) for i, match in found if match is not None and match.agreement != "outline"]
    return Comparison(
        from_detector=means([Match(detector, (i,), "exact") for i, _ in pairs], of),
        from_rig=means([match for _, match in pairs], scheme(rig)),
        on_rig=torch.zeros(len(pairs), dtype=torch.bool),
        share=torch.full((len(pairs),), 1 / len(pairs), dtype=torch.float64),
    )


def _picked(rows: Tensor) -> Tensor | None:
    """`(M,)` int64 which one point each row takes; None where some take the mean of several, or none."""
    return rows.argmax(-1) if bool(((rows == 1).sum(-1) == 1).all()) else None


def _averaged(rows: Tensor, picked: Tensor | None, points: Tensor) -> Tensor:
    """rows · points; where every row takes one point, by index: that is cheaper under derivatives."""
    if picked is None:
        return rows.to(points) @ points
    return points[..., picked.to(points.device), :]


def means(rows: list[Match | None] | list[Match], of: Scheme) -> Tensor:
    """`(M, len(of))` float64 rows that average the points of matches; zero for None."""
    result = torch.zeros(len(rows), len(of), dtype=torch.float64)
    for row, match in zip(result, rows, strict=True):
        if match is not None:
            row[list(match.points)] += 1 / len(match.points)
    return result
