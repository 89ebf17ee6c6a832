"""What is left to do: images without a result, and those whose result is not that of today's run."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pipeline.batch.discovery import Image
from pipeline.batch.disk import FACE
from pipeline.batch.manifest import Entry
from pipeline.batch.recipe import Recipe

Why = Literal["new", "changed", "settings", "failed", "missing"]
WORDS: dict[Why, str] = {
    "new": "new",
    "changed": "changed since",
    "settings": "fitted with other settings or weights",
    "failed": "failed before",
    "missing": "without their files",
}
FILES = ("fit.json", "overlay.png", "controls.csv", "config.yaml")  # of a face; the first, if it failed
_OWN = re.compile(
    r"manifest.*\.jsonl|summary\..*|live_link\.csv|contact_sheet.*|report.*|subject\.json|sequence\.glb",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Task:
    """One image to work on.

    Attributes:
        name, path: of the image.
        output: its folder, from the run's folder on, with slashes.
    """

    name: str
    path: Path
    output: str


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        tasks: the work, by name.
        why: how many of the tasks are there for which reason.
        done: images whose results stay.
        failed: images that failed before and are not tried again.
        versions: of packages, where results that stay were made with others, and how many.
    """

    tasks: tuple[Task, ...]
    why: Mapping[Why, int]
    done: int
    failed: int
    versions: Mapping[str, int]


def make_plan(
    images: Sequence[Image],
    outputs: Mapping[str, str],
    known: Mapping[str, Entry],
    recipe: Recipe,
    folder: Path,
    retry_failed: bool = False,
    files: Sequence[str] = FILES,
) -> Plan:
    """The plan for these images.

    Args:
        outputs: of every image, see `outputs_of`.
        known: last entries of the manifests.
        retry_failed: try again what failed, also where nothing changed.
        files: of a fitted face.
    """
    tasks: list[Task] = []
    why: Counter[Why] = Counter()
    versions: Counter[str] = Counter()
    done = failed = 0
    for image in images:
        entry, output = known.get(image.name), outputs[image.name]
        reason = _reason(image, output, entry, recipe, folder, retry_failed, files)
        if reason is not None:
            tasks.append(Task(image.name, image.path, output))
            why[reason] += 1
        elif entry is not None:
            done += entry.status == "done"
            failed += entry.status == "failed"
            versions[entry.versions] += entry.versions != recipe.versions
    return Plan(tuple(tasks), why, done, failed, +versions)


def outputs_of(images: Iterable[Image], known: Mapping[str, Entry]) -> dict[str, str]:
    """The folder of every image, by name: the name without its suffix where that is nobody else's.

    What the manifest says stays. Of `a.jpg` and `a.png`, the second keeps its suffix; so does an image whose
    faces' folders would hold another image's folder. Names that a disk may not tell apart (by case, or
    by how accents are composed) are taken for the same.
    """
    images = list(images)
    outputs = {image.name: known[image.name].output for image in images if image.name in known}
    taken = {_folded(entry.output) for entry in known.values()}
    around = set()
    for image in images:
        stem = PurePosixPath(image.name).with_suffix("")
        around |= {_folded(str(part.parent)) for part in (stem, *stem.parents) if FACE.fullmatch(part.name)}
    for image in images:
        if image.name in outputs:
            continue
        stem = str(PurePosixPath(image.name).with_suffix(""))
        own = _OWN.fullmatch(stem) or _folded(stem) in around
        outputs[image.name] = image.name if own or _folded(stem) in taken else stem
        taken.add(_folded(outputs[image.name]))
    return outputs


def sha256_of(path: Path) -> str:
    """Of a file's bytes, hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _reason(
    image: Image,
    output: str,
    entry: Entry | None,
    recipe: Recipe,
    folder: Path,
    retry_failed: bool,
    files: Sequence[str],
) -> Why | None:
    if entry is None or entry.output != output:
        return "new"
    if _changed(image.path, entry):
        return "changed"
    if (entry.config_sha256, entry.weights_sha256) != (recipe.config_sha256, recipe.weights_sha256):
        return "settings"
    if retry_failed and entry.lacks_a_face:
        return "failed"
    for face in entry.faces:
        place = folder / output / f"face-{face.index}"
        if not all((place / name).is_file() for name in (files if face.error is None else FILES[:1])):
            return "missing"
    return None


def _changed(path: Path, entry: Entry) -> bool:
    """Bytes that have another date may be the same: then they are read."""
    try:
        stat = path.stat()
        if stat.st_size != entry.bytes:
            return True
        return stat.st_mtime_ns != entry.mtime_ns and sha256_of(path) != entry.sha256
    except OSError:
        return entry.sha256 != ""  # it could not be read before, either


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
