"""live_link.csv: the run as one recording in the layout of the Live Link Face app, an image a frame."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.batch.manifest import BRIDGED, Entry
from pipeline.batch.summary import read_fit
from pipeline.outputs.whole_file import whole_file

NAME = "live_link.csv"
FPS = 30.0  # frames a second, as the app records
BRIDGE_COLUMN = (
    "Bridged"  # after the app's own columns: 1 where a frame shows no face, and lies between others
)


def write_live_link(folder: Path, entries: Sequence[Entry], fps: float = FPS, bridges: bool = False) -> Path:
    """A frame an image, in the entries' order; of several faces, the largest's. Raises OSError.

    An image without a fit leaves a gap in the timecodes, so a frame's place says which image it is.

    Args:
        bridges: with the frames of a sequence that show no face, and a last column that marks them.
    """
    path = folder / NAME
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        header = ""
        for frame, entry in enumerate(entries):
            lines = _lines(folder, entry, bridges)
            if lines is None:
                continue
            mark = [str(int(any(face.status == BRIDGED for face in entry.faces)))] * bridges
            if not header:
                header = lines[0]
                file.write(",".join([header, *[BRIDGE_COLUMN] * bridges]) + "\n")
            file.write(",".join([timecode(frame, fps), *lines[1].split(",")[1:], *mark]) + "\n")
    return path


def timecode(frame: int, fps: float = FPS) -> str:
    """HH:MM:SS:FF.sub of a frame, counted from 0; at 29.97 and the like, frames are counted, none dropped."""
    seconds, rest = divmod(frame, max(1, round(fps)))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}.000"


def _lines(folder: Path, entry: Entry, bridges: bool) -> list[str] | None:
    """The header and the frame of an image's controls.csv."""
    good = [face for face in entry.faces if face.error is None or bridges and face.status == BRIDGED]
    faces = [folder / entry.output / f"face-{face.index}" for face in good]
    if not faces:
        return None
    try:
        lines = max(faces, key=_area).joinpath("controls.csv").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return lines if len(lines) == 2 else None


def _area(face: Path) -> float:
    document = read_fit(face)
    if document is None or "box" not in document["face"]:
        return 0.0
    left, top, right, bottom = document["face"]["box"]
    return (right - left) * (bottom - top)
