"""A run's folder: results enter it whole, and where it takes none the run says so and stops."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ChainRigError
from pipeline.outputs.whole_file import sync

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
        why = "there is no such folder" if gone else getattr(refused, "strerror", None) or str(refused)
        return cls(
            f"Results cannot be written to {folder} ({why}): put that right and start the same command "
            "again; it goes on where it stopped."
        )


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


def _make(place: Path, run: Path) -> None:
    missing = [folder for folder in (place, *place.parents) if run in folder.parents and not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another worker was faster
            folder.mkdir()
        sync(folder.parent)
