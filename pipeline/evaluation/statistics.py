"""What the rows of many images come to."""

import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, median
from typing import Any, NamedTuple

from pipeline.evaluation.control_error import absolute_errors, mean_or_none
from pipeline.evaluation.label_error import LabelError
from pipeline.evaluation.row import Found, Row

WORST = 12  # controls that are named
SMILES = ("mouthSmile", "mouthDimple", "mouthUpperUp", "cheekSquint", "eyeSquint")  # what a smile moves
_EXPRESSION = re.compile(r"neutral|smil(?:ing|es|ed|e)?", re.IGNORECASE)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything below; what no row can tell of is left out."""
    counts: dict[str, Any] = {"images": len(rows), "fitted": sum(row.found is not None for row in rows)}
    counts["failed"] = sum(row.status == "failed" for row in rows)
    counts["crashed"] = sum(row.status == "crashed" for row in rows)
    groups = {
        "fits": of_fits(rows),
        "labels": of_labels(rows),
        "truth": of_truth(rows),
        "neutral": of_neutral(rows),
        "smile": of_smiles(rows),
    }
    return counts | {name: values for name, values in groups.items() if values}


def of_fits(rows: Sequence[Row]) -> dict[str, Any]:
    """Residuals in % of the outer-eye distance, and what they cost."""
    fits = [row.found for row in rows if row.found is not None]
    if not fits:
        return {}
    final = [fit.residual_final_percent for fit in fits]
    return {
        "residual_start_percent_mean": mean(fit.residual_start_percent for fit in fits),
        "residual_percent_mean": mean(final),
        "residual_percent_median": median(final),
        "residual_percent_worst": max(final),
        "not_below_start": sum(fit.residual_final_percent >= fit.residual_start_percent for fit in fits),
        "evaluations_mean": mean(fit.evaluations for fit in fits),
        "evaluations_most": max(fit.evaluations for fit in fits),
        "gradients_mean": mean(fit.gradients for fit in fits),
        "seconds_mean": mean(fit.seconds for fit in fits),
        "mean_expression": mean(fit.mean_expression for fit in fits),
    }


def of_labels(rows: Sequence[Row]) -> dict[str, Any]:
    """The 68-point error, in % of the labels' outer-eye distance."""
    found = [(row.path, row.labels) for row in rows if row.labels is not None]
    if not found:
        return {}
    errors = [error for _, error in found]
    regions = dict.fromkeys(name for error in errors for name in error.regions)
    worst_path, worst = max(found, key=lambda pair: pair[1].fitted)
    return {
        "images": len(found),
        "points_compared": _points(errors),
        "error_percent_mean": mean(error.fitted for error in errors),
        "error_percent_median": median(error.fitted for error in errors),
        "error_percent_worst": worst.fitted,
        "worst_image": worst_path,
        "worst_point_percent": max(error.worst for error in errors),
        "detector_percent_mean": mean_or_none(e.detector for e in errors if e.detector is not None),
        "regions_percent": {
            name: mean(error.regions[name] for error in errors if name in error.regions) for name in regions
        },
    }


def of_truth(rows: Sequence[Row]) -> dict[str, Any]:
    """Absolute errors of controls, every control of every image counting the same.

    Expressions are those that a photo can show; `at_rest` is what a fit that never moves would have.
    """
    judged = [(row.found, row.truth) for row in rows if row.found is not None and row.truth is not None]
    if not judged:
        return {}
    errors: dict[str, list[float]] = defaultdict(list)
    active, quiet, true = [], [], []
    for fit, known in judged:
        for name, error in absolute_errors(fit.controls, known.truth).items():
            if name not in fit.unobservable:
                errors[name].append(error)
                (active if known.truth[name] else quiet).append(error)
                true.append(abs(known.truth[name]))
    every = [e for fit, known in judged for e in absolute_errors(fit.controls, known.truth).values()]
    turns = [known.rotation_deg for _, known in judged if known.rotation_deg is not None]
    by_control = {name: mean(values) for name, values in errors.items()}
    worst = sorted(by_control, key=lambda name: -by_control[name])[:WORST]
    found = {
        "images": len(judged),
        "observable_error": mean_or_none(error for values in errors.values() for error in values),
        "active_error": mean_or_none(active),
        "quiet_error": mean_or_none(quiet),
        "every_error": mean_or_none(every),
        "at_rest": mean_or_none(true),
        "identity_error": mean_or_none(known.identity for _, known in judged if known.identity is not None),
        "worst_controls": {name: by_control[name] for name in worst},
    }
    if turns:
        found |= {"rotation_deg_mean": mean(turns), "rotation_deg_median": median(turns)}
        found["rotation_deg_worst"] = max(turns)
    return found


