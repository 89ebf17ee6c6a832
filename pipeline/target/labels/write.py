"""Labels into a file, for people to correct: .pts, .json or .csv, as the suffix says."""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ChainRigError
from pipeline.target.labels import csv, ours, pts
from pipeline.target.labels.labels import Labels

WRITERS: dict[str, Callable[[Labels], str]] = {".pts": pts.write, ".json": ours.write, ".csv": csv.write}


def write_labels(path: str | Path, labels: Labels) -> None:
    """Writes labels that `read_labels` reads back.

    Raises:
        ChainRigError: the suffix is another, the format cannot hold these labels, or the file cannot be
            written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ChainRigError(f"Labels cannot be written to {path}: give it the suffix {', '.join(WRITERS)}.")
    text = WRITERS[path.suffix.lower()](labels)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as refused:
        raise ChainRigError(f"The labels {path} cannot be written: {refused.strerror}.") from None
