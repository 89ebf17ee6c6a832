"""manifest.jsonl: a line for every image that was worked on, appended when all of its files are on disk.

It is the truth of a run: the last whole line of an image counts. A killed writer leaves at most one torn
line, which readers leave out, and the image that it was about is done again.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pipeline.batch.disk import CannotWrite
from pipeline.batch.recipe import Recipe
from pipeline.outputs.whole_file import sync

SCHEMA = "chainrig.batch/1"
NAME = "manifest.jsonl"


BRIDGED = "bridged"  # status of a sequence's frame without a face, between its neighbours


@dataclass(frozen=True)
class FittedFace:
    """One face of an image; its files are in `output/face-<index>`.

    Attributes:
        index: which face of the image, counted from 0, left to right.
        status: of the fit, or "failed".
        residual_percent_iod: None where the fit failed.
        error: the sentence that says why it failed.
    """

    index: int
    status: str
    residual_percent_iod: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        input: the image's name in the run.
        path: the file.
        bytes, mtime_ns, sha256: of the file; 0 and "" where it could not be read.
        config_sha256, weights_sha256, versions: see `Recipe`.
        status: "done" where at least one face was fitted.
        error: why none was.
        output: the image's folder, from the run's folder on, with slashes.
        faces: those that were fitted or tried.
        seconds: of the parts of the work.
        finished: UTC, ISO 8601.
    """

    input: str
    path: str
    bytes: int
    mtime_ns: int
    sha256: str
    config_sha256: str
    weights_sha256: str
    versions: str
    status: Literal["done", "failed"]
    error: str | None
    output: str
    faces: tuple[FittedFace, ...]
    seconds: dict[str, float]
    finished: str

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.config_sha256, self.weights_sha256, self.versions)

    @property
    def lacks_a_face(self) -> bool:
        """Whether something of the image could not be fitted."""
        return self.status == "failed" or any(face.status == "failed" for face in self.faces)


def read_manifests(folder: Path) -> dict[str, Entry]:
    """The last entry of every image, of all of a folder's manifests; empty where there is none.

    Every shard of a run has a manifest of its own. Where two speak of one image, the younger entry counts.
    """
    last: dict[str, Entry] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        for name, entry in {entry.input: entry for entry in _read(path)}.items():
            if name not in last or last[name].finished <= entry.finished:
                last[name] = entry
    return last


class Manifest:
    """One manifest, open for appending. Only one process may have it (`pipeline/batch/lock.py`).

    Raises:
        CannotWrite: it cannot be opened or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with CannotWrite.told(path.parent):
            self._file = path.open("ab+", buffering=0)
            end = self._file.seek(0, os.SEEK_END)
            if end:
                self._file.seek(end - 1)
                if self._file.read(1) != b"\n":  # the last writer was killed amid a line
                    self._file.write(b"\n")
            sync(path.parent)

    def append(self, entry: Entry) -> None:
        """Returns when the line is on disk, whole.

        Raises:
            CannotWrite: it cannot be written (nothing of it stays), or the file was removed or replaced.
        """
        line = (json.dumps({"schema": SCHEMA, **asdict(entry)}) + "\n").encode()
        with CannotWrite.told(self.path.parent):
            end = self._file.seek(0, os.SEEK_END)
            try:
                if self._file.write(line) < len(line):
                    raise OSError(None, "No space left on device")
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(end)
                raise
            if not os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno())):
                raise OSError(None, f"{self.path.name} was replaced meanwhile")

    def close(self) -> None:
        self._file.close()


def _read(path: Path) -> Iterator[Entry]:
    with path.open("rb") as lines:
        for line in lines:
            entry = _parsed(line)
            if entry is not None:
                yield entry


def _parsed(line: bytes) -> Entry | None:
    """The entry of a line, None of a torn one or of another schema."""
    try:
        document: Any = json.loads(line)
        if document.pop("schema") != SCHEMA:
            return None
        for shared in ("config_sha256", "weights_sha256", "versions"):  # a million entries share these texts
            document[shared] = sys.intern(document[shared])
        faces = tuple(FittedFace(**face) for face in document.pop("faces"))
        return Entry(faces=faces, **{key: document[key] for key in _KEYS})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


_KEYS = [field.name for field in fields(Entry) if field.name != "faces"]
