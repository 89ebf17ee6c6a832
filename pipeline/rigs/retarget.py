"""The same expression on another rig: by the controls' names, and by the landmarks' motion where names do not
meet.

First every control of the other rig that means an ARKit shape takes that shape's value. What is then missing
(shapes of the first rig that the other has no name for) is looked for with the controls that have no such
meaning:

    minimise over y in its box   ‖ s · motion₁(x) − motion₂(y) ‖² + damping ‖y / range‖²

where motion is how far the 442 scored landmarks have moved from the neutral head, in the head's frame, and s
the ratio of the heads' sizes (their outer eye corners).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.controls import POSE_NAMES
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.embedding import SCORED
from pipeline.errors import ChainRigError
from pipeline.rigs.names import ARKIT, arkit_of, from_arkit, to_arkit
from pipeline.solve.box_qp import solve_box_qp

EYE_CORNERS = (33, 263)
DAMPING_MM = 0.5  # RMS of landmarks for which a control would go to the end of its range
STEPS = 4  # Gauss-Newton: shapes are linear, but for joints and correctives
NEGLIGIBLE = 1e-3  # of a control's range


@dataclass(frozen=True)
class Retargeted:
    """What became of an expression.

    Attributes:
        values: of the other rig's controls: expression and pose; identity stays at rest.
        by_name: controls that took their value by name.
        by_motion: controls that were looked for.
        lost: controls of the first rig that were not carried over: no name, and nothing to match motions
        with. residual_mm: RMS distance between the landmarks' motions, on the other head; None without
        landmarks.
    """

    values: dict[str, float]
    by_name: tuple[str, ...]
    by_motion: tuple[str, ...]
    lost: tuple[str, ...]
    residual_mm: float | None


@torch.no_grad()
def retarget(values: Mapping[str, float], source: Rig, target: Rig) -> Retargeted:
    """Carries expression and pose from one rig to another.

    Args:
        values: of the source's controls; those that are not named are at rest.

    Raises:
        ChainRigError: a value is of no control of the source.
    """
    x = source.controls.pack(values, source.controls.rest.clone())
    expression = dict(zip(source.expression_names, x[: len(source.expression_names)].tolist(), strict=True))
    low, high = target.controls.low, target.controls.high
    named = {
        name: _within(target, name, value)
        for name, value in from_arkit(to_arkit(expression), target.expression_names).items()
    }
    y = target.controls.pack({name: value for name, value in named.items()}, target.controls.rest.clone())
    for name in POSE_NAMES:
        y[target.controls.index(name)] = x[source.controls.index(name)]
    carried = {arkit for name in named for arkit in arkit_of(name)}
    unmet = [
        name
        for name, value in expression.items()
        if abs(value) > NEGLIGIBLE and not set(arkit_of(name)) & carried
    ]
    free = [k for k, name in enumerate(target.expression_names) if not set(arkit_of(name)) & set(ARKIT)]
    both = source.landmark_triangle is not None and target.landmark_triangle is not None
    if not both:
        return Retargeted(_values(target, y), tuple(named), (), tuple(unmet), None)
    wanted = _Motion(source)(x) * (_Motion(target).size / _Motion(source).size)
    motion = _Motion(target)
    searched = free if unmet else []
    for _ in range(STEPS if searched else 0):
        y = _step(motion, y, wanted, searched, low, high)
    residual = 1000 * float((motion(y) - wanted).square().sum(-1).mean().sqrt())
    found = tuple(target.expression_names[k] for k in searched)
    lost = () if searched else tuple(unmet)
    return Retargeted(_values(target, y), tuple(named), found, lost, residual)


class _Motion:
    """How far a rig's expression has moved the scored landmarks: controls (K,) float64 → (442, 3) metres."""

    def __init__(self, rig: Rig) -> None:
        self.rig, small = rig, rig.at_landmarks().to(dtype=torch.float64)
        assert small.landmark_barycentric is not None
        self.deform, self.triangles = Deformer(small), small.triangles
        self.barycentric = small.landmark_barycentric
        self.count = len(rig.expression_names)
        self.rest = rig.controls.rest
        self.neutral = self._points(self.rest)
        corners = self.neutral[list(EYE_CORNERS)]
        self.size = float((corners[0] - corners[1]).norm())
        if not self.size > 0:
            raise ChainRigError("The rig's landmarks lie on each other: run chainrig rig embed again.")

    def __call__(self, x: Tensor) -> Tensor:
        only = self.rest.clone()
        only[: self.count] = x[: self.count]
        return (self._points(only) - self.neutral)[list(SCORED)]

    def _points(self, x: Tensor) -> Tensor:
        return (self.barycentric[..., None] * self.deform(x)[self.triangles]).sum(-2)


def _step(motion: _Motion, y: Tensor, wanted: Tensor, free: list[int], low: Tensor, high: Tensor) -> Tensor:
    """One Gauss-Newton step of the free controls, inside their box."""
    index = torch.tensor(free)

    def of_free(part: Tensor) -> Tensor:
        return motion(y.index_put((index,), part)).flatten()

    residual = of_free(y[index]) - wanted.flatten()
    J = torch.func.jacfwd(of_free)(y[index])
    reach = (high - low)[index]
    damping = len(wanted) * (DAMPING_MM / 1000 / reach).square()
    hessian = J.T @ J + damping.diag()
    gradient = J.T @ residual + damping * y[index]
    step = solve_box_qp(hessian, gradient, low[index] - y[index], high[index] - y[index])
    return y.index_put((index,), y[index] + step)


def _within(rig: Rig, name: str, value: float) -> float:
    control = rig.controls.controls[rig.controls.index(name)]
    return min(max(value, control.low), control.high)


def _values(rig: Rig, y: Tensor) -> dict[str, float]:
    """Expression and pose by name."""
    groups = rig.controls.groups
    every = list(rig.controls.unpack(y).items())
    return dict(every[groups["expression"]] + every[groups["pose"]])
