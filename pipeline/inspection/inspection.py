"""Everything that `chainrig jacobian` finds out, in one go."""

import time
from collections.abc import Callable, Sequence

import torch

from pipeline.checks.trust_badges import trust_badges
from pipeline.controls import Control
from pipeline.inspection.attribution import attribute
from pipeline.inspection.columns import push_columns
from pipeline.inspection.face_regions import face_regions
from pipeline.inspection.findings import Findings
from pipeline.inspection.gradient import dead_controls, follow_gradient
from pipeline.inspection.observability import observe
from pipeline.inspection.scene import Scene

Progress = Callable[[str, int, int], None]
STEPS = {"rad": 0.1, "m": 0.01}  # what a card shows; of any other control 0.1


def inspect(scene: Scene, names: Sequence[str], at: str, on_progress: Progress | None = None) -> Findings:
    """The Jacobians of every layer at the scene's controls, and what they say.

    Args:
        names: of controls, or patterns such as "mouth*".
        at: at which controls, for the report.
        on_progress: called with (what is done, steps done, steps in all).

    Raises:
        ChainRigError: there is no such control.
    """

    def tell(what: str, done: int, of: int) -> None:
        if on_progress is not None:
            on_progress(what, done, of)

    began = time.process_time()
    columns = push_columns(scene, names, lambda done, of: tell("Columns of the Jacobian", done, of))
    pushed = time.process_time() - began
    regions = face_regions(scene.rig, scene.detector.scheme)
    gradient, attribution = (), None
    if scene.has_target:
        gradient = follow_gradient(scene, columns, regions)
        attribution = attribute(scene, columns, regions)
    descent = None if attribution is None else -attribution.terms.double().sum(0)
    badges = trust_badges(scene.chain, scene.x, columns.names, lambda doing: tell("Trust", 0, 0))
    return Findings(
        title=scene.title,
        at=at,
        view=scene.view(),
        columns=columns,
        steps={control.name: card_step(control) for control in columns.controls},
        observability=observe(scene, columns),
        badges=badges,
        gradient=gradient,
        dead=dead_controls(scene, columns, descent),
        attribution=attribution,
        cost=_cost(scene, len(columns.controls), pushed),
    )


def card_step(control: Control) -> float:
    """How far a card moves a control."""
    return STEPS.get(control.unit, 0.1)


def _cost(scene: Scene, count: int, seconds: float) -> str:
    """What the columns took, in plain evaluations of the chain."""
    x, taken = scene.x.float(), []
    with torch.no_grad():
        for _ in range(5):
            began = time.process_time()
            scene.chain(x)
            taken.append(time.process_time() - began)
    plain = sorted(taken)[len(taken) // 2]
    return (
        f"The columns of {count} controls at all stations took {seconds:.1f} s of processor time, as long as "
        f"{seconds / plain:.0f} plain evaluations of the chain."
    )
