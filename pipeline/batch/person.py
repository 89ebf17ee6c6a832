"""Whose face it is: one head from a few pictures, spread over all that there are of a person."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline.batch.discovery import Image
from pipeline.batch.disk import PRIVATE, CannotWrite
from pipeline.batch.plan import sha256_of
from pipeline.batch.pool import Lost, Pool
from pipeline.batch.run import Batch
from pipeline.calibrate import calibrate, largest_face
from pipeline.config import Config
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.outputs.whole_file import whole_file
from pipeline.subject import subject_json
from pipeline.target.photo import Photo, read_photo

T = TypeVar("T")
PICTURES = 6  # more tell little more, and cost a fit each
SUBJECT = "subject.json"  # in the run's folder


def known_person(wanted: Batch) -> str | None:
    """The document that `find_person` found before with these settings.

    None: it did not, or a picture that it was found in is not among the run's images, or has changed: another
    person may be meant.
    """
    try:
        kept = json.loads(_kept(wanted).read_text(encoding="utf-8"))
        paths = {image.name: image.path for image in wanted.images}
        if all(
            name in paths and sha256_of(paths[name]) == digest for name, digest in kept["found_in"].items()
        ):
            return kept["subject"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def find_person(wanted: Batch, config: Config, on_search: Callable[[], None] = lambda: None) -> Path:
    """The document of the person in a run's images, `SUBJECT` in the run's folder, which it holds meanwhile.

    It is found once for these settings, in a process of its own, and stays when images are added, and as long
    as those that it was found in are there.

    Args:
        on_search: called before it is searched for.

    Raises:
        ChainRigError: another run has the folder, no image shows a face, or the detector is not FaceMesh.
        CannotWrite: the run's folder takes no files.
    """
    folder = wanted.folder.absolute()
    with wanted.held():
        document = known_person(wanted)
        if document is None:
            on_search()
            images = wanted.images[: wanted.limit]
            seconds = None if wanted.seconds is None else wanted.seconds * PICTURES
            for _, found in Pool(partial(_finder, config), 1, seconds).run([images]):
                if isinstance(found, Lost):
                    raise ChainRigError(
                        f"The person's head was not found ({found.why.rstrip('.')}): leave the image that is "
                        "to blame out with --exclude, or give a --subject."
                    )
                document, used = found
                kept = {
                    "found_in": {image.name: sha256_of(image.path) for image in used},
                    "subject": document,
                }
                _write(_kept(wanted), json.dumps(kept), folder)
        assert document is not None  # the pool gives one or raises
        _write(folder / SUBJECT, document, folder)
    return folder / SUBJECT


def person_in(pictures: Sequence[T], read: Callable[[T], Photo], config: Config) -> tuple[str, list[T]]:
    """The document of the person in the largest face of each, as `chainrig fit --share-identity` finds it.

    Gives the pictures that it was found in, too.

    The pictures are cut into as many equal parts as there are to be seen; of each, the one nearest to its
    middle in which the detector sees a face.

    Args:
        read: raises ChainRigError where there is no picture.

    Raises:
        ChainRigError: none shows a face, or the detector is not FaceMesh.
    """
    use_machine(config.fit.threads)
    fitter = FaceFitter(config)
    seen, used, why = [], [], ""
    for part in spread(pictures, PICTURES):
        for picture in part:
            try:
                photo = read(picture)
                _, face = largest_face(photo)
                fitter.target(photo, face)  # raises where the detector is not sure of it
                seen.append((photo, face))
                used.append(picture)
                break
            except ChainRigError as refused:
                why = why or str(refused)
    if not seen:
        raise ChainRigError(f"No picture shows a face that can be fitted; the first: {why}")
    return subject_json(calibrate(seen, config, at_rest=False)), used


def spread(pictures: Sequence[T], parts: int) -> list[list[T]]:
    """The pictures of each of so many equal parts, from its middle outward; of fewer, fewer parts."""
    parts = min(parts, len(pictures))
    ends = [round(k * len(pictures) / parts) for k in range(parts + 1)]
    cut = []
    for low, high in zip(ends, ends[1:], strict=False):
        middle = low + (high - low) // 2
        cut.append([pictures[i] for i in sorted(range(low, high), key=lambda i: abs(i - middle))])  # noqa: B023
    return cut


def _kept(wanted: Batch) -> Path:
    settings = f"{wanted.recipe.config_sha256[:8]}{wanted.recipe.weights_sha256[:8]}"
    return wanted.folder.absolute() / PRIVATE / "person" / f"{settings}.json"


def _finder(config: Config) -> Callable[[Sequence[Image]], tuple[str, list[Image]]]:
    return lambda images: person_in(images, lambda image: read_photo(image.path), config)


def _write(path: Path, text: str, folder: Path) -> None:
    with CannotWrite.told(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
