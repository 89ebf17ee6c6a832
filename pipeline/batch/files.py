"""What a run leaves for people, beside the folders of the images."""

import contextlib
from pathlib import Path

from pipeline.batch.contact_sheet import write_contact_sheets
from pipeline.batch.disk import CannotWrite
from pipeline.batch.live_link import write_live_link
from pipeline.batch.manifest import read_manifests
from pipeline.batch.summary import NAME, PARQUET, write_csv, write_parquet


def write_run_files(folder: Path, parquet: bool = False) -> list[Path]:
    """Writes them anew from the manifests and the faces' own files, unless they are younger than those.

    Raises:
        CannotWrite: the folder takes no files.
        ChainRigError: Parquet is asked for, and its package is missing.
    """
    wanted = [folder / PARQUET] * parquet + [folder / NAME]
    with CannotWrite.told(folder):
        if _up_to_date(wanted, folder):
            return []
        entries = read_manifests(folder).values()
        paths = [*write_contact_sheets(folder, entries), write_live_link(folder, entries)]
        if parquet:
            paths.append(write_parquet(folder, entries))
        return [*paths, write_csv(folder, entries)]  # the last to appear: all others are there


def _up_to_date(wanted: list[Path], folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        youngest = max((path.stat().st_mtime_ns for path in folder.glob("manifest*.jsonl")), default=0)
        return all(path.stat().st_mtime_ns > youngest for path in wanted)
    return False
