"""What a run leaves for people, beside the folders of the images."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.batch.contact_sheet import write_contact_sheets
from pipeline.batch.disk import CannotWrite
from pipeline.batch.live_link import FPS, write_live_link
from pipeline.batch.live_link import NAME as LIVE_LINK
from pipeline.batch.manifest import read_manifests
from pipeline.batch.report import NAME as REPORT
from pipeline.batch.report import write_report
from pipeline.batch.summary import NAME, PARQUET, write_csv, write_parquet


def write_run_files(
    folder: Path, parquet: bool = False, frames: Sequence[str] | None = None, fps: float = FPS
) -> list[Path]:
    """Writes them anew from the manifests and the faces' own files, unless they are younger than those.

    Args:
        frames: names of a sequence's images, in order; None: all that the manifests know, by name.
        fps: frames a second.

    Raises:
        CannotWrite: the folder takes no files.
        ChainRigError: Parquet is asked for, and its package is missing.
    """
    wanted = [folder / PARQUET] * parquet + [folder / name for name in (REPORT, LIVE_LINK, NAME)]
    with CannotWrite.told(folder):
        if _up_to_date(wanted, folder):
            return []
        known = read_manifests(folder)
        entries = [known[name] for name in (sorted(known) if frames is None else frames) if name in known]
        paths = write_contact_sheets(folder, entries)
        paths.append(write_report(folder, entries))
        paths.append(write_live_link(folder, entries, fps, bridges=frames is not None))
        if parquet:
            paths.append(write_parquet(folder, entries))
        return [*paths, write_csv(folder, entries)]  # the last to appear: all others are there


def _up_to_date(wanted: list[Path], folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        youngest = max((path.stat().st_mtime_ns for path in folder.glob("manifest*.jsonl")), default=0)
        return all(path.stat().st_mtime_ns > youngest for path in wanted)
    return False
