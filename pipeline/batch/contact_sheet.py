"""contact_sheet-N.png: the overlays of a run, the worst fit first."""

import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

from pipeline.batch.manifest import Entry
from pipeline.batch.summary import fitted
from pipeline.outputs.whole_file import whole_file

CELL = (480, 176)  # pixels of an overlay
COLUMNS, ROWS = 4, 10
PAGES = 25  # whoever wants to see more than the worst thousand has summary.csv to choose by


def write_contact_sheets(folder: Path, entries: Iterable[Entry]) -> list[Path]:
    """As many pages as it takes, up to `PAGES`; those of an earlier run are replaced. Raises OSError."""
    faces = sorted(fitted(entries), key=lambda found: -(found[1].residual_percent_iod or 0))
    cells = (
        (f"{entry.input}  {face.residual_percent_iod or 0:.2f} % IOD", picture)
        for entry, face in faces
        if (picture := _overlay(folder / entry.output / f"face-{face.index}")) is not None
    )
    paths = []
    for page in range(1, PAGES + 1):
        shown = [(_drawable(words), picture) for words, picture in islice(cells, COLUMNS * ROWS)]
        if not shown:
            break
        from pipeline.outputs.sheet import sheet

        paths.append(folder / f"contact_sheet-{page}.png")
        with whole_file(paths[-1]) as draft:
            sheet(shown, min(COLUMNS, len(shown))).save(draft, "PNG")
    for old in set(folder.glob("contact_sheet-*.png")) - set(paths):
        old.unlink()
    return paths


def _overlay(face: Path) -> Image.Image | None:
    try:
        with Image.open(face / "overlay.png") as picture:
            return ImageOps.pad(picture.convert("RGB"), CELL, Image.Resampling.BOX, picture.getpixel((0, 0)))
    except OSError:
        return None


def _drawable(words: str) -> str:
    """Without accents, which Pillow's own font has not."""
    plain = unicodedata.normalize("NFKD", words.encode("utf-8", "replace").decode())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))
