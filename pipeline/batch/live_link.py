"""live_link.csv: the run as one recording in the layout of the Live Link Face app, an image a frame."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.batch.disk import whole_file
from pipeline.batch.manifest import Entry
from pipeline.batch.summary import read_fit

NAME = "live_link.csv"
FPS = 30  # frames a second, as the app records


def write_live_link(folder: Path, entries: Iterable[Entry]) -> Path:
    """A frame an image, by name; of several faces, the largest's. Raises OSError.

    An image without a fit leaves a gap in the timecodes, so a frame's place says which image it is.
    """
    path = folder / NAME
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        header = ""
        for frame, entry in enumerate(sorted(entries, key=lambda entry: entry.input)):
            lines = _lines(folder, entry)
            if lines is None:
                continue
            if not header:
                header = lines[0]
                file.write(header + "\n")
            file.write(",".join([timecode(frame), *lines[1].split(",")[1:]]) + "\n")
    return path


def timecode(frame: int) -> str:
    """HH:MM:SS:FF.sub of a frame, counted from 0."""
    seconds, rest = divmod(frame, FPS)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}.000"


def _lines(folder: Path, entry: Entry) -> list[str] | None:
    """The header and the frame of an image's controls.csv."""
    faces = [folder / entry.output / f"face-{face.index}" for face in entry.faces if face.error is None]
    if not faces:
        return None
    try:
        lines = max(faces, key=_area).joinpath("controls.csv").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return lines if len(lines) == 2 else None


def _area(face: Path) -> float:
    document = read_fit(face)
    if document is None:
        return 0.0
    left, top, right, bottom = document["face"]["box"]
    return (right - left) * (bottom - top)
