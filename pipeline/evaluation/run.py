"""Fitting many images, one process a core, and judging each fit where it was made."""

import os
import signal
import traceback
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.detect.training.workers import pool
from pipeline.environment import lacking
from pipeline.errors import ChainRigError
from pipeline.evaluation.folder import Item
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.truth import read_truth

if TYPE_CHECKING:
    from pipeline.fit import FaceFitter


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def evaluate(items: list[Item], config: Config, workers: int, fit_to_labels: bool = False) -> Iterator[Row]:
    """Rows as they are done, in any order; an image that cannot be fitted is a row with its reason.

    Args:
        workers: processes; with one, the fits run in this process.
        fit_to_labels: labels are what is fitted, where there are any, and not only what judges the fit.

    Raises:
        ChainRigError: the configuration cannot be used, or a worker was killed.
    """
    settings = config.model_dump_json()
    if min(workers, len(items)) <= 1:
        fitter_of(settings)  # a setting that cannot be used is no fault of the first image
        for item in items:
            yield one(item, settings, fit_to_labels)
        return
    executor = pool(min(workers, len(items)))
    try:
        futures = [executor.submit(one, item, settings, fit_to_labels) for item in items]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise ChainRigError(
            f"One of {workers} workers was killed, probably for want of memory: give fewer with --workers."
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def one(item: Item, settings: str, fit_to_labels: bool) -> Row:
    """The row of one image.

    Args:
        settings: the configuration as JSON: two processes share nothing else.

    Raises:
        ChainRigError: the configuration cannot be used.
    """
    if parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupted worker ends without a word
    fitter = fitter_of(settings)
    try:
        return _fitted(fitter, item, fit_to_labels)
    except ChainRigError as refused:
        return Row(item.name, "failed", str(refused).replace(str(item.path), item.path.name))
    except Exception as error:  # a long run goes on; the row tells
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        return Row(item.name, "crashed", lacking(error) or f"{type(error).__name__}: {error} ({where})")


@cache
def fitter_of(settings: str) -> "FaceFitter":
    """The fitter of a configuration as JSON; made once a process.

    Raises:
        ChainRigError: the configuration cannot be used.
    """
    import torch

    from pipeline.fit import FaceFitter

    config = Config.model_validate_json(settings)
    torch.set_num_threads(config.fit.threads)
    return FaceFitter(config)


def _fitted(fitter: "FaceFitter", item: Item, fit_to_labels: bool) -> Row:
    """Fits the labelled face, or the largest."""
    import torch

    from pipeline.target.faces import find_faces
    from pipeline.target.labels.read import read_labels
    from pipeline.target.photo import read_photo

    photo = read_photo(item.path)
    faces = find_faces(photo.pixels)
    if not faces:
        raise ChainRigError("There is no face in it.")
    labels = None if item.labels is None else read_labels(item.labels, image=item.path.name)
    face = max(faces, key=lambda face: face.area)
    if labels is not None:
        labels.require_image(photo.width, photo.height)
        face = faces[labels.face_among(torch.stack([face.box for face in faces]))]
    truth = None if item.truth is None else read_truth(item.truth, fitter.rig.controls)
    result = fitter.fit(photo, face, lambda *_: None, labels if fit_to_labels else None)
    return row_of(item.name, result, labels, truth)
