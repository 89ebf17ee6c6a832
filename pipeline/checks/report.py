"""What the checks found: as a document, and in one sentence that names the worst offender."""

import math
from collections.abc import Sequence
from typing import Any

from pipeline.checks.badge import Badge


def worst_offender(badges: Sequence[Badge]) -> Badge | None:
    """What is wrong first and foremost.

    It is about the layer that is furthest beyond a limit (the chain only where no layer is: it inherits their
    faults), and the first of the questions that this layer fails: what tells most is asked first.
    """
    failed = [badge for badge in badges if not badge.passed]
    failed = [badge for badge in failed if badge.layer != "chain"] or failed
    if not failed:
        return None
    layer = max(failed, key=_beyond).layer
    return next(badge for badge in failed if badge.layer == layer)


def verdict(badges: Sequence[Badge]) -> tuple[str, bool]:
    """One sentence, and whether all is well."""
    worst = worst_offender(badges)
    if worst is None:
        return f"All {len(badges)} checks passed.", True
    where = f"{worst.layer}: {worst.worst}" if worst.worst else worst.layer
    if math.isfinite(worst.value):
        found = f"{worst.question}: the error is {worst.value:.1e}, where {worst.limit:.0e} is allowed"
    else:
        found = f"{worst.question}: {worst.note.rstrip('.') or 'the error is not a number'}"
    count = sum(not badge.passed for badge in badges)
    others = f" ({count} of {len(badges)} checks failed)" if count > 1 else ""
    return f"{where} is wrong, {found}{others}.", False


def document(badges: Sequence[Badge]) -> dict[str, Any]:
    """For JSON. An error that is no finite number is null: the note says why."""
    worst = worst_offender(badges)
    return {
        "schema": "chainrig.check-gradients/1",
        "passed": worst is None,
        "worst": None if worst is None else _entry(worst),
        "checks": [_entry(badge) for badge in badges],
    }


def _entry(badge: Badge) -> dict[str, Any]:
    return {
        "layer": badge.layer,
        "question": badge.question,
        "error": badge.value if math.isfinite(badge.value) else None,
        "limit": badge.limit,
        "passed": badge.passed,
        "worst": badge.worst,
        "note": badge.note,
    }


def _beyond(badge: Badge) -> float:
    """How many times its limit the error is."""
    if not math.isfinite(badge.value):
        return math.inf
    return badge.value / badge.limit if badge.limit > 0 else math.inf
