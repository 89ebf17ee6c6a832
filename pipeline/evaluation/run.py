"""Fitting many images, one process a core, and judging each fit where it was made."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache, partial
from typing import TYPE_CHECKING

from pipeline.batch.pool import Lost, Pool, cores, crash
from pipeline.config import Config
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError
from pipeline.evaluation.folder import Item
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.truth import read_truth

if TYPE_CHECKING:
    from pipeline.fit import FaceFitter

__all__ = ["cores", "evaluate"]


def evaluate(items: list[Item], config: Config, workers: int, fit_to_labels: bool = False) -> Iterator[Row]:
    """Rows as they are done, in any order; an image that cannot be fitted is a row with its reason.

    Args:
        workers: processes; with one, the fits run in this process.
        fit_to_labels: labels are what is fitted, where there are any, and not only what judges the fit.

    Raises:
        ChainRigError: the configuration cannot be used, or a worker was killed while it was starting.
    """
    prepare = partial(judging, config.model_dump_json(), fit_to_labels)
    if min(workers, len(items)) <= 1:
        yield from map(prepare(), items)
        return
    with closing(Pool(prepare, min(workers, len(items))).run(items)) as results:
        for item, row in results:
            yield Row(item.name, "crashed", row.why) if isinstance(row, Lost) else row


def judging(settings: str, fit_to_labels: bool) -> Callable[[Item], Row]:
    """The function that gives an image its row.

    Args:
        settings: the configuration as JSON: two processes share nothing else.

    Raises:
        ChainRigError: the configuration cannot be used, which is no fault of the first image.
    """
    return partial(_row, fitter_of(settings), fit_to_labels)


@cache
def fitter_of(settings: str) -> "FaceFitter":
    """The fitter of a configuration as JSON; made once a process.

    Raises:
        ChainRigError: the configuration cannot be used.
    """

    from pipeline.fit import FaceFitter

    config = Config.model_validate_json(settings)
    use_machine(config.fit.threads)
    return FaceFitter(config)


def _row(fitter: "FaceFitter", fit_to_labels: bool, item: Item) -> Row:
    try:
        return _fitted(fitter, item, fit_to_labels)
    except ChainRigError as refused:
        return Row(item.name, "failed", str(refused).replace(str(item.path), item.path.name))
    except Exception as error:  # a long run goes on; the row tells
        return Row(item.name, "crashed", crash(error))


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
