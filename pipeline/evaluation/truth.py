"""Controls that an image is known to show: of a render, of another tracker, or of an artist.

    {"controls": {"jawOpen": 0.5}, "identity": {…}, "pose": {"rotation_vector_rad": [0, 0.2, 0]}}

or a plain object of names and numbers, as `chainrig render --controls` draws it, or a fit.json. As in a
render, expressions that the file does not name are at 0. Identity and rotation are judged only where given.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.controls import POSE_NAMES, ControlSpace
from pipeline.errors import ChainRigError

ROTATION = POSE_NAMES[:3]
_LABEL_KEYS = {"points", "points68_partial", "annotations", "version", "face_kpts", "keypoints"}


@dataclass(frozen=True)
class Truth:
    """What is known of a face.

    Attributes:
        expressions: every expression control of the rig by name.
        identity: every identity control by name; None where the file tells none.
        rotation_vector: of the head in camera space, radians; None where the file does not tell it.
    """

    expressions: dict[str, float]
    identity: dict[str, float] | None = None
    rotation_vector: tuple[float, float, float] | None = None


def read_document(path: Path) -> Any:
    """The JSON in a file that lies beside an image.

    Raises:
        ChainRigError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as refused:
        raise ChainRigError(f"{path} cannot be read: {refused.strerror}.") from None
    except (ValueError, RecursionError) as broken:  # also bytes that are not UTF-8
        raise ChainRigError(
            f"{path} lies beside an image, but is not JSON ({broken}): mend it, or move it away."
        ) from None


def holds_labels(document: Any) -> bool:
    """Whether a JSON document holds points in an image, not controls."""
    if isinstance(document, list):
        return True
    if not isinstance(document, dict) or "controls" in document:
        return False
    return bool(_LABEL_KEYS & document.keys()) or str(document.get("schema", "")).startswith(
        "chainrig.labels"
    )


def read_truth(path: Path, space: ControlSpace) -> Truth:
    """The controls in a file, for the rig whose X1 `space` is.

    Raises:
        ChainRigError: the file cannot be read, names what the rig does not have, or holds no numbers.
    """
    document = read_document(path)
    if not isinstance(document, dict) or not document:
        raise ChainRigError(
            f'{path} holds no truth: give an object such as {{"controls": {{"jawOpen": 0.5}}}}.'
        )
    if document.get("status") == "failed":
        raise ChainRigError(f"{path} tells of a fit that failed, which is no truth: move it away.")
    values = {name: _number(path, name, value, space) for name, value in _values(path, document).items()}
    of_expression, of_identity = (space.names[space.groups[group]] for group in ("expression", "identity"))
    told = values.keys() & set(of_identity)
    turn = [values.get(name, 0.0) for name in ROTATION]
    return Truth(
        {name: values.get(name, 0.0) for name in of_expression},
        {name: values.get(name, 0.0) for name in of_identity} if told else None,
        (turn[0], turn[1], turn[2]) if values.keys() & set(ROTATION) else None,
    )


def _values(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """All that a document tells, by the controls' names."""
    if "controls" not in document:
        return document
    sections = [document.get(name) or {} for name in ("controls", "identity", "pose")]
    if not all(isinstance(section, dict) for section in sections):
        raise ChainRigError(f'"controls", "identity" and "pose" in {path} must each hold names and numbers.')
    controls, identity, pose = sections
    found: dict[str, Any] = controls | identity
    turn = pose.get("rotation_vector_rad")
    if turn is None:
        return found
    if not isinstance(turn, list) or len(turn) != 3:
        raise ChainRigError(f'"rotation_vector_rad" in {path} must hold three numbers.')
    return found | dict(zip(ROTATION, turn, strict=True))


def _number(path: Path, name: str, value: Any, space: ControlSpace) -> float:
    """The value of one of the rig's controls."""
    try:
        space.index(name)
    except ChainRigError as unknown:
        raise ChainRigError(
            f"{path} lies beside an image, but holds neither labels nor this rig's controls: {unknown}"
        ) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ChainRigError(f"The value of {name} in {path} is {json.dumps(value)[:40]}: give one number.")
    return float(value)
