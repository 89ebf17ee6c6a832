"""Labels from a file, whatever its format: chosen by what the file holds, as suffixes are often wrong.

`.pts` (iBUG), `.ljson` (menpo), JSON (ChainRig's own, COCO's, `points68_partial`), CSV. The module of each
format says how it looks and where it has its (0, 0).
"""

from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels import coco, csv, ljson, ours, partial68, pts
from pipeline.target.labels.files import read_json, read_text
from pipeline.target.labels.labels import Labels, Marks, of_marks


def read_labels(
    path: str | Path, scheme: str | None = None, origin: str | None = None, image: str | None = None
) -> Labels:
    """The labels of one face.

    Args:
        path: the file.
        scheme: ibug68, wflw98, mediapipe478, or the path of a scheme file; needed where the file does not
            tell it and the number of its points neither.
        origin: `corner`, `centre` or `one`, where the file counts in another way than its format does.
        image: file name of the photo, to choose from a file with several.

    Raises:
        ChainRigError: the file cannot be read or understood, or has not just one face in that photo.
    """
    path = Path(path)
    faces = _faces(path)
    if len(faces) > 1 and image is not None:
        name = Path(image).name
        faces = [face for face in faces if face.image is not None and Path(face.image).name == name]
        if not faces:
            raise ChainRigError(f"{path} labels several photos, but none is called {name}: check the names.")
    if len(faces) > 1:
        raise ChainRigError(f"{path} labels {len(faces)} faces: give a file with the labels of one.")
    return of_marks(path, faces[0], scheme, origin)


def read_all_labels(path: str | Path, scheme: str | None = None, origin: str | None = None) -> list[Labels]:
    """The labels of every face in a file, such as one that describes a set of photos.

    Raises:
        ChainRigError: the file cannot be read or understood.
    """
    path = Path(path)
    return [of_marks(path, face, scheme, origin) for face in _faces(path)]


def _faces(path: Path) -> list[Marks]:
    text = read_text(path)
    if pts.BEGIN.match(text):
        return pts.read(path, text)
    if text.lstrip().startswith(("{", "[")):
        return _of_json(path, read_json(path, text))
    return csv.read(path, text)


def _of_json(path: Path, document: Any) -> list[Marks]:
    if isinstance(document, dict):
        if "schema" in document or "points" in document:
            return ours.read(path, document)
        if partial68.KEY in document:
            return partial68.read(path, document)
        if ljson.is_ljson(document):
            return ljson.read(path, document)
    if coco.is_coco(document):
        return coco.read(path, document)
    raise ChainRigError(
        f'{path} holds no labels that ChainRig knows: it reads JSON with "points", COCO\'s "annotations", '
        "and LJSON."
    )
