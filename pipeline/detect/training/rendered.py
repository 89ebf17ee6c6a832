"""A folder of synthetic pictures: rendered once, read many times."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.detect.training.synthesis import Studio
from pipeline.detect.training.workers import pool
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError

_studio: Studio | None = None  # of a worker


def render_groups(folder: Path, seed: int, numbers: Iterable[int], workers: int = 1) -> Iterable[int]:
    """Renders the persons that the folder lacks, one file each, and yields their numbers as they appear.

    A file has its name only when it is whole, so a killed run goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in numbers if not group_path(folder, seed, number).exists()]
    task = partial(_render, folder, seed)
    if workers == 1:
        yield from map(task, missing)
        return
    with pool(workers) as several:
        yield from several.map(task, missing)


def read_shot(folder: Path, seed: int, number: int, shot: int) -> tuple[Tensor, Tensor]:
    """One picture `(S, S, 4)` uint8 of a person, and its landmarks `(478, 2)`.

    Raises:
        ChainRigError: the file is missing or damaged.
    """
    path = group_path(folder, seed, number)
    try:
        with safe_open(path, "pt") as file:
            return tuple(file.get_slice(name)[shot] for name in ("pictures", "points"))  # type: ignore[return-value]
    except (OSError, SafetensorError) as error:
        raise ChainRigError(
            f"The pictures {path} cannot be read ({error}): delete the file and start again."
        ) from None


def group_path(folder: Path, seed: int, number: int) -> Path:
    return folder / f"{seed}-{number:06d}.safetensors"


def _render(folder: Path, seed: int, number: int) -> int:
    global _studio
    if _studio is None:
        use_machine(1)
        _studio = Studio.of()
    group = _studio.photograph(np.random.default_rng((seed, number)))
    path = group_path(folder, seed, number)
    draft = path.with_suffix(f".{os.getpid()}.part")
    draft.write_bytes(save(group._asdict()))
    os.replace(draft, path)
    return number
