"""Processes that make pictures, and end when their parent does, however it ends."""

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process


def pool(workers: int) -> ProcessPoolExecutor:
    """Started anew rather than forked: a fork of a process with torch's threads may hang."""
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers, and they would wait for work forever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