def of_neutral(rows: Sequence[Row]) -> dict[str, Any]:
    """Expressions on images that are called neutral: they should be near 0."""
    fits = [(row, row.found) for row in rows if row.found is not None and called(row.path).kind == "neutral"]
    if not fits:
        return {}
    largest = [fit.largest_expression for _, fit in fits]
    worst, fit = max(fits, key=lambda pair: pair[1].largest_expression)
    return {
        "images": len(fits),
        "mean_expression": mean(fit.mean_expression for _, fit in fits),
        "largest_mean": mean(largest),
        "largest_median": median(largest),
        "largest_worst": fit.largest_expression,
        "worst_image": worst.path,
        "worst_control": fit.largest_control,
    }


def of_smiles(rows: Sequence[Row]) -> dict[str, Any]:
    """How far the smile rises from the neutral images to the smiling ones of the same name.

    `others_mean` is the mean |value| that all controls but `SMILES` have on the smiling ones.
    """
    smiles: dict[str, dict[str, list[Found]]] = defaultdict(lambda: {"neutral": [], "smile": []})
    for row in rows:
        name = called(row.path)
        if row.found is not None and row.found.smile is not None and name.kind:
            smiles[name.rest][name.kind].append(row.found)
    pairs = {rest: pair for rest, pair in smiles.items() if pair["neutral"] and pair["smile"]}
    rises = {
        rest: mean(f.smile or 0.0 for f in pair["smile"]) - mean(f.smile or 0.0 for f in pair["neutral"])
        for rest, pair in pairs.items()
    }
    if not rises:
        return {}
    smiling = [fit for pair in pairs.values() for fit in pair["smile"]]
    others = [abs(v) for fit in smiling for name, v in fit.controls.items() if not name.startswith(SMILES)]
    least = min(rises, key=lambda name: rises[name])
    return {
        "pairs": len(rises),
        "rise_mean": mean(rises.values()),
        "rise_median": median(rises.values()),
        "rise_least": rises[least],
        "least_pair": least,
        "others_mean": mean_or_none(others),
    }


class Called(NamedTuple):
    """What a name says of the expression ("neutral", "smile" or ""), and the rest of it."""

    kind: str
    rest: str


def called(path: str) -> Called:
    """By the last "neutral" or "smil…" in a path, so that folders may say it, too."""
    stem = re.sub(r"\.[^./]*$", "", path)
    found = list(_EXPRESSION.finditer(stem))
    if not found:
        return Called("", stem)
    start, end = found[-1].span()
    kind = "neutral" if found[-1].group().lower() == "neutral" else "smile"
    return Called(kind, (stem[:start] + stem[end:]).strip("/_- "))


def _points(errors: list[LabelError]) -> dict[str, str]:
    """Of each scheme the points that were compared in any image, as ranges: "8, 17-67"."""
    by_scheme: dict[str, set[int]] = defaultdict(set)
    for error in errors:
        by_scheme[error.scheme] |= set(error.points)
    return {name: ranges(sorted(points)) for name, points in by_scheme.items()}


def ranges(numbers: list[int]) -> str:
    """Rising whole numbers in short: [8, 17, 18, 19] → "8, 17-19"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
