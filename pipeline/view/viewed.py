"""What a path shows: one fit, the fits in a folder, or a rig."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.disk import FACE, PRIVATE
from pipeline.batch.manifest import read_manifests
from pipeline.errors import ChainRigError

FAILURE_BYTES = 4096  # a fit.json that only says why there is no fit is shorter


@dataclass(frozen=True)
class Item:
    """One thing to choose from the list.

    Attributes:
        name: for people.
        file: a fit.json or a rig.
        residual: % of the outer-eye distance, where it is known without opening the file.
    """

    name: str
    file: Path
    residual: float | None = None

    @property
    def is_rig(self) -> bool:
        return self.file.suffix.lower() == ".npz"


def find_items(path: Path) -> list[Item]:
    """By name; a run's faces that could not be fitted are left out.

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
    return [Item(path.name if path.suffix.lower() == ".npz" else _own_name(path.absolute().parent), path)]


def _in_folder(folder: Path) -> list[Item]:
    residuals = {
        f"{entry.output}/face-{face.index}": face.residual_percent_iod
        for entry in read_manifests(folder).values()
        for face in entry.faces
    }
    items = []
    for file in folder.rglob("fit.json"):
        where = file.parent.relative_to(folder)
        if PRIVATE in where.parts or _failed(file):
            continue
        name = where.as_posix() if where.parts else _own_name(folder.absolute())
        items.append(Item(name.encode("utf-8", "replace").decode(), file, residuals.get(where.as_posix())))
    if not items:
        raise ChainRigError(f"There is no fit in {folder}: run chainrig fit or chainrig batch first.")
    return sorted(items, key=lambda item: item.name)


def _own_name(folder: Path) -> str:
    """A batch's `face-0` is called by its image, too."""
    return f"{folder.parent.name}/{folder.name}" if FACE.match(folder.name) else folder.name


def _failed(file: Path) -> bool:
    try:
        if file.stat().st_size > FAILURE_BYTES:
            return False
        return json.loads(file.read_bytes()).get("status") == "failed"
    except (OSError, ValueError, AttributeError):
        return False  # it is listed, and opening it says what is wrong with it
