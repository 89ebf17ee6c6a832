"""The work of the processes of a sequence: a frame by itself, all together, and a frame once more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.batch.disk import CannotWrite
from pipeline.batch.manifest import Entry
from pipeline.batch.plan import Task
from pipeline.batch.pool import crash
from pipeline.batch.work import FaceFiles, Run, fit_one
from pipeline.errors import ChainRigError
from pipeline.sequence.frames import Frame
from pipeline.sequence.joint import smooth
from pipeline.sequence.performer import Performer, Tracked
from pipeline.sequence.state import State

Load = Callable[[], Performer]
LOST = 30  # frames after which a face is looked for anew, not where it was


@dataclass
class Tracker:
    """One frame after another, each beginning from the one before."""

    state: State
    performer: Performer
    last: Tracked | None = field(default=None)

    @classmethod
    def ready(cls, state: State, load: Load) -> "Tracker":
        return cls(state, load())

    def __call__(self, frame: Frame | None) -> int:
        """The place of a frame that is now in the state; −1 after the step of all together, for None.

        Raises:
            CannotWrite: the run's folder takes nothing.
        """
        if frame is None:
            join(self.state, self.performer)
            return -1
        try:
            self.last = self.performer.track(frame, self.before(frame.place))
            self.state.put(self.last)
        except CannotWrite:
            raise
        except ChainRigError as refused:
            self.state.drop(frame.place, str(refused).replace(str(frame.path), frame.name))
        except Exception as mistake:  # a long run goes on; the manifest tells
            self.state.drop(frame.place, crash(mistake))
        return frame.place

    def before(self, place: int) -> Tracked | None:
        """The last frame that was found, unless it is long ago: this process's, or one's before a restart."""
        if self.last is None:
            earlier = range(place - 1, max(-1, place - LOST - 1), -1)
            self.last = next((found for k in earlier if (found := self.state.get(k)) is not None), None)
        last = self.last
        return last if last is not None and place - last.found.place <= LOST else None


def join(state: State, performer: Performer) -> None:
    """All frames together; they are then in the state.

    Raises:
        ChainRigError: no frame shows a face.
        CannotWrite: the run's folder takes nothing.
    """
    tracked = list(state.frames())
    if not tracked:
        dropped = state.places()[1]
        raise ChainRigError(f"No frame shows a face that can be fitted; the first: {state.why(dropped[0])}")
    x = smooth([one.found for one in tracked], performer.prior, performer.stiffness)
    state.put_path([one.found.place for one in tracked], x, [one.index for one in tracked])


def polisher(run: Run, state: State, load: Load) -> Callable[[Frame], Entry]:
    """What a process does with each frame, once all are found together."""
    path, performer = state.path(), load()
    assert path is not None

    def polish(frame: Frame) -> Entry:
        index, x, neighbours = path.around(frame.place)

        def fit(_: Path) -> Sequence[FaceFiles]:
            return [performer.polish(frame, index, x, neighbours)]

        return fit_one(run, fit, Task(frame.name, frame.path, frame.output))

    return polish


def find_person(state: State, make: Callable[[], str], _: None) -> bool:
    """Writes the person's file."""
    state.write("subject.json", make().encode())
    return True


def person_finder(state: State, make: Callable[[], str]) -> Callable[[None], bool]:
    return partial(find_person, state, make)
