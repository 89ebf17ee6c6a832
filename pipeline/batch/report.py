"""report.html: the faces of a run on one page, the worst first, to sort, to filter and to open.

One file that needs no network. Beside it lie the faces' own files, which it links to by relative paths.
"""

import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipeline.batch.manifest import BRIDGED, Entry, FittedFace
from pipeline.batch.report_thumbnails import SIDE, thumbnails
from pipeline.batch.summary import MEASURES, fitted, read_fit, records
from pipeline.outputs.whole_file import whole_file

NAME = "report.html"
MOST = 5000  # faces that are shown, and failed images: a browser stays quick, the page below 40 MB
LEFT_OUT = ("residual_final_percent", "box_left", "box_top", "box_right", "box_bottom")  # or shown anyway
STRONGEST = 4


def write_report(folder: Path, entries: Iterable[Entry], most: int = MOST) -> Path:
    """Writes the page of a run: its worst `most` faces, as many that failed, and as many that are bridged.

    Raises OSError.
    """
    entries = list(entries)
    fits = sorted(fitted(entries), key=lambda found: -(found[1].residual_percent_iod or 0))
    lost = [found for found in _without_fit(entries) if not _is_bridged(found[1])]
    bridged = [found for found in _without_fit(entries) if _is_bridged(found[1])]
    shown = [*sorted(lost[:most], key=lambda found: found[0].input), *bridged[:most], *fits[:most]]
    rows = [row for entry, face in shown for row in records(folder, [_only(entry, face)])]
    expressions = _expressions(folder, fits[:most])
    names = [name for name in _numbers(rows) if name not in LEFT_OUT]
    pictures = thumbnails(folder, [row["folder"] for row in rows])
    residuals = [face.residual_percent_iod for _, face in fits if face.residual_percent_iod is not None]
    page = _pages().get_template("batch.html")
    path = folder / NAME
    with whole_file(path) as draft:
        page.stream(
            title=_text(folder.absolute().name),
            images=len(entries),
            fits=len(fits),
            lost=len(lost),
            bridged=len(bridged),
            median=statistics.median(residuals) if residuals else None,
            worst=max(residuals, default=None),
            ninetieth=_quantile(residuals, 0.9),
            left_out=sum(max(0, len(found) - most) for found in (fits, lost, bridged)),
            statuses=sorted({row["status"] for row in rows}),
            numbers=[name for name in names if name in MEASURES],
            controls=[name for name in names if name not in MEASURES],
            side=SIDE,
            data={
                "names": names,
                "rows": [
                    _row(row, names, expressions) | {"picture": picture}
                    for row, picture in zip(rows, pictures, strict=True)
                ],
            },
        ).dump(str(draft), "utf-8")
    return path


def _pages() -> Environment:
    loaders = [PackageLoader("pipeline.batch", "page"), PackageLoader("pipeline.inspection", "page")]
    return Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _without_fit(entries: Iterable[Entry]) -> Iterable[tuple[Entry, FittedFace | None]]:
    for entry in entries:
        if not entry.faces:
            yield entry, None
        yield from ((entry, face) for face in entry.faces if face.error is not None)


def _is_bridged(face: FittedFace | None) -> bool:
    return face is not None and face.status == BRIDGED


def _only(entry: Entry, face: FittedFace | None) -> Entry:
    return replace(entry, faces=() if face is None else (face,))


def _expressions(folder: Path, fits: Sequence[tuple[Entry, FittedFace]]) -> frozenset[str]:
    """Names of what an animator looks at first; rigs may differ between the recipes of a run."""
    seen, names = set(), set()
    for entry, face in fits:
        if entry.recipe not in seen:
            document = read_fit(folder / entry.output / f"face-{face.index}")
            if document is not None:
                seen.add(entry.recipe)
                names |= document["controls"].keys()
    return frozenset(names)


def _numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, None]:
    """Names of the columns with numbers, in the order of the summary."""
    found = dict.fromkeys(MEASURES)
    for row in rows:
        found |= dict.fromkeys(name for name, value in row.items() if isinstance(value, int | float))
    found.pop("face", None)
    return found


def _row(row: Mapping[str, Any], names: Sequence[str], expressions: frozenset[str]) -> dict[str, Any]:
    """What the page's script shows of a face."""
    strongest = sorted(
        (name for name in expressions if abs(row.get(name) or 0) >= 0.005),
        key=lambda name: (-abs(row[name]), name),
    )
    return {
        "name": _text(row["input"]),
        "face": row["face"],
        "link": quote(os.fsencode(row["folder"])),
        "status": row["status"],
        "error": _text(row["error"] or ""),
        "residual": _rounded(row.get("residual_final_percent")),
        "strongest": strongest[:STRONGEST],
        "values": [_rounded(row.get(name)) for name in names],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _text(value: str) -> str:
    """Names of files may hold what is no Unicode."""
    return value.encode("utf-8", "replace").decode()


def _quantile(values: Sequence[float], share: float) -> float | None:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None
