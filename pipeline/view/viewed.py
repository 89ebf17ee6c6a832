"""What a path shows: one fit, the fits in a folder, or a rig."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.disk import FACE, PRIVATE
from pipeline.batch.manifest import BRIDGED, read_manifests
from pipeline.errors import ChainRigError

LITTLE = 20_000  # bytes; a fit.json without landmarks is shorter, one with them is longer


@dataclass(frozen=True)
class Item:
    """One thing to choose from the list.

    Attributes:
        name: for people.
        file: a fit.json or a rig.
        residual: % of the outer-eye distance, where it is known without opening the file.
        why: there is no fit to open.
    """

    name: str
    file: Path
    residual: float | None = None
    why: str | None = None

    @property
    def is_rig(self) -> bool:
        return self.file.suffix.lower() == ".npz"


def find_items(path: Path) -> list[Item]:
    """By name; a run's faces without a fit are there with their reason.

    Raises:
        ChainRigError: there is no such path, it is nothing that can be shown, or it holds no fit.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise ChainRigError(f"There is no file or folder {path}: check the path.")
    if path.suffix.lower() not in (".json", ".npz"):
        raise ChainRigError(
            f"{path} cannot be shown: give a fit.json, a folder with some, such as that of chainrig fit or "
            "chainrig batch, or a rig's .npz file."
        )
    if path.suffix.lower() == ".npz":
        return [Item(path.name, path)]
    if why := _why(path):
        raise ChainRigError(f"{path} has no fit to show: {why}")
    return [Item(_own_name(path.absolute().parent), path)]


def _in_folder(folder: Path) -> list[Item]:
    entries = read_manifests(folder).values()
    known = {f"{entry.output}/face-{face.index}": face for entry in entries for face in entry.faces}
    items = [
        Item(_text(entry.output), folder / entry.output, why=entry.error or "There is no face in it.")
        for entry in entries
        if not entry.faces
    ]
    for file in folder.rglob("fit.json"):
        where = file.parent.relative_to(folder)
        if PRIVATE in where.parts:
            continue
        name = where.as_posix() if where.parts else _own_name(folder.absolute())
        face = known.get(where.as_posix())
        why = _why(file) if face is None or face.error else None
        items.append(Item(_text(name), file, face.residual_percent_iod if face else None, why))
    if not items:
        raise ChainRigError(f"There is no fit in {folder}: run chainrig fit or chainrig batch first.")
    items.sort(key=lambda item: item.name)
    if all(item.why for item in items):
        raise ChainRigError(f"No face in {folder} was fitted; {items[0].name}: {items[0].why}")
    return items


def _own_name(folder: Path) -> str:
    """A batch's `face-0` is called by its image, too."""
    return f"{folder.parent.name}/{folder.name}" if FACE.match(folder.name) else folder.name


def _why(file: Path) -> str | None:
    """The reason in a fit.json that holds no fit of its own."""
    try:
        if file.stat().st_size > LITTLE:
            return None
        told = json.loads(file.read_bytes())
        if told.get("status") == "failed":
            return str(told.get("error"))
        if told.get("status") == BRIDGED:
            between = " and ".join(told["between"])
            return f"{told['error']} Its controls are those between its neighbours, {between}."
    except (OSError, LookupError, ValueError, TypeError, AttributeError):
        pass  # it is listed, and opening it says what is wrong with it
    return None


def _text(name: str) -> str:
    """Names of files may hold what is no Unicode."""
    return name.encode("utf-8", "replace").decode()
