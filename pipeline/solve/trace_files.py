"""A trace as a file: CSV and JSON for programs, SVG for people."""

import csv
import io
import json
import math
from pathlib import Path

from pipeline.derivatives.drawing import Curve, chart
from pipeline.errors import ChainRigError
from pipeline.solve.trace import Trace

SCHEMA = "chainrig.trace/1"
MOST_CURVES = 6  # of a batch; more are not told apart


def write_trace(trace: Trace, path: str | Path) -> None:
    """Writes a trace in the format that the file's ending names: .csv, .json or .svg.

    Raises:
        ChainRigError: the ending is another, or the file cannot be written.
    """
    path, formats = Path(path), traced(trace)
    ending = path.suffix.lower().removeprefix(".")
    if ending not in formats:
        raise ChainRigError(f"A trace cannot be written as {path.name}: let it end in .csv, .json or .svg.")
    try:
        path.write_text(formats[ending], encoding="utf-8")
    except OSError as refused:
        raise ChainRigError(f"The trace cannot be written to {path}: {refused.strerror}.") from None


def traced(trace: Trace) -> dict[str, str]:
    """The texts of a trace's files by their ending: csv, json and svg."""
    return {"csv": _csv(trace), "json": _json(trace), "svg": draw(trace)}


def draw(trace: Trace) -> str:
    """An SVG chart: the residual over evaluations where it was measured, else the objective."""
    measured = bool(trace.column("residual").isfinite().any())
    name = "residual" if measured else "objective"
    evaluations = trace.column("evaluations").tolist()
    heights = trace.column(name).reshape(len(trace), -1)[:, :MOST_CURVES]
    curves = [
        Curve(trace.solver if heights.shape[1] == 1 else f"item {item}", evaluations, column.tolist())
        for item, column in enumerate(heights.T)
    ]
    log_y = bool((heights[heights.isfinite()] > 0).all())
    y_name = "residual, % IOD" if measured else "objective"
    return chart(curves, f"{trace.solver}: {name}", "evaluations", y_name, log_y=log_y, log_x=False)


def _csv(trace: Trace) -> str:
    file = io.StringIO()
    records = list(trace.records())
    writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def _json(trace: Trace) -> str:
    """NaN is no JSON: null."""
    rows = [{key: _plain(value) for key, value in record.items()} for record in trace.records()]
    return json.dumps({"schema": SCHEMA, "solver": trace.solver, "rows": rows}, indent=1) + "\n"


def _plain(value: float | int | bool) -> float | int | bool | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
