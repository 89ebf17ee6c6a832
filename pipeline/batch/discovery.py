"""Which images a run is about: those of a folder, of a pattern, or of a list."""

import glob
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pipeline.batch.disk import PRIVATE
from pipeline.errors import ChainRigError

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".avif")


@dataclass(frozen=True)
class Image:
    """An image file.

    Attributes:
        name: what the manifest calls it: its path from the folder on, with slashes.
        path: the file, absolute.
    """

    name: str
    path: Path


def find_images(
    source: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    besides: Path | None = None,
    as_listed: bool = False,
) -> list[Image]:
    """The images that a source names, each once, by name.

    Args:
        source: a folder, searched with the folders in it (hidden files and folders are left out); a pattern
            such as `shoot/**/*.jpg`, whose images are named from the last folder before the first of `*?[`
            on; an image; or a text file with a path a line, empty lines and `#` lines left out. Paths in it
            start at the list's folder, and those that lead out of it are named by their whole path.
        include, exclude: patterns for names, such as `*_neutral.*`; `*` crosses slashes.
        besides: the folder for results: nothing in it is an image of the run.
        as_listed: in the source's own order, which is a list's.

    Raises:
        ChainRigError: there is no such source, no image in it, or the results would lie among the images.
    """
    root, paths = _paths(source)
    if besides is not None:
        _require_apart(root, besides)
    left_out = besides.resolve() if besides is not None else None
    found: dict[str, Image] = {}
    for path in paths:
        image = Image(_name(path, root), path)
        if left_out is not None and left_out in path.resolve().parents:
            continue
        if include and not _any_matches(include, image.name) or _any_matches(exclude, image.name):
            continue
        found[image.name] = image
    if not found:
        filtered = " that --include and --exclude leave" if include or exclude else ""
        raise ChainRigError(
            f"There is no image in {source}{filtered}: give a folder, a pattern or a list of "
            f"{', '.join(suffix[1:] for suffix in IMAGES)} files."
        )
    return list(found.values()) if as_listed else [found[name] for name in sorted(found)]


def in_shard(name: str, shard: tuple[int, int]) -> bool:
    """Whether an image belongs to the first, second, … of n shares.

    Names decide, not places in a list: images that are added later move no others.
    """
    number, count = shard
    return zlib.crc32(os.fsencode(name)) % count == number - 1


def _paths(source: str) -> tuple[Path, Iterable[Path]]:
    """The folder that names start from, and the files."""
    path = Path(source)
    if path.is_dir():
        root = path.absolute()
        return root, _walk(root)
    if path.suffix.lower() in IMAGES and path.is_file():
        return path.absolute().parent, [path.absolute()]
    if path.is_file():
        root = path.absolute().parent
        return root, _listed(path, root)
    if glob.has_magic(source):
        return _glob(source)
    raise ChainRigError(f"There is no folder, image or list {source}: check the path.")


def is_result(folder: Path) -> bool:
    """Whether it is a run's, or a fit's: what lies there are pictures of fits."""
    of_fit = all((folder / name).is_file() for name in ("fit.json", "overlay.png"))
    return of_fit or (folder / PRIVATE).is_dir()


def _walk(root: Path) -> Iterable[Path]:
    def stop(refused: OSError) -> None:
        raise ChainRigError(f"{refused.filename} cannot be searched ({refused.strerror}).") from None

    for folder, inside, files in os.walk(root, onerror=stop):
        if is_result(Path(folder)):
            inside.clear()
            continue
        inside[:] = [name for name in inside if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in IMAGES and path.is_file():
                yield path


def _glob(pattern: str) -> tuple[Path, Iterable[Path]]:
    parts = Path(pattern).parts
    plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:plain]).absolute()
    matches = glob.iglob("/".join(parts[plain:]), root_dir=root, recursive=True)
    known: dict[Path, bool] = {}

    def in_results(path: Path) -> bool:
        around = [folder for folder in path.parents if root in folder.parents or folder == root]
        return any(known.setdefault(folder, is_result(folder)) for folder in around)

    paths = (root / match for match in matches)
    found = (path for path in paths if path.suffix.lower() in IMAGES and path.is_file())
    return root, (path for path in found if not in_results(path))


def _listed(path: Path, root: Path) -> Iterable[Path]:
    """The paths of a list; a missing one is kept, so that the run says that it is missing."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as refused:
        raise ChainRigError(f"The list {path} cannot be read: {refused.strerror}.") from None
    if any(b"\0" in line for line in lines[:16]):
        raise ChainRigError(f"{path} is neither an image nor a list: give a text file with a path a line.")
    texts = [text for line in lines if (text := os.fsdecode(line.strip())) and not text.startswith("#")]
    listed = [Path(os.path.normpath(root / text)) for text in texts]
    if listed and not any(map(os.path.isfile, listed)):
        raise ChainRigError(
            f"{path} names no file that exists; its first line is '{texts[0][:80]}': give a text file with a "
            f"path a line, from {root} on."
        )
    return listed


def _name(path: Path, root: Path) -> str:
    inside = path.relative_to(root) if root in path.parents else path.relative_to(path.anchor)
    return PurePosixPath(inside).as_posix()


def _any_matches(patterns: Sequence[str], name: str) -> bool:
    matches: Callable[[str], bool] = lambda pattern: fnmatchcase(name, pattern)  # noqa: E731
    return any(map(matches, patterns))


def _require_apart(root: Path, out: Path) -> None:
    inner, outer = root.resolve(), out.resolve()
    if inner == outer or outer in inner.parents:
        raise ChainRigError(
            f"The results in {out} would lie among the images of {root}: give --out another folder."
        )
