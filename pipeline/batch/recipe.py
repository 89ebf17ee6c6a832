"""What results depend on besides the image: settings, weights and assets, versions."""

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import assets
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from pipeline.config import Config

_FILES = (("fit", "rig"), ("fit", "subject"), ("landmarks", "bias_file"))  # settings that name one
PACKAGES = ("chainrig", "torch", "numpy", "numba")


@dataclass(frozen=True)
class Recipe:
    """Two results with the same image, settings and weights are the same but for rounding.

    Attributes:
        config_sha256: of the settings, and of which faces are fitted.
        weights_sha256: of every shipped array, and of the files that the settings name.
        versions: of the packages that compute, for a person; another version alone redoes nothing.
    """

    config_sha256: str
    weights_sha256: str
    versions: str


def recipe_of(config: "Config", faces: str) -> Recipe:
    """Of a run with these settings.

    Args:
        faces: which faces of an image are fitted, as the command line says it.

    Raises:
        ChainRigError: a file that the settings name cannot be read.
    """
    told = type(config).model_validate_json(config.model_dump_json())  # a default 0 is a user's 0.0
    values = told.model_dump(mode="json")
    for section, name in _FILES:  # what is in them counts as weights, and folders may be moved
        if values[section][name] is not None:
            values[section][name] = Path(values[section][name]).name
    settings = hashlib.sha256(f"{json.dumps(values)} {faces}".encode()).hexdigest()
    weights = hashlib.sha256()
    for path in [*_shipped(), *_named(config)]:
        try:
            weights.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as refused:
            raise ChainRigError(
                f"{path}, which the settings name, cannot be read: {refused.strerror}."
            ) from None
    versions = [f"{name} {_version(name)}" for name in PACKAGES] + [f"python {platform.python_version()}"]
    return Recipe(settings, weights.hexdigest(), ", ".join(versions))


def _shipped() -> list[Path]:
    folder = assets.path("head_rig.npz").parent
    return sorted([*folder.glob("*.npz"), *folder.glob("*.safetensors")])


def _named(config: "Config") -> list[Path]:
    """The files that settings name; a detector may go by a name, and then has its hash in that."""
    files = [getattr(getattr(config, section), name) for section, name in _FILES]
    detector = Path(config.landmarks.detector)
    return [Path(name) for name in files if name is not None] + [detector] * detector.is_file()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # ChainRig itself, run from a clone
        return "not installed"
