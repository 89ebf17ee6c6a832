"""CSV: a point a line, for spreadsheets.

    # scheme: ibug68
    # origin: corner
    point,x,y,weight
    chin,612.5,1120.0,1
    36,471.0,655.5,0.5

Lines that begin with # tell `scheme`, `origin` (`corner` or `centre`, see the JSON), `image` and `image_size`
(as 1200x1600). Columns may be parted by commas, semicolons or tabs, and stand in any order; with semicolons
or tabs, numbers may have decimal commas. `weight` may be left out. Without a header the columns are x, y and
perhaps weight, and the lines are all points of the scheme in order.
"""

import csv
import io
import re
from pathlib import Path

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import NOT_LABELLED, Labels, Mark, Marks

COLUMNS: tuple[str, ...] = ("point", "x", "y", "weight")
NOTES = ("scheme", "origin", "image", "image_size")


def read(path: Path, text: str) -> list[Marks]:
    """Of the text of a CSV file.

    Raises:
        ChainRigError: it has no such columns, an unknown note, or something that is no number.
    """
    lines = [line for line in text.splitlines() if line.strip(" \t,;")]
    notes = _notes(path, [line for line in lines if line.startswith("#")])
    lines = [line for line in lines if not line.startswith("#")]
    if not lines:
        raise ChainRigError(f"{path} has no line with a point: give columns point, x, y.")
    delimiter = next((one for one in "\t;," if one in lines[0]), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [cell.lower() for cell in rows[0]]
    if re.fullmatch(r"[-+.,0-9e]*|nan", header[0]):
        if len(header) not in (2, 3):
            raise ChainRigError(
                f"{path} has {len(header)} columns without a header: give x, y, or a first line such as "
                "point,x,y."
            )
        header = list(COLUMNS[1:][: len(header)])
    else:
        rows = rows[1:]
    _require_columns(path, header)
    cells = [dict(zip(header, _whole(path, row, header), strict=True)) for row in rows]
    marks = [_mark(path, row, decimal="," if delimiter != "," else ".") for row in cells]
    names = [row["point"] for row in cells] if "point" in header else None
    return [
        Marks(
            marks if names is None else _named(path, names, marks),
            notes.get("origin"),
            notes.get("scheme"),
            notes.get("image"),
            _size(path, notes.get("image_size")),
        )
    ]


def _notes(path: Path, lines: list[str]) -> dict[str, str]:
    notes = {}
    for line in lines:
        key, colon, value = line.lstrip("# \t").rstrip(" \t,;").partition(":")
        if colon and key.strip() not in NOTES:
            raise ChainRigError(f"{path} has an unknown note '{key.strip()}': there are {', '.join(NOTES)}.")
        if colon:
            notes[key.strip()] = value.strip()
    return notes


def _require_columns(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            raise ChainRigError(
                f"{path} has a column '{name}' that cannot be read: there are {', '.join(COLUMNS)}, each "
                "once."
            )
    if not {"x", "y"} <= set(header):
        raise ChainRigError(f"{path} has no columns x and y: its first line must be such as point,x,y.")


def _whole(path: Path, row: list[str], header: list[str]) -> list[str]:
    if len(row) != len(header):
        raise ChainRigError(
            f"{path} has a line of {len(row)} cells where there are {len(header)} columns: "
            f"'{','.join(row)[:40]}'."
        )
    return row


def _mark(path: Path, row: dict[str, str], decimal: str) -> Mark:
    values = []
    for column in ("x", "y", "weight"):
        cell = row.get(column) or ("1" if column == "weight" else "nan")
        try:
            values.append(float(cell.replace(decimal, ".")))
        except ValueError:
            raise ChainRigError(f"{path} has '{cell[:40]}' for {column}: give a number.") from None
    if not row["x"] and not row["y"]:
        return NOT_LABELLED
    return Mark(*values)


def _named(path: Path, names: list[str], marks: list[Mark]) -> dict[str, Mark]:
    named = dict(zip(names, marks, strict=True))
    if len(named) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ChainRigError(f"{path} gives point '{twice}' twice: keep one of them.")
    return named


def _size(path: Path, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    numbers = re.fullmatch(r"([1-9][0-9]{0,5})\s*[x×]\s*([1-9][0-9]{0,5})", value)
    if numbers is None:
        raise ChainRigError(f"The image_size in {path} is '{value}': give width x height, such as 1200x1600.")
    return int(numbers[1]), int(numbers[2])


def write(labels: Labels) -> str:
    """The text of a CSV file; points that are not labelled are left out."""
    out = io.StringIO()
    out.write(f"# scheme: {labels.scheme.name}\n# origin: corner\n")
    if labels.image is not None:
        out.write(f"# image: {labels.image}\n")
    if labels.image_size is not None:
        out.write(f"# image_size: {labels.image_size[0]}x{labels.image_size[1]}\n")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for name, point, weight in zip(
        labels.scheme.names, labels.points.tolist(), labels.weights.tolist(), strict=True
    ):
        if weight > 0:
            rows.writerow([name, *point, weight])
    return out.getvalue()
