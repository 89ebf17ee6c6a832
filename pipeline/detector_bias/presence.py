"""How far a head may turn before FaceMesh sees no face: then no fit begins."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.detector_bias.looking import Observer
from pipeline.detector_bias.scenes import EYES_UP_M, Plan, rotation_vector
from pipeline.render.lighting import Light
from pipeline.target.faces import MIN_PRESENCE

YAWS = tuple(range(-90, 91, 15))  # degrees
DISTANCE_M = 1.2
PITCHES = tuple(range(-60, 61, 30))


@dataclass(frozen=True)
class Presence:
    """FaceMesh's probability of a face, in the region that it asks for itself.

    The default head in the default light, neutral, 1.2 m away.

    Attributes:
        yaw_deg: `(A,)` degrees, positive toward the subject's left.
        pitch_deg: `(B,)` positive where it looks up.
        presence: `(A, B)`.
    """

    yaw_deg: Tensor
    pitch_deg: Tensor
    presence: Tensor

    def limits(self) -> dict[str, float | None]:
        """How far a head can turn to the left, the right, up and down, in degrees, before presence falls
        below that of a fit; None: it does not, as far as was looked."""
        level, ahead = int(self.pitch_deg.abs().argmin()), int(self.yaw_deg.abs().argmin())
        turned, nodded = self.presence[:, level], self.presence[ahead]
        return {
            "left": _limit(self.yaw_deg[ahead:], turned[ahead:]),
            "right": _limit(-self.yaw_deg[: ahead + 1].flip(0), turned[: ahead + 1].flip(0)),
            "up": _limit(self.pitch_deg[level:], nodded[level:]),
            "down": _limit(-self.pitch_deg[: level + 1].flip(0), nodded[: level + 1].flip(0)),
        }


def measure_presence(
    observer: Observer, plan: Plan, on_done: Callable[[int, int], None] | None = None
) -> Presence:
    """Of the plan's default head; `on_done` is called with how many of all renders are done."""
    yaw, pitch = torch.meshgrid(torch.tensor(YAWS).float(), torch.tensor(PITCHES).float(), indexing="ij")
    space = observer.rig.controls
    ahead = space.pack({"headTranslationY": EYES_UP_M, "headTranslationZ": -DISTANCE_M})
    controls, turn = ahead.repeat(yaw.numel(), 1), space.groups["pose"].start
    flat = yaw.flatten(), pitch.flatten(), torch.zeros(yaw.numel())
    controls[:, turn : turn + 3] = rotation_vector(*flat)
    material, found = observer.material(plan.colours[0]), []
    for some in controls.split(len(PITCHES)):
        found.append(observer.presence(some, material, Light.default()))
        if on_done is not None:
            on_done(len(found) * len(PITCHES), len(controls))
    return Presence(
        torch.tensor(YAWS).double(), torch.tensor(PITCHES).double(), torch.cat(found).view(yaw.shape).double()
    )


def _limit(angle: Tensor, presence: Tensor) -> float | None:
    """Where presence first falls below a fit's, linear between the angles, which begin at 0."""
    below = (presence < MIN_PRESENCE).nonzero().flatten()
    if not len(below):
        return None
    i = int(below[0])
    if i == 0:
        return 0.0
    share = (presence[i - 1] - MIN_PRESENCE) / (presence[i - 1] - presence[i])
    return float(angle[i - 1] + share * (angle[i] - angle[i - 1]))
