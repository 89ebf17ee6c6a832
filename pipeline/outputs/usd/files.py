"""Files of USD from a .glb of ChainRig."""

import tempfile
from pathlib import Path

from pipeline.errors import ChainRigError
from pipeline.outputs.folder import write_files

SUFFIXES = (".usdc", ".usda", ".usdz", ".usd")


def require_usd() -> None:
    """Raises ChainRigError where the package is missing."""
    try:
        import pxr  # noqa: F401  # pyright: ignore[reportMissingImports]  # of the extra `usd`
    except ImportError:
        raise ChainRigError("USD needs another package: run pip install 'chainrig[usd]'.") from None


def write_usd(source: Path, out: Path) -> list[Path]:
    """Writes what a .glb shows, and returns the paths: of pictures, which lie beside `out`, and of `out`.

    Args:
        out: .usdc and .usd are binary, .usda is text; .usdz is one file with the pictures in it.

    Raises:
        ChainRigError: the package is missing, `source` is damaged or of a kind that ChainRig does not write,
            or `out` cannot be written.
    """
    require_usd()
    from pipeline.outputs.usd.source import read_source
    from pipeline.outputs.usd.stage import stage_of

    stage, pictures = stage_of(read_source(source), out.stem)
    return write_files(out.parent, _files(stage, pictures, out))


def _files(stage, pictures: dict[str, bytes], out: Path) -> dict[str, bytes]:  # type: ignore[no-untyped-def]
    """The files by name. USD writes only to a disk, so a draft of each goes to one first."""
    from pxr import Tf, UsdUtils  # pyright: ignore

    suffix = out.suffix.lower()
    try:
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / f"{out.stem}{'.usdc' if suffix == '.usdz' else suffix}"
            stage.GetRootLayer().Export(str(draft))
            if suffix != ".usdz":
                return {**pictures, out.name: draft.read_bytes()}
            for name, picture in pictures.items():
                (draft.parent / name).write_bytes(picture)
            package = draft.with_suffix(".usdz")
            UsdUtils.CreateNewUsdzPackage(str(draft), str(package))  # pyright: ignore[reportAttributeAccessIssue]
            return {out.name: package.read_bytes()}
    except (OSError, Tf.ErrorException) as refused:
        raise ChainRigError(
            f"There is no room for the draft of {out.name} in the folder of temporary files "
            f"({str(refused):.120}): set TMPDIR to one that can be written to."
        ) from None
