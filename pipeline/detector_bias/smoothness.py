"""How rough the detector's derivative is: what a shift of the view by part of a pixel does to it.

The picture hardly changes, so directional derivatives of the landmarks should not either. A network of
rectifiers has kinks: its slope at a point is that of the piece the point lies in. `FaceMesh.smoothing`
rounds the kinks off in the derivative (`detect/rectifier.py`).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.derivatives.linearize import linearize
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.region import Region
from pipeline.detector_bias.looking import Observer
from pipeline.detector_bias.scenes import Plan

SHIFTS_PX = (0.125, 0.25, 0.5, 1.0)
SMOOTHINGS = (0.0, 0.1, 0.3)
DIRECTION = (0.8, 0.6)  # of the shift, on the view
CONTROLS = (
    "jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkRight", "headRotationY", "headTranslationX",
)  # fmt: skip
SCENES = 4


@dataclass(frozen=True)
class Smoothness:
    """Relative changes of directional derivatives ∂X4/∂X1 d, norms over all landmarks.

    Attributes:
        smoothings: S widths of the rectifier in the derivative; 0 is the detector's own derivative.
        shifts_px: T shifts of the view, in its pixels.
        change: `(S, T)` ‖J(shifted) d − J d‖ / ‖J d‖, the median over scenes and directions d.
        controls: the directions.
    """

    smoothings: tuple[float, ...]
    shifts_px: tuple[float, ...]
    change: Tensor
    controls: tuple[str, ...]


@torch.no_grad()
def measure_smoothness(
    observer: Observer, plan: Plan, rows: Sequence[int], on_done: Callable[[int], None] | None = None
) -> Smoothness:
    """In the scenes `rows` of a plan; `on_done` is called with how many are done."""
    detectors = _smoothed(observer.detector)
    space = observer.rig.controls
    names = tuple(name for name in CONTROLS if name in space.names)
    directions = torch.stack([space.pack({name: 1.0}, torch.zeros(len(space))) for name in names])  # [D, K]
    changes = []
    for done, row in enumerate(rows):
        x = plan.controls[row]
        _, light, _, identity = plan.levels[row].tolist()
        material, lamp = observer.material(plan.colours[identity]), plan.lights[light]
        vertices = observer.deform(x)
        moved = linearize(observer.deform, x)(directions)  # [D, V, 3]
        region = observer.region(vertices[None], material, lamp)
        slopes = []  # of each shift, [S, D, 2 L]
        for shift in (0.0, *SHIFTS_PX):
            renderer = observer.renderer(material, lamp, shifted(region, shift))
            picture, painted = renderer(vertices), linearize(renderer, vertices)(moved)
            pushed = [linearize(one, picture)(painted)[..., :2].flatten(1) for one in detectors.values()]
            slopes.append(torch.stack(pushed))
        first, others = slopes[0], torch.stack(slopes[1:])
        changes.append((others - first).norm(dim=-1) / first.norm(dim=-1))  # [T, S, D]
        if on_done is not None:
            on_done(done + 1)
    change = torch.stack(changes).permute(2, 1, 0, 3).flatten(2).median(-1).values
    return Smoothness(tuple(detectors), SHIFTS_PX, change, names)


def shifted(region: Region, pixels: float) -> Region:
    """The one region of a batch, moved by so many pixels of its view."""
    step = region.centre.new_tensor(DIRECTION) * pixels * region.side[0] / region.size
    return Region(region.centre[0] + step, region.side[0], region.rotation[0], region.size)


def _smoothed(detector: LandmarkDetector) -> dict[float, LandmarkDetector]:
    """By smoothing; its own alone, where it knows none."""
    if not isinstance(detector, FaceMesh):
        return {0.0: detector}
    found: dict[float, LandmarkDetector] = {}
    for smoothing in SMOOTHINGS:
        one = copy.deepcopy(detector)
        one.smoothing = smoothing
        found[smoothing] = one
    return found
