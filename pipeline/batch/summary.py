"""summary.csv, and summary.parquet: a line for every face of a run, with all of its controls."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.batch.manifest import Entry, FittedFace
from pipeline.errors import ChainRigError
from pipeline.outputs.whole_file import whole_file

NAME, PARQUET = "summary.csv", "summary.parquet"
TOGETHER = 5000  # rows that Parquet keeps in one group, and this program in memory
TEXTS = ("input", "folder", "status", "error", "sha256", "finished")
MEASURES: tuple[str, ...] = (
    "residual_start_percent",
    "residual_final_percent",
    "presence",
    "score",
    "box_left",
    "box_top",
    "box_right",
    "box_bottom",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "translation_x_m",
    "translation_y_m",
    "translation_z_m",
    "focal_px",
    "evaluations",
    "gradients",
    "seconds",
)
Record = Mapping[str, str | float | None]


def write_csv(folder: Path, entries: Sequence[Entry]) -> Path:
    """In the entries' order; a failed image is a line without numbers. Raises OSError.

    Rows are streamed: a million of them take no more memory than one.
    """
    path = folder / NAME
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.DictWriter(file, _columns(folder, entries), restval="", lineterminator="\n")
        writer.writeheader()
        for record in records(folder, entries):
            writer.writerow({name: _cell(value) for name, value in record.items()})
    return path


def write_parquet(folder: Path, entries: Sequence[Entry]) -> Path:
    """The same table: numbers as float64, missing ones null.

    Raises:
        ChainRigError: pyarrow is missing.
        OSError: the folder takes no file.
    """
    require_parquet()
    import pyarrow  # pyright: ignore[reportMissingImports]
    from pyarrow.parquet import ParquetWriter  # pyright: ignore[reportMissingImports]

    text, number = pyarrow.string(), pyarrow.float64()
    kinds = {name: text if name in TEXTS else number for name in _columns(folder, entries)}
    schema = pyarrow.schema(kinds.items())
    rows = records(folder, entries)
    path = folder / PARQUET
    with whole_file(path) as draft, ParquetWriter(draft, schema) as writer:
        while group := list(islice(rows, TOGETHER)):
            columns = {name: [_plain(record.get(name)) for record in group] for name in kinds}
            writer.write_table(pyarrow.table(columns, schema))
    return path


def require_parquet() -> None:
    """Raises ChainRigError where the package is missing."""
    try:
        import pyarrow  # noqa: F401  # pyright: ignore[reportMissingImports]  # of the extra `parquet`
    except ImportError:
        raise ChainRigError("Parquet needs another package: run pip install 'chainrig[parquet]'.") from None


def records(folder: Path, entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """The rows; a face whose files were removed has the status "missing"."""
    for entry in entries:
        known = {"input": entry.input, "sha256": entry.sha256, "finished": entry.finished}
        if not entry.faces:
            yield known | {"folder": entry.output, "face": None, "status": "failed", "error": entry.error}
        for face in entry.faces:
            where = f"{entry.output}/face-{face.index}"
            about = {"folder": where, "face": face.index, "status": face.status, "error": face.error}
            document = read_fit(folder / where)
            if document is None:
                yield known | about | {"status": "missing"}
            else:
                yield known | about | _measures(document)


def read_fit(face: Path) -> dict[str, Any] | None:
    """What fit.json of a face's folder holds; None where there is none."""
    try:
        return json.loads((face / "fit.json").read_bytes())
    except (OSError, ValueError):
        return None


def fitted(entries: Iterable[Entry]) -> Iterator[tuple[Entry, FittedFace]]:
    """The faces that were fitted."""
    return ((entry, face) for entry in entries for face in entry.faces if face.error is None)


def _columns(folder: Path, entries: Sequence[Entry]) -> list[str]:
    """Of the fits' controls, those of the first of each recipe: with the settings, the rig may change."""
    seen, controls = set(), dict[str, None]()
    for entry, face in fitted(entries):
        if entry.recipe not in seen:
            document = read_fit(folder / entry.output / f"face-{face.index}")
            if document is not None:
                seen.add(entry.recipe)
                controls |= dict.fromkeys([*document["controls"], *document["identity"]])
    return [*TEXTS[:2], "face", *TEXTS[2:4], *MEASURES, *TEXTS[4:], *controls]


def _measures(document: dict[str, Any]) -> dict[str, Any]:
    """What fit.json says: little of a face without a fit, nothing of landmarks of a bridged frame."""
    face, pose = document["face"], document.get("pose", {})
    found = {name: document.get(name) for name in ("evaluations", "gradients", "seconds")}
    found |= {"score": face.get("score"), "presence": face.get("presence")}
    found |= dict(zip(MEASURES[4:8], face.get("box", ()), strict=False))
    found |= dict(zip(MEASURES[8:11], pose.get("head_yaw_pitch_roll_deg", ()), strict=False))
    found |= dict(zip(MEASURES[11:14], pose.get("translation_m", ()), strict=False))
    residual = document.get("residual", {})
    found["residual_start_percent"] = residual.get("start_percent_iod")
    found["residual_final_percent"] = residual.get("final_percent_iod")
    found["focal_px"] = document.get("camera", {}).get("focal_px")
    return found | document.get("controls", {}) | document.get("identity", {})


def _cell(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """Names of files may hold what is no Unicode."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
