"""Where samples come from, and how they become batches.

A source gives any sample at any time from its index and a random generator. A batch is a function of the
seed and the step alone: a run that was killed goes on with the pictures that it would have seen.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline.detect.training import rendered, workers
from pipeline.detect.training.augmentation import USUAL, Augmentation, Sample, of_render
from pipeline.detect.training.synthesis import AROUND, SIZE
from pipeline.environment import use_machine

Numbers = tuple[np.ndarray, ...]  # of a batch: cheaper between processes than tensors
PER_GROUP = 8  # pictures of one synthetic person


class Source(Protocol):
    """Labelled pictures."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample: ...


@dataclass(frozen=True)
class Renders:
    """`count` synthetic persons of a seed from number `first` on, rendered by `rendered.render_groups`."""

    folder: Path
    seed: int
    first: int
    count: int
    how: Augmentation = USUAL

    def __len__(self) -> int:
        return self.count * PER_GROUP

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        number, shot = divmod(index, PER_GROUP)
        picture, points = rendered.read_shot(self.folder, self.seed, self.first + number, shot)
        return of_render(rng, picture.numpy(), points.numpy(), SIZE / AROUND, self.how)


class Mixture:
    """Several sources; each is drawn from as often as its share says, whatever its size."""

    def __init__(self, sources: Sequence[Source], shares: Sequence[float]) -> None:
        self.sources, self.shares = sources, np.asarray(shares) / np.sum(shares)

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        return source.sample(index % len(source), rng)


class Batch(NamedTuple):
    """N samples: `(N, 3, 128, 128)` uint8, `(N, 68, 2)` float32 pixels, `(N, 68)` float32."""

    pictures: Tensor
    points: Tensor
    weights: Tensor


def batch(source: Source, seed: int, step: int, size: int) -> Batch:
    """The batch of one step of a run."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, step))
    samples = [source.sample(int(index), rng) for index in rng.integers(len(source), size=size)]
    pictures, points, weights = (np.stack(arrays) for arrays in zip(*samples, strict=True))
    planes = torch.from_numpy(pictures).movedim(-1, 1).contiguous(memory_format=torch.channels_last)
    return Batch(planes, torch.from_numpy(points), torch.from_numpy(weights))


def batches(source: Source, seed: int, steps: Iterable[int], size: int, count: int = 0) -> Iterator[Batch]:
    """The batches of some steps, in order, made ahead by `count` processes if there are any."""
    if count == 0:
        yield from (batch(source, seed, step, size) for step in steps)
        return
    waiting: deque[Future[Numbers]] = deque()
    with workers.pool(count) as pool:
        try:
            for step in steps:
                waiting.append(pool.submit(_numbers, source, seed, step, size))
                if len(waiting) > 3 * count:
                    yield _tensors(waiting.popleft())
            while waiting:
                yield _tensors(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def _numbers(source: Source, seed: int, step: int, size: int) -> Numbers:
    use_machine(1)
    return tuple(tensor.numpy() for tensor in batch(source, seed, step, size))


def _tensors(future: Future[Numbers]) -> Batch:
    return Batch(*(torch.from_numpy(array) for array in future.result()))
