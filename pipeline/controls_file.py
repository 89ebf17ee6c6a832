"""Controls from a JSON file: one that a fit wrote, or a plain object of names and numbers."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from pipeline.config import DeformerKind
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.outputs.fit_json import SCHEMA
from pipeline.render.lighting import Light
from pipeline.target.labels.labels import Labels
from pipeline.target.schemes import Match, Scheme, scheme


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
class SeenPhoto:
    """The photo of a fit.

    Attributes:
        path: as the fit was given it.
        sha256: of the file's bytes.
        rig: the rig's file; None for the shipped head.
        detector: what `--detector` was.
        region: what the detector looked at; the landmarks' own where an older file does not say.
        target: `(L, 2)` float32 its landmarks, in pixels.
        labels: the points that a person placed, where these were the target.
        subject: the file of the person, where the fit looked for expression only.
        deformer: what `--deformer` was.
    """

    path: Path
    sha256: str
    rig: str | None
    detector: str
    region: Region
    target: Tensor
    labels: Labels | None = None
    subject: str | None = None
    deformer: DeformerKind = "skinning"


@dataclass(frozen=True)
class ControlsFile:
    """What the file says.

    Attributes:
        values: controls by name: expression, identity and pose.
        camera: the fit's, or None in a plain file.
        light: that of the photo, where the fit looked for it.
        colours: of the texture's regions, linear RGB, where the fit looked for them.
        photo: the fit's, or None in a plain file.
    """

    values: dict[str, float]
    camera: PhotoCamera | None = None
    light: Light | None = None
    colours: dict[str, list[float]] = field(default_factory=dict)
    photo: SeenPhoto | None = None


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
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
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
    values = {name: _number(path, name, value) for name, value in values.items()}
    found = document.get("appearance")
    if found is None:
        return ControlsFile(values, seen, photo=_seen_photo(document))
    light = Light(
        _numbers(found["ambient"], 3),
        _numbers(found["directional"], 3),
        _numbers(found["direction"], 3),
        _numbers(found["harmonics"], 9, 3),
    )
    colours = {name: _numbers(colour, 3).tolist() for name, colour in found["colours"].items()}
    return ControlsFile(values, seen, light, colours, _seen_photo(document))


def _seen_photo(document: dict[str, Any]) -> SeenPhoto | None:
    """What the fit saw; None where somebody has left out the landmarks."""
    if "landmarks" not in document:
        return None
    landmarks, photo, region = document["landmarks"], document["photo"], document.get("region")
    rig = None if document.get("rig", "head_rig") == "head_rig" else str(document["rig"])
    of, detector = scheme(landmarks.get("scheme", "mediapipe478")), str(document.get("detector", "facemesh"))
    target = _numbers(landmarks["target"], len(of), 2)
    path, digest = Path(photo["path"]), photo["sha256"]
    deformer = document.get("deformer", "skinning")
    if deformer not in get_args(DeformerKind):
        raise ValueError(f"the deformer {deformer}")
    if region is None:
        return SeenPhoto(path, digest, rig, detector, Region.around(target), target, deformer=deformer)
    centre, side = _numbers(region["centre_px"], 2), _numbers(region["side_px"])
    if not side > 0:
        raise ValueError("a region without pixels")
    turned = Region(centre, side, _numbers(region["rotation_rad"]))
    labels, subject = _labels(document.get("labels")), document.get("subject")
    return SeenPhoto(path, digest, rig, detector, turned, target, labels, subject, deformer)


def _labels(found: dict[str, Any] | None) -> Labels | None:
    if found is None:
        return None
    index, of = torch.tensor(found["index"]), _scheme_of(found)
    if of.like:
        index = torch.arange(len(of))
    points = torch.full((len(of), 2), torch.nan, dtype=torch.float64)
    weights = torch.zeros(len(of), dtype=torch.float64)
    points[index] = _numbers(found["target"], len(index), 2).double()
    weights[index] = _numbers(found["weight"], len(index)).double()
    return Labels(points, weights, of, Path(found["path"]))


def _scheme_of(found: dict[str, Any]) -> Scheme:
    """The labels' scheme; of a user's, the points that were read."""
    if "like" not in found:
        return scheme(found["scheme"])
    like = tuple(Match(one["scheme"], tuple(one["points"]), one["agreement"]) for one in found["like"])
    names = tuple(f"point_{i}" for i in found["index"])
    return Scheme(found["scheme"], names, ("label",) * len(like), tuple(range(len(like))), like)


def _numbers(values: Any, *shape: int) -> Tensor:
    numbers = torch.tensor(values, dtype=torch.float32)
    if numbers.shape != shape or not numbers.isfinite().all():
        raise ValueError(f"numbers of shape {shape} are needed")
    return numbers


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
