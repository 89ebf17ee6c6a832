"""What lies in a folder: images, and beside each the labels and the truth that are known of it."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.batch.discovery import IMAGES
from pipeline.controls import ControlSpace
from pipeline.errors import ChainRigError
from pipeline.evaluation.truth import holds_labels, read_document, read_truth
from pipeline.target.labels.read import read_labels

TRUTH = ".truth.json"
LABELS = (".json", ".pts", ".ljson", ".csv")


@dataclass(frozen=True)
class Item:
    """An image to evaluate.

    Attributes:
        name: its path from the folder on, with slashes.
        path: the file.
        labels, truth: files beside it, or None.
    """

    name: str
    path: Path
    labels: Path | None = None
    truth: Path | None = None


def find_items(folder: Path, space: ControlSpace, besides: Path | None = None) -> list[Item]:
    """The images of a folder and of the folders in it, by name; hidden ones are left out.

    Beside NAME.jpg, labels are NAME.json, .pts, .ljson or .csv; truth is NAME.truth.json, or NAME.json: what
    that holds decides. All of these are read here, so that a wrong one is told before the first fit.

    Args:
        space: X1 of the rig whose controls truth names.
        besides: a folder whose images do not count, such as one for results.

    Raises:
        ChainRigError: there is no such folder, no image in it, or a file beside one that cannot be read.
    """
    if not folder.is_dir():
        raise ChainRigError(
            f"{folder} is a file: give the folder of images that it lies in."
            if folder.exists()
            else f"There is no folder {folder}: check the path."
        )
    left_out = besides.resolve() if besides is not None else None
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in IMAGES or any(part.startswith(".") for part in inside.parts):
            continue
        if path.is_file() and (left_out is None or left_out not in path.resolve().parents):
            found.append(_item(inside.as_posix(), path, space))
    if not found:
        raise ChainRigError(f"There is no image in {folder}: give a folder of {', '.join(IMAGES)} files.")
    return found


def _item(name: str, path: Path, space: ControlSpace) -> Item:
    labels, truth = [], []
    beside = [path.with_suffix(suffix) for suffix in (TRUTH, *LABELS)]
    for file in beside:
        if not file.is_file():
            continue
        is_truth = file is beside[0] or (file.suffix == ".json" and not holds_labels(read_document(file)))
        (truth if is_truth else labels).append(file)
    for files, kind in ((labels, "labels"), (truth, "the truth")):
        if len(files) > 1:
            raise ChainRigError(
                f"{files[0]} and {files[1]} both hold {kind} of {path.name}: keep one of them."
            )
    if labels:
        read_labels(labels[0], image=path.name)
    if truth:
        read_truth(truth[0], space)
    return Item(name, path, *(files[0] if files else None for files in (labels, truth)))
