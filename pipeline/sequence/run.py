"""A sequence: the person, every frame by itself, all together, every frame once more, and bridges."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.batch.disk import PRIVATE, CannotWrite
from pipeline.batch.lock import WHOLE, only_run
from pipeline.batch.manifest import NAME, Entry, Manifest, read_manifests
from pipeline.batch.plan import Task, sha256_of
from pipeline.batch.pool import Lost, Pool, cores
from pipeline.batch.recipe import Recipe
from pipeline.batch.work import Run, failed, fit_one
from pipeline.errors import ChainRigError
from pipeline.sequence.bridge import Bridge, Known
from pipeline.sequence.frames import Footage, Frame
from pipeline.sequence.state import PERSON, State
from pipeline.sequence.work import Load, Tracker, person_finder, polisher

SUBJECT = "subject.json"
Phase = Literal["person", "track", "polish", "bridge"]


class Step(NamedTuple):
    """How far a run is.

    Attributes:
        done, all: frames of the phase.
        entry: of a frame whose results are now on disk; None of work on the way.
    """

    phase: Phase
    done: int
    all: int
    entry: Entry | None = None


@dataclass(frozen=True)
class Take:
    """What a user asks for: one recording, one person.

    Attributes:
        folder: for the results.
        recipe: of settings and weights; what else results depend on is `options`.
        options: how the motion is smoothed, in words.
        workers: processes; None: one a core. Only the last sweep uses more than one.
        seconds: the longest that one frame may take, in each sweep.
    """

    footage: Footage
    folder: Path
    recipe: Recipe
    options: str = ""
    workers: int | None = None
    seconds: float | None = None
    hashes: dict[Path, str] = field(default_factory=dict, compare=False)

    def final_recipe(self) -> Recipe:
        """With a digest of all that results depend on, also of every frame's bytes."""
        told = [self.recipe.config_sha256, self.recipe.weights_sha256, self.options, self.footage.fps]
        frames = [(frame.name, frame.output, self._hash(frame.path)) for frame in self.footage.frames]
        digest = hashlib.sha256(json.dumps([*told, frames]).encode()).hexdigest()
        return replace(self.recipe, config_sha256=digest)

    def left(self) -> list[Frame]:
        """The frames without results."""
        known, recipe = read_manifests(self.folder), self.final_recipe()

        def is_done(frame: Frame) -> bool:
            entry = known.get(frame.name)
            if entry is None or entry.config_sha256 != recipe.config_sha256:
                return False
            return all(_whole(self.folder / frame.output / f"face-{face.index}") for face in entry.faces)

        return [frame for frame in self.footage.frames if not is_done(frame)]

    def work(self, load: Load, make_person: Callable[[], str] | None = None) -> Generator[Step, None, None]:
        """Does what is left; a step is given when it is on disk.

        Args:
            load: makes the performer, in each process, once the person is known. Picklable, like
                `make_person`.
            make_person: the document of the person; None: there is a file, or nothing to know.

        Raises:
            ChainRigError: another run has the folder, or the work cannot be done at all.
            CannotWrite: the folder takes no results, or takes no more.
        """
        with CannotWrite.told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with only_run(self.folder, WHOLE):
            left, recipe, folder = self.left(), self.final_recipe(), self.folder.absolute()
            if not left:
                return
            state, drafts = State(folder, recipe.config_sha256), folder / PRIVATE / "drafts" / WHOLE
            state.begin()
            with CannotWrite.told(self.folder):
                shutil.rmtree(drafts, ignore_errors=True)
                drafts.mkdir(parents=True)
            run = Run(folder, drafts, recipe)
            try:
                if make_person is not None:
                    yield from self._find_person(state, make_person)
                with contextlib.closing(self._phases(run, state, load, left)) as steps:
                    yield from steps
            finally:
                shutil.rmtree(drafts, ignore_errors=True)

    def _find_person(self, state: State, make: Callable[[], str]) -> Iterator[Step]:
        yield Step("person", 0, 1)
        if not (state.folder / PERSON).exists():
            for _, result in Pool(partial(person_finder, state, make), 1).run([None]):
                if isinstance(result, Lost):
                    raise ChainRigError(f"The person's head was not found: {result.why}")
        with CannotWrite.told(self.folder):
            shutil.copyfile(state.folder / PERSON, self.folder / SUBJECT)
        yield Step("person", 1, 1)

    def _phases(self, run: Run, state: State, load: Load, left: list[Frame]) -> Generator[Step, None, None]:
        yield from self._track(state, load)
        path = state.path()
        assert path is not None
        tracked = set(path.places)
        with contextlib.closing(Manifest(self.folder / NAME)) as manifest:
            again = [one for one in left if one.place in tracked and state.why(one.place) is None]
            team = Pool(partial(polisher, run, state, load), self.workers or cores(), self.seconds)
            with contextlib.closing(team.run(again)) as results:
                for done, (frame, result) in enumerate(results, 1):
                    if isinstance(result, Lost):
                        state.drop(frame.place, result.why)
                    elif result.status == "failed":
                        state.drop(frame.place, result.error or "")
                    else:
                        manifest.append(result)
                        yield Step("polish", done, len(again), result)
                        continue
                    yield Step("polish", done, len(again))
            yield from self._bridge(run, state, manifest, left)

    def _track(self, state: State, load: Load) -> Generator[Step, None, None]:
        """Every frame by itself, in order; then all together."""
        if state.path() is not None:
            return
        frames = self.footage.frames
        known = {place for places in state.places() for place in places}
        todo: list[Frame | None] = [frame for frame in frames if frame.place not in known]
        done = len(frames) - len(todo)
        one = Pool(partial(Tracker.ready, state, load), 1, self.seconds)
        with contextlib.closing(one.run([*todo, None])) as results:
            for frame, result in results:
                if isinstance(result, Lost):
                    if frame is None:
                        raise ChainRigError(f"The frames could not be joined: {result.why}")
                    state.drop(frame.place, result.why)
                done += frame is not None
                yield Step("track", done, len(frames))

    def _bridge(self, run: Run, state: State, manifest: Manifest, left: list[Frame]) -> Iterator[Step]:
        lacking = [frame for frame in left if state.why(frame.place) is not None]
        if not lacking:
            return
        known = self._known(state)
        for done, frame in enumerate(lacking, 1):
            before = next((one for one in reversed(known) if one.place < frame.place), None)
            after = next((one for one in known if one.place > frame.place), None)
            why = state.why(frame.place) or ""
            task = Task(frame.name, frame.path, frame.output)
            if before is None and after is None:
                entry = failed(task, run.recipe, why)
            else:
                bridge = Bridge(frame.place, frame.path, why, before, after)
                entry = fit_one(run, lambda _, bridge=bridge: [bridge], task)
                entry = replace(entry, status="done" if entry.faces else "failed")
            manifest.append(entry)
            yield Step("bridge", done, len(lacking), entry)

    def _known(self, state: State) -> list[Known]:
        """The frames with a fit of their own."""
        found = []
        for frame in self.footage.frames:
            tracked = state.get(frame.place)
            if tracked is not None and state.why(frame.place) is None:
                face = self.folder / frame.output / f"face-{tracked.index}"
                with contextlib.suppress(OSError, ValueError):
                    found.append(Known.read(frame.place, frame.name, face))
        return found

    def _hash(self, path: Path) -> str:
        if path not in self.hashes:
            self.hashes[path] = ""
            with contextlib.suppress(OSError):
                self.hashes[path] = sha256_of(path)
        return self.hashes[path]


def _whole(face: Path) -> bool:
    return (face / "fit.json").is_file() and (face / "controls.csv").is_file()
