"""How far the derivatives of a chain can be trusted at one point: the battery in brief, for reports."""

from collections.abc import Callable, Sequence

from torch import Tensor

from pipeline.checks.badge import Badge
from pipeline.checks.battery import ask, for_chain, in_brief
from pipeline.checks.scene import Scene
from pipeline.layer import Pipeline


def trust_badges(
    chain: Pipeline,
    x: Tensor,
    controls: Sequence[str] | None = None,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> tuple[Badge, ...]:
    """Every layer of deform → render → detect, and the chain: about 15 s at 256 × 256 on one core.

    Args:
        chain: `pipeline.chain.build_chain`'s; it is copied, not changed.
        x: `(K,)` the controls at which it is asked.
        controls: those whose columns are examined; all if omitted.
        on_progress: called with what is being done, in words.
    """
    scene = Scene(chain, x, names=controls, at_once=True)
    badges: list[Badge] = []
    for name in (*(layer.name for layer in chain), "chain"):
        subject = scene.subject(name)
        asked = for_chain(subject) if name == "chain" else in_brief(subject)
        for question in asked:
            on_progress(f"checking {name}: {question}")
            badges += ask(subject.layer, {question: asked[question]})
    return tuple(badges)
