"""A run: what is to do, who does it, and what is written of it."""

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pipeline.batch.discovery import Image, in_shard
from pipeline.batch.disk import PRIVATE, CannotWrite
from pipeline.batch.lock import WHOLE, only_run
from pipeline.batch.manifest import NAME, Entry, Manifest, read_manifests
from pipeline.batch.plan import FILES, Plan, Task, make_plan, outputs_of
from pipeline.batch.pool import Lost, Pool, Prepare, cores
from pipeline.batch.recipe import Recipe
from pipeline.batch.work import FitImage, Group, Run, failed, worker

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Batch:
    """What a user asks for.

    Attributes:
        images: all that the source names.
        folder: for the results.
        limit: the first images only, of the shard's.
        shard: (i, n): the i-th of n shares.
        retry_failed: try again what failed before.
        workers: processes; None: one a core, here or of the cluster.
        seconds: the longest that one image may take.
        together: images that a worker fits side by side, which pays on a GPU.
        engine: whose processes: this machine's or a Ray cluster's.
        files: that each fitted face is to have; where one is missing, the image is done again.
    """

    images: Sequence[Image]
    folder: Path
    recipe: Recipe
    limit: int | None = None
    shard: tuple[int, int] | None = None
    retry_failed: bool = False
    workers: int | None = None
    seconds: float | None = None
    together: int = 1
    engine: Engine = "local"
    files: tuple[str, ...] = FILES

    @property
    def share(self) -> str:
        return WHOLE if self.shard is None else f"{self.shard[0]}-of-{self.shard[1]}"

    def plan(self) -> Plan:
        """What there is to do now; writes nothing."""
        known = read_manifests(self.folder)
        outputs = outputs_of(self.images, known)
        shard = self.shard
        mine = [image for image in self.images if shard is None or in_shard(image.name, shard)]
        return make_plan(
            mine[: self.limit], outputs, known, self.recipe, self.folder, self.retry_failed, self.files
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs out of the folder. Raises as `begun` does."""
        with CannotWrite.told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with only_run(self.folder, self.share):
            yield

    @contextlib.contextmanager
    def begun(self, load: Callable[[], FitImage]) -> Iterator[tuple[Plan, Iterator[Entry]]]:
        """Holds the folder; gives the plan, and entries as they are done, each on disk when it is given.

        Args:
            load: makes, in each process, what fits an image file; picklable.

        Raises:
            ChainRigError: another run has the folder, or the work cannot be done at all.
            CannotWrite: the folder takes no results, or takes no more.
        """
        with self.held():
            drafts = self._empty_drafts()
            try:
                plan = self.plan()
                # Absolute, as another machine's worker starts elsewhere.
                run = Run(self.folder.absolute(), drafts.absolute(), self.recipe)
                prepare = partial(worker, run, load)
                with contextlib.closing(self._entries(plan, prepare)) as entries:
                    yield plan, entries
            finally:
                shutil.rmtree(drafts, ignore_errors=True)

    def _entries(self, plan: Plan, prepare: Prepare[Group, list[Entry]]) -> Generator[Entry, None, None]:
        if not plan.tasks:
            return
        name = NAME if self.shard is None else f"manifest-{self.share}.jsonl"
        groups = _cut(plan.tasks, self.together)
        with contextlib.closing(Manifest(self.folder / name)) as manifest:
            with contextlib.closing(self._fitted(prepare, groups, self.together)) as entries:
                for entry in entries:
                    manifest.append(entry)
                    yield entry

    def _fitted(
        self, prepare: Prepare[Group, list[Entry]], groups: list[Group], size: int
    ) -> Generator[Entry, None, None]:
        """Entries as they are done. A group that is lost is done again one by one: one image is to blame."""
        alone: list[Group] = []
        with contextlib.closing(self._team(prepare, size).run(groups)) as results:
            for group, result in results:
                if not isinstance(result, Lost):
                    yield from result
                elif size > 1:
                    alone += _cut(group, 1)
                else:
                    yield from (failed(task, self.recipe, result.why) for task in group)
        if alone:
            yield from self._fitted(prepare, alone, 1)

    def _team(self, prepare: Prepare[Group, list[Entry]], size: int) -> Pool[Group, list[Entry]]:
        seconds = None if self.seconds is None else self.seconds * size
        if self.engine == "ray":
            from pipeline.batch.ray_pool import RayPool, connect

            return RayPool(prepare, connect(self.workers), seconds)
        return Pool(prepare, self.workers or cores(), seconds)

    def _empty_drafts(self) -> Path:
        """Where files are until they are whole; a killed run's are removed."""
        drafts = self.folder / PRIVATE / "drafts" / self.share
        with CannotWrite.told(self.folder):
            if drafts.exists():
                shutil.rmtree(drafts)
            drafts.mkdir(parents=True)
        return drafts


def _cut(tasks: Sequence[Task], size: int) -> list[Group]:
    """In order, `size` a group; the last may be smaller."""
    return [tuple(tasks[first : first + size]) for first in range(0, len(tasks), size)]
