"""Writing so that a kill, a power cut or a full disk leaves the old or the new, never a part."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ChainRigError

PRIVATE = ".chainrig"  # in the run's folder: locks, and results that are not whole yet
FACE = re.compile(r"face-\d+")


class CannotWrite(ChainRigError):
    """The run's folder takes no more results: no image's fault; the run stops, and can go on later."""

    @classmethod
    @contextlib.contextmanager
    def told(cls, folder: Path) -> Iterator[None]:
        """An OSError inside becomes one of these."""
        try:
            yield
        except OSError as refused:
            raise cls.to(folder, refused) from None

    @classmethod
    def to(cls, folder: Path, refused: BaseException | None) -> "CannotWrite":
        gone = isinstance(refused, FileNotFoundError) and not folder.is_dir()
        why = "the folder is gone" if gone else getattr(refused, "strerror", None) or str(refused)
        return cls(
            f"Results cannot be written to {folder} ({why}): put that right and start the same command "
            "again; it goes on where it stopped."
        )


def sync(path: Path) -> None:
    """Returns when a file, or the names in a folder, are on the disk itself."""
    if os.name != "posix" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(faces: Path, place: Path, run: Path) -> None:
    """Moves the `face-K` folders of a folder to their place, where they replace what was there.

    Each appears at once and whole. A kill in between can leave none of them, never a part of one; the
    manifest does not have them yet, so they are made again.

    Args:
        faces: a folder in the run's `PRIVATE` one; gone afterwards.
        place: the folder of an image, in the run's folder.
        run: the run's folder. If it was removed meanwhile, it is not made anew.

    Raises:
        OSError: something cannot be moved.
    """
    new = sorted(faces.iterdir())
    for folder in new:
        for file in folder.iterdir():
            sync(file)
        sync(folder)
    old = faces / "old"
    old.mkdir()
    if new:
        _make(place, run)
    if new or place.is_dir():
        for folder in [folder for folder in place.iterdir() if FACE.fullmatch(folder.name)]:
            folder.rename(old / folder.name)
        for folder in new:
            folder.rename(place / folder.name)
        sync(place)
    shutil.rmtree(faces)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name for a draft beside `path`, which takes its place when the block ends without an error."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)  # mkstemp's own mode keeps other users out
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _make(place: Path, run: Path) -> None:
    missing = [folder for folder in (place, *place.parents) if run in folder.parents and not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another worker was faster
            folder.mkdir()
        sync(folder.parent)
