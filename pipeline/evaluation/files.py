"""The files of an evaluation: a row an image for spreadsheets, everything as JSON, and the picture."""

import csv
import io
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.config import Config
from pipeline.evaluation.histogram import draw
from pipeline.evaluation.row import Row
from pipeline.evaluation.statistics import summary
from pipeline.outputs.image_files import png

SCHEMA = "chainrig.evaluation/1"
PACKAGES = ("chainrig", "torch", "numpy", "numba")


@dataclass(frozen=True)
class Evaluation:
    """Rows, and what they are rows of.

    Attributes:
        folder: as the user named it.
        rows: of the images that are done, by name.
        wanted: images that were asked for.
        config: of the fits.
        fit_to_labels: whether labels were fitted, where there are any.
        workers: processes.
    """

    folder: str
    rows: tuple[Row, ...]
    wanted: int
    config: Config
    fit_to_labels: bool
    workers: int


def document(found: Evaluation) -> dict[str, Any]:
    """evaluation.json; numbers that are not finite are null."""
    rows = [asdict(row) for row in found.rows]
    for row in rows:
        for what in ("found", "labels", "truth"):
            if row[what] is None:
                del row[what]
    return _plain(
        {
            "schema": SCHEMA,
            "folder": found.folder,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "complete": len(rows) == found.wanted,
            "fit_to_labels": found.fit_to_labels,
            "workers": found.workers,
            "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
            "machine": f"{platform.system()} {platform.machine()}",
            "settings": found.config.model_dump(),
            "summary": summary(found.rows),
            "rows": rows,
        }
    )


def files(found: Evaluation) -> dict[str, bytes]:
    """By name: evaluation.csv, evaluation.json and histogram.png.

    Raises:
        ValueError: no image was fitted.
    """
    return {
        "evaluation.csv": table(found.rows).encode(),
        "evaluation.json": (json.dumps(document(found), indent=1, allow_nan=False) + "\n").encode(),
        "histogram.png": png(draw(found.rows)),
    }


def table(rows: Sequence[Row]) -> str:
    """evaluation.csv: a row an image; expressions, pose and identity by name. Unknown cells are empty."""
    records = [_record(row) for row in rows]
    head = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, head, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(row: Row) -> dict[str, Any]:
    fit, labels, truth = row.found, row.labels, row.truth
    measures = {
        "residual_start_percent": fit and fit.residual_start_percent,
        "residual_final_percent": fit and fit.residual_final_percent,
        "evaluations": fit and fit.evaluations,
        "gradients": fit and fit.gradients,
        "seconds": fit and fit.seconds,
        "presence": fit and fit.presence,
        "label_points": labels and len(labels.points),
        "label_error_percent": labels and labels.fitted,
        "label_worst_percent": labels and labels.worst,
        "detector_error_percent": labels and labels.detector,
        "control_error": truth and truth.observable,
        "control_error_active": truth and truth.active,
        "control_error_quiet": truth and truth.quiet,
        "control_error_every": truth and truth.every,
        "identity_error": truth and truth.identity,
        "rotation_error_deg": truth and truth.rotation_deg,
        "mean_expression": fit and fit.mean_expression,
        "largest_expression": fit and fit.largest_expression,
        "largest_control": fit and fit.largest_control,
    }
    known = {"path": row.path, "status": row.status, "reason": row.reason}
    controls = {} if fit is None else fit.controls | fit.pose | fit.identity
    return known | {name: _cell(value) for name, value in (measures | controls).items()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # ChainRig itself, run from a clone
        return "not installed"


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """Six significant digits; NaN and infinity are no JSON."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
