"""Processes that make pictures, and end when their parent does, however it ends."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from pipeline.batch.pool import end_with_parent


def pool(workers: int) -> ProcessPoolExecutor:
    """Started anew rather than forked: a fork of a process with torch's threads may hang."""
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_parent)
