"""Controls from a JSON file: one that a fit wrote, or a plain object of names and numbers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.outputs.fit_json import SCHEMA


@dataclass(frozen=True)
class PhotoCamera:
    """The camera of a fit; all in pixels of the photo.

    Attributes:
        focal_px: focal length.
        principal_point_px: (x, y) from the photo's top-left corner.
        width, height: of the photo.
    """

    focal_px: float
    principal_point_px: tuple[float, float]
    width: int
    height: int


@dataclass(frozen=True)
class ControlsFile:
    """What the file says.

    Attributes:
        values: controls by name: expression, identity and pose.
        camera: the fit's, or None in a plain file.
    """

    values: dict[str, float]
    camera: PhotoCamera | None = None


def read_controls(path: Path) -> ControlsFile:
    """Reads a fit.json (schema chainrig.fit/1), or an object such as `{"jawOpen": 0.5}`.

    Raises:
        ChainRigError: the file cannot be read, is no such JSON, or tells of a fit that failed.
    """
    document = _read(path)
    schema = document.get("schema")
    if schema is None:
        return ControlsFile({name: _number(path, name, value) for name, value in document.items()})
    if schema != SCHEMA:
        raise ChainRigError(f"{path} has the schema {schema!r}: this version reads {SCHEMA}.")
    if document.get("status") == "failed":
        raise ChainRigError(
            f"{path} tells of a fit that failed, there is nothing to draw: {document.get('error')}"
        )
    try:
        return _of_fit(path, document)
    except ChainRigError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ChainRigError(f"{path} is not a whole {SCHEMA} document ({error!r}): fit again.") from None


def _of_fit(path: Path, document: dict[str, Any]) -> ControlsFile:
    pose, camera, photo = document["pose"], document["camera"], document["photo"]
    values = document["controls"] | document["identity"]
    for what, vector in (("Rotation", pose["rotation_vector_rad"]), ("Translation", pose["translation_m"])):
        values |= {f"head{what}{axis}": value for axis, value in zip("XYZ", vector, strict=True)}
    x, y = camera["principal_point_px"]
    seen = PhotoCamera(
        _number(path, "focal_px", camera["focal_px"]),
        (_number(path, "principal_point_px", x), _number(path, "principal_point_px", y)),
        int(photo["width"]),
        int(photo["height"]),
    )
    if min(seen.focal_px, seen.width, seen.height) <= 0:
        raise ValueError("a focal length or a size of 0")
    return ControlsFile({name: _number(path, name, value) for name, value in values.items()}, seen)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ChainRigError(f"There is no file {path}: check the path.") from None
    except OSError as refused:
        raise ChainRigError(f"The controls {path} cannot be read: {refused.strerror}.") from None
    except (ValueError, RecursionError) as broken:  # also bytes that are not UTF-8
        raise ChainRigError(
            f"{path} is not JSON ({broken}): give a fit.json, or names with numbers."
        ) from None
    if not isinstance(document, dict):
        raise ChainRigError(f'{path} must hold an object such as {{"jawOpen": 0.5}}, or be a fit.json.')
    return document


def _number(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise ChainRigError(
            f"The value of {name} in {path} is {json.dumps(value)[:40]}: give one finite number."
        )
    return float(value)
