"""From what a user names to a source to train on and another to validate on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.detect.training import rendered
from pipeline.detect.training.augmentation import AS_IT_IS
from pipeline.detect.training.data import Mixture, Renders, Source
from pipeline.detect.training.photographs import Photographs, read_folder
from pipeline.errors import ChainRigError

SYNTHETIC = "synthetic"
HELD_OUT = 0.1  # of photographs
HELD_OUT_PERSONS = 32
FIRST_HELD_OUT = 1_000_000  # number of the first synthetic person who is never trained on


def prepare(
    data: Sequence[str],
    folder: Path,
    persons: int,
    seed: int,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> tuple[Source, Source]:
    """Sources to train on and to validate on.

    Validation is on photographs as they are if there are any, and on synthetic persons otherwise.

    Args:
        data: folders of labelled photographs, and the word "synthetic".
        folder: where synthetic pictures are kept; those that are there are not rendered again.
        persons: synthetic ones to train on, eight pictures each.
        progress: told how many persons are rendered, and how many there will be.

    Raises:
        ChainRigError: no data, or some that cannot be read.
    """
    sources: list[Source] = []
    exams: list[Source] = []
    folders = [Path(name) for name in data if name != SYNTHETIC]
    if folders:
        faces = Photographs.of(face for each in folders for face in read_folder(each))
        order = np.random.default_rng(seed).permutation(len(faces))
        kept = max(1, round(HELD_OUT * len(faces)))
        if len(faces) < 2:
            raise ChainRigError("One labelled photo cannot be trained on and validated on: label more.")
        sources.append(faces.picked(order[kept:].tolist(), faces.how))
        exams.append(faces.picked(order[:kept].tolist(), AS_IT_IS))
    if SYNTHETIC in data:
        extra = 0 if folders else HELD_OUT_PERSONS
        numbers = [*range(persons), *range(FIRST_HELD_OUT, FIRST_HELD_OUT + extra)]
        for done, _ in enumerate(rendered.render_groups(folder, seed, numbers, workers), start=1):
            progress(done, len(numbers))
        sources.append(Renders(folder, seed, 0, persons))
        if extra:
            exams.append(Renders(folder, seed, FIRST_HELD_OUT, extra))
    if not sources:
        raise ChainRigError(
            f"There is nothing to train on: name a folder of labelled photos, or '{SYNTHETIC}'."
        )
    return (sources[0] if len(sources) == 1 else Mixture(sources, [1.0] * len(sources))), exams[0]
