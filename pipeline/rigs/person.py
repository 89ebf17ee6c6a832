"""Whose head a file tells of: the identity of a fit, of a subject, or of a plain file of controls."""

import contextlib
import json
from pathlib import Path

from pipeline.controls_file import read_controls
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.subject import SCHEMA, read_subject


def identity_in(path: Path, rig: Rig) -> dict[str, float]:
    """Identity controls of the rig, by name.

    Raises:
        ChainRigError: the file cannot be read, or names none of them.
    """
    values = None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # told of by `read_controls`
        if json.loads(path.read_text(encoding="utf-8")).get("schema") == SCHEMA:
            values = read_subject(path, rig).identity
    if values is None:
        values = read_controls(path).values
    found = {name: value for name, value in values.items() if name in rig.identity_names}
    if not found:
        raise ChainRigError(
            f"{path} names none of the rig's identity controls: give a fit.json or a subject of the same rig."
        )
    return found
