"""The frames of a sequence, in order: those of a folder, of a list, or of a video."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path

from pipeline.batch.discovery import IMAGES, Image, find_images
from pipeline.batch.plan import outputs_of
from pipeline.errors import ChainRigError
from pipeline.sequence.video import VIDEOS, count_frames

FPS = 30.0  # of pictures, whose files do not say


@dataclass(frozen=True)
class Frame:
    """One picture of a sequence, or the place of one that is missing.

    Attributes:
        place: in the sequence, from 0; missing frames count.
        name: what the manifest calls it.
        path: the image, or the video.
        output: its folder, from the run's folder on.
        missing: whether a number is left out here.
    """

    place: int
    name: str
    path: Path
    output: str
    missing: bool = False


@dataclass(frozen=True)
class Footage:
    """A sequence.

    Attributes:
        frames: one a place.
        fps: frames a second.
        video: the file, where the frames are a video's.
    """

    frames: tuple[Frame, ...]
    fps: float
    video: Path | None = None


def find_footage(
    source: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    besides: Path | None = None,
    limit: int | None = None,
    fps: float | None = None,
) -> Footage:
    """The frames that a source names.

    Args:
        source: a video, or what `find_images` takes. Images of a folder are in the order of their names, with
            numbers in them taken as numbers; those of a list, in the list's.
        limit: the first frames only.
        fps: frames a second, where the source does not say, or says wrong.

    Raises:
        ChainRigError: there is no such source, a video cannot be read, or more numbers are missing than there
            are frames.
    """
    video = Path(source)
    if video.suffix.lower() in VIDEOS and video.is_file():
        count, told = count_frames(video)
        images = [Image(f"{video.name}/{k:06d}", video.absolute()) for k in range(count)]
        return Footage(_framed(images[:limit], set()), fps or told or FPS, video.absolute())
    images = find_images(source, include, exclude, besides, as_listed=True)
    missing: set[str] = set()
    if not _is_list(source):
        images, missing = _with_gaps(sorted(images, key=lambda image: natural(image.name)))
    return Footage(_framed(images[:limit], missing), fps or FPS)


def natural(name: str) -> list[tuple[int, str]]:
    """A key that puts `frame 9` before `frame 10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def _framed(images: Sequence[Image], missing: set[str]) -> tuple[Frame, ...]:
    outputs = outputs_of(images, {})
    return tuple(
        Frame(place, image.name, image.path, outputs[image.name], image.name in missing)
        for place, image in enumerate(images)
    )


def _is_list(source: str) -> bool:
    path = Path(source)
    return path.is_file() and path.suffix.lower() not in IMAGES


def _with_gaps(images: list[Image]) -> tuple[list[Image], set[str]]:
    """With the images whose numbers are left out, and their names.

    Only where names differ in their last number alone. Numbers that all rise by 2 or 10 lack none.
    """
    split = [re.fullmatch(r"(.*?)(\d+)(\D*)", image.name) for image in images]
    if len(images) < 2 or not all(split) or len({(m[1], m[3]) for m in split if m}) > 1:
        return images, set()
    numbers = [int(m[2]) for m in split if m]
    jumps = [after - before for before, after in pairwise(numbers)]
    step = reduce(math.gcd, jumps)
    if step == 0:  # 1.png and 01.png
        return images, set()
    lacking = sum(jump // step - 1 for jump in jumps)
    if lacking > len(images):
        name = images[jumps.index(max(jumps))].name
        raise ChainRigError(
            f"After {name}, {max(jumps) // step - 1} numbers are missing, more than any bridge can span: "
            "give one sequence at a time, or a list of its frames."
        )
    found, missing = [images[0]], set()
    for before, image, jump in zip(numbers, images[1:], jumps, strict=False):
        for number in range(before + step, before + jump, step):
            name = _numbered(found[-1].name, number)
            missing.add(name)
            found.append(Image(name, images[0].path.with_name(Path(name).name)))
        found.append(image)
    return found, missing


def _numbered(name: str, number: int) -> str:
    """A name with another number in place of its last one, as wide."""
    return re.sub(r"\d+(?=\D*$)", lambda old: f"{number:0{len(old[0])}d}", name)
