"""Where the shipped files (rig, albedo, network weights, example photo) lie."""

from pathlib import Path

from pipeline.errors import ChainRigError

_INSTALLED = Path(__file__).parent / "_assets"  # in a wheel
_CHECKOUT = Path(__file__).parent.parent / "assets"  # in a clone or an editable install


def path(name: str) -> Path:
    """The file `assets/<name>`.

    Raises:
        ChainRigError: the file is not there (a broken install).
    """
    folder = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    file = folder / name
    if not file.is_file():
        raise ChainRigError(
            f"The asset {name} is missing from {folder}: reinstall chainrig, or run scripts/build_assets.py."
        )
    return file
