"""What is printed of the images: those without a fit, then the worst fits."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.evaluation.row import Row

MOST = 20  # lines in all
UNFITTED = 8  # of them for images without a fit


def unfitted(rows: Sequence[Row]) -> list[str]:
    """A line for each of the first images without a fit."""
    lost = [f"{row.path} {row.status}: {row.reason}" for row in rows if row.found is None]
    if len(lost) <= UNFITTED:
        return lost
    return [*lost[: UNFITTED - 1], f"… and {len(lost) - UNFITTED + 1} more without a fit."]


def table(rows: Sequence[Row], most: int = MOST) -> Table:
    """The fits of the largest residuals; columns only for what is known of an image."""
    fits = [(row, row.found) for row in rows if row.found is not None]
    fits.sort(key=lambda pair: -pair[1].residual_final_percent)
    has_labels, has_truth = any(row.labels for row in rows), any(row.truth for row in rows)
    has_turn = any(row.truth and row.truth.rotation_deg is not None for row in rows)
    titles = ["image", "start", "final", "evals"]
    titles += ["68 points"] * has_labels + ["controls"] * has_truth + ["turn °"] * has_turn
    titles += ["mean |e|", "largest"]
    shown = Table(box=None, pad_edge=False)
    for title in titles:
        left = title in ("image", "largest")
        shown.add_column(title, justify="left" if left else "right", no_wrap=not left)
    for row, fit in fits[:most]:
        labels, truth = row.labels, row.truth
        cells = [row.path, f"{fit.residual_start_percent:.2f}", f"{fit.residual_final_percent:.2f}"]
        cells += [str(fit.evaluations)]
        cells += [f"{labels.fitted:.2f}" if labels else ""] * has_labels
        cells += [_three(truth.observable if truth else None)] * has_truth
        cells += [_three(truth.rotation_deg if truth else None)] * has_turn
        cells += [f"{fit.mean_expression:.3f}", f"{fit.largest_expression:.2f} {fit.largest_control}"]
        shown.add_row(*cells)
    return shown


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
