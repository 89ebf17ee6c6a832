"""The work on one image: the same function in a local process and on another machine."""

import contextlib
import errno
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from pipeline.batch.disk import CannotWrite, publish
from pipeline.batch.manifest import Entry, FittedFace
from pipeline.batch.plan import Task, sha256_of
from pipeline.batch.pool import crash
from pipeline.batch.recipe import Recipe
from pipeline.errors import ChainRigError

PARTS = ("hash", "fit", "write")
_OF_THE_IMAGE = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR)  # in the way of one image's folder only


class FaceFiles(Protocol):
    """A face that was fitted, or tried: what the manifest says of it, and its files."""

    @property
    def told(self) -> FittedFace: ...

    def files(self) -> Mapping[str, bytes]:
        """By name."""
        ...


Group = tuple[Task, ...]
"""Images that a worker does side by side."""

FitImage = Callable[[Path], Sequence[FaceFiles]]
"""Fits the faces of an image file. Raises ChainRigError where that shows none."""


@dataclass(frozen=True)
class Run:
    """Where results go, and what is said of all of them.

    Attributes:
        folder: of the run.
        drafts: a folder in it, of this process alone, for files until they are whole.
    """

    folder: Path
    drafts: Path
    recipe: Recipe


def worker(run: Run, load: Callable[[], FitImage]) -> Callable[[Group], list[Entry]]:
    """What a process does with each group of tasks, once it has loaded what fits need."""
    return partial(fit_group, run, load())


def fit_group(run: Run, fit: FitImage, group: Group) -> list[Entry]:
    """`fit_one` for each, side by side: they share the passes through the chain.

    Raises:
        CannotWrite: the run's folder takes no results.
    """
    if len(group) == 1:
        return [fit_one(run, fit, group[0])]
    from pipeline.lockstep import run_together

    return run_together([partial(fit_one, run, fit, task) for task in group])


def fit_one(run: Run, fit: FitImage, task: Task) -> Entry:
    """Fits an image and puts its results in their place; an image that cannot be fitted has its reason.

    Raises:
        CannotWrite: the run's folder takes no results.
    """
    times = [time.perf_counter()]
    entry = failed(task, run.recipe, "There is no face in it.")
    times.append(time.perf_counter())
    faces: Sequence[FaceFiles] = ()
    try:
        faces = fit(task.path)
        error = next((face.told.error for face in faces if face.told.error), entry.error)
    except ChainRigError as refused:
        error = str(refused)
    except Exception as mistake:  # a long run goes on; the manifest tells
        error = crash(mistake)
    times.append(time.perf_counter())
    in_the_way = _write(run, task, faces)
    times.append(time.perf_counter())

    fitted = any(face.told.error is None for face in faces) and in_the_way is None
    error = (in_the_way or error or "").replace(str(task.path), task.name)
    spent = (after - before for before, after in pairwise(times))
    return replace(
        entry,
        status="done" if fitted else "failed",
        error=None if fitted else error,
        faces=tuple(face.told for face in faces) if in_the_way is None else (),
        seconds={part: round(value, 3) for part, value in zip(PARTS, spent, strict=True)},
        finished=now(),
    )


def failed(task: Task, recipe: Recipe, why: str) -> Entry:
    """The entry of an image without results."""
    size, mtime_ns, sha256 = 0, 0, ""
    with contextlib.suppress(OSError):
        stat = task.path.stat()
        size, mtime_ns = stat.st_size, stat.st_mtime_ns
        sha256 = _sha256_of(task.path, size, mtime_ns)
    return Entry(
        input=task.name,
        path=str(task.path),
        bytes=size,
        mtime_ns=mtime_ns,
        sha256=sha256,
        config_sha256=recipe.config_sha256,
        weights_sha256=recipe.weights_sha256,
        versions=recipe.versions,
        status="failed",
        error=why,
        output=task.output,
        faces=(),
        seconds={},
        finished=now(),
    )


@lru_cache(maxsize=1)
def _sha256_of(path: Path, size: int, mtime_ns: int) -> str:
    """The frames of a video are tasks of one file, which is read once."""
    return sha256_of(path)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _write(run: Run, task: Task, faces: Sequence[FaceFiles]) -> str | None:
    """Puts the faces in their place; the sentence if something stands in the way of this image's alone."""
    try:
        draft = Path(tempfile.mkdtemp(dir=run.drafts))
        for face in faces:
            folder = draft / f"face-{face.told.index}"
            folder.mkdir()
            for name, content in face.files().items():
                (folder / name).write_bytes(content)
        publish(draft, run.folder / task.output, run.folder)
    except OSError as refused:
        if refused.errno in _OF_THE_IMAGE:
            return f"Its results cannot be put into {task.output}: {refused.strerror}."
        raise CannotWrite.to(run.folder, refused) from None
    return None
