"""One run a folder at a time: of shards, one of each.

A lock is the operating system's, on an open file: it ends with its process, however that ends. Over NFS it
holds where the server supports locks.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.batch.disk import PRIVATE, CannotWrite
from pipeline.errors import ChainRigError

WHOLE = "whole"
MOMENT = 0.5  # seconds: another run may just look whether it is alone


@contextlib.contextmanager
def only_run(folder: Path, share: str) -> Iterator[None]:
    """Holds a share of a run's folder: `WHOLE`, or a shard's name, such as "2-of-8".

    The shards of one division exclude only themselves; everything else excludes everything else. A run takes
    its own lock before it looks at others', so of two that start together, at most one goes on.

    Raises:
        ChainRigError: another run has the folder.
        CannotWrite: the lock cannot be made.
    """
    locks = folder / PRIVATE / "locks"
    with contextlib.ExitStack() as held:
        with CannotWrite.told(folder):
            locks.mkdir(parents=True, exist_ok=True)
            _take(held, locks / share, folder)
            for other in sorted(locks.iterdir()):
                if other.name != share and _exclusive(other.name, share):
                    with contextlib.ExitStack() as looked:
                        _take(looked, other, folder)
        yield


def _exclusive(one: str, other: str) -> bool:
    return one == WHOLE or other == WHOLE or one.partition("-of-")[2] != other.partition("-of-")[2]


def _take(stack: contextlib.ExitStack, path: Path, folder: Path) -> None:
    try:
        stack.enter_context(FileLock(path, timeout=MOMENT))
    except Timeout:
        who = "Another run" if path.name == WHOLE else f"A run of shard {path.name.replace('-of-', '/')}"
        raise ChainRigError(
            f"{who} is writing to {folder}: wait for its end, or give --out another folder."
        ) from None
