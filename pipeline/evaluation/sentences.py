"""What the images of an evaluation come to, in words."""

from typing import Any

from pipeline.inspection.wording import figure

Group = dict[str, Any]
NAMED = 4  # controls


def sentences(found: Group) -> list[str]:
    """Of a summary (`statistics.summary`), a sentence or two for all that it holds."""
    tell = {
        "fits": _of_fits,
        "labels": _of_labels,
        "truth": _of_truth,
        "neutral": _of_neutral,
        "smile": _of_smiles,
    }
    lost = [f"{found[name]} {name}" for name in ("failed", "crashed") if found[name]]
    told = f"Images: {found['images']}, {found['fitted']} fitted{', ' * bool(lost)}{', '.join(lost)}."
    return [told, *(of(found[name]) for name, of in tell.items() if name in found)]


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _of_fits(fits: Group) -> str:
    return (
        f"Residual: {fits['residual_start_percent_mean']:.2f} → {fits['residual_percent_mean']:.2f} % of the "
        f"outer-eye distance, mean (median {fits['residual_percent_median']:.2f}, worst "
        f"{fits['residual_percent_worst']:.2f}), in {fits['evaluations_mean']:.0f} evaluations of the chain, "
        f"{fits['gradients_mean']:.0f} gradients and {fits['seconds_mean']:.1f} s; "
        f"{fits['not_below_start']} did not end below their start."
    )


def _of_labels(labels: Group) -> str:
    points = "; ".join(f"{scheme} {which}" for scheme, which in labels["points_compared"].items())
    detector = labels["detector_percent_mean"]
    own = "" if detector is None else f"; the detector's own landmarks {detector:.2f}"
    return (
        f"68-point error against the labels of {counted(labels['images'], 'image')}, % of their outer-eye "
        f"distance: {labels['error_percent_mean']:.2f}, mean (median {labels['error_percent_median']:.2f}, "
        f"worst {labels['error_percent_worst']:.2f} in {labels['worst_image']}){own}. Compared: {points}."
    )


def _of_truth(truth: Group) -> str:
    told = f"Controls against the truth of {counted(truth['images'], 'image')}, mean absolute error: "
    kinds = {
        "observable_error": "expressions that show",
        "active_error": "those in use",
        "quiet_error": "those at rest",
        "every_error": "all expressions",
        "identity_error": "identity",
    }
    errors = [f"{words} {truth[name]:.3f}" for name, words in kinds.items() if truth[name] is not None]
    if truth["at_rest"] is not None:
        errors[0] += f" ({truth['at_rest']:.3f} if nothing ever moved)"
    if "rotation_deg_mean" in truth:
        mean, most = figure(truth["rotation_deg_mean"]), figure(truth["rotation_deg_worst"])
        errors.append(f"rotation {mean}° (most {most}°)")
    worst = [f"{name} {error:.2f}" for name, error in list(truth["worst_controls"].items())[:NAMED]]
    return f"{told}{', '.join(errors)}. Worst: {', '.join(worst) or 'none shows'}."


def _of_neutral(neutral: Group) -> str:
    return (
        f"Called neutral ({counted(neutral['images'], 'image')}): mean |expression| "
        f"{neutral['mean_expression']:.3f}, largest expression {neutral['largest_mean']:.2f} (mean), "
        f"{neutral['largest_median']:.2f} (median), "
        f"{neutral['largest_worst']:.2f} (most: {neutral['worst_control']} in {neutral['worst_image']})."
    )


def _of_smiles(smile: Group) -> str:
    others = smile["others_mean"]
    told = "" if others is None else f"; all but a smile's controls are at {others:.3f} then, mean"
    return (
        f"From neutral to smiling ({counted(smile['pairs'], 'pair')}): mouthSmile rises by "
        f"{smile['rise_mean']:.2f}, mean (least {smile['rise_least']:.2f}, {smile['least_pair']}){told}."
    )
