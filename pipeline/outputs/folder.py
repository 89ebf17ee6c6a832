"""Writing into a folder; that of a fit has overlay.png, controls.csv, fit.json, config.yaml and face.glb."""

import contextlib
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from pipeline.config import Config
from pipeline.errors import ChainRigError
from pipeline.outputs.fit_json import fit_json
from pipeline.outputs.live_link import live_link_csv
from pipeline.outputs.overlay import overlay
from pipeline.outputs.whole_file import whole_file
from pipeline.result import FitFailure, FitResult
from pipeline.solve.trace_files import traced

GLB = "face.glb"
FILES = {
    "overlay.png",
    "controls.csv",
    "config.yaml",
    GLB,
    "trace.csv",
    "trace.json",
    "trace.svg",
}  # beside fit.json


def require_writable(folder: Path) -> None:
    """Says now what would go wrong when results are written; leaves no trace.

    Raises:
        ChainRigError: `folder` is not a folder, or cannot be made or written to.
    """
    with _told(folder):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass


def fit_files(
    result: FitResult, face_index: int, config: Config, trace: bool = False, glb: bytes | None = None
) -> dict[str, bytes]:
    """The files by name.

    Args:
        trace: with the solver's steps: trace.csv, trace.json and trace.svg.
        glb: of the face, see `face_glb`; None: without face.glb.
    """
    image = BytesIO()
    overlay(result).save(image, "PNG")
    steps = traced(result.trace) if trace and result.trace is not None else {}
    return {
        "overlay.png": image.getvalue(),
        "controls.csv": live_link_csv(result).encode(),
        "config.yaml": config.to_yaml().encode(),
        **({GLB: glb} if glb is not None else {}),
        **{f"trace.{ending}": text.encode() for ending, text in steps.items()},
        "fit.json": fit_json(result, face_index).encode(),
    }


def failure_files(failure: FitFailure, face_index: int) -> dict[str, bytes]:
    """A fit.json that says why there is no fit."""
    return {"fit.json": fit_json(failure, face_index).encode()}


def write_fit(
    result: FitResult,
    face_index: int,
    config: Config,
    folder: Path,
    trace: bool = False,
    glb: bytes | None = None,
) -> list[Path]:
    """Writes `fit_files`, each at once and whole, and returns their paths; removes others of an earlier fit.

    Raises:
        ChainRigError: the folder cannot be written to.
    """
    return _write_face(folder, fit_files(result, face_index, config, trace, glb))


def write_failure(failure: FitFailure, face_index: int, folder: Path) -> list[Path]:
    """Writes `failure_files`, and removes the other files of an earlier fit.

    Raises:
        ChainRigError: the folder cannot be written to.
    """
    return _write_face(folder, failure_files(failure, face_index))


def _write_face(folder: Path, files: dict[str, bytes]) -> list[Path]:
    with _told(folder):
        for name in FILES - files.keys():
            (folder / name).unlink(missing_ok=True)
    return write_files(folder, files)


def write_files(folder: Path, files: dict[str, bytes], replaced: str | None = None) -> list[Path]:
    """Writes files, each at once and whole, and returns their paths; a name may begin with a folder's.

    Args:
        replaced: pattern of files that an earlier run may have left in `folder`, and that would mix in.

    Raises:
        ChainRigError: the folder cannot be made or written to.
    """
    with _told(folder):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / name) as draft:
                draft.write_bytes(content)
        for old in set(folder.glob(replaced) if replaced else ()) - {folder / name for name in files}:
            old.unlink()
    return [folder / name for name in files]


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as refused:
        raise ChainRigError(
            f"Results cannot be written to {folder} ({refused.strerror or refused}): choose another --out."
        ) from None
