"""Processes that work side by side; one that dies or hangs costs what it had in hand, and nothing else.

`concurrent.futures` gives up the whole pool when a process is killed, and cannot end a task that hangs.
"""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.environment import lacking
from pipeline.errors import ChainRigError

Task = TypeVar("Task")
Result = TypeVar("Result")
Prepare = Callable[[], Callable[[Task], Result]]

TRIES = 2  # a process that is killed, for want of memory, say, is not always its task's fault
SEE_ABOVE = "what they printed before that may say why."
_processes = get_context("spawn")  # started anew: a fork of a process with torch's threads may hang


class Signal(Enum):
    """What is heard of a worker, but for results: it has loaded what it needs; its time is over."""

    READY = "ready"
    OVERDUE = "overdue"


@dataclass(frozen=True)
class Lost:
    """What there is of a task without a result: the sentence that says why."""

    why: str


@dataclass(frozen=True)
class Died:
    """What is heard of a worker that has ended.

    Attributes:
        how: it did.
        starved: whether it may have been for want of memory.
    """

    how: str
    starved: bool = True


@dataclass(frozen=True)
class Job:
    """A task, and how many times it was given to a worker when this one is."""

    task: Any
    tries: int = 1


@dataclass(frozen=True)
class Pool(Generic[Task, Result]):
    """Worker processes on this machine.

    Attributes:
        prepare: called once in each process; gives the function that does a task. Picklable, like tasks and
            results. A ChainRigError of either stops everything, and so does any exception of `prepare`;
            another exception of a task is its own.
        workers: how many processes.
        seconds: the longest that one task may take; None: as long as it likes.
    """

    prepare: Prepare[Task, Result]
    workers: int
    seconds: float | None = None

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result | Lost], None, None]:
        """Tasks with their results, as they are done. Closing the iterator ends the processes.

        Raises:
            ChainRigError: the work cannot be done at all, as `prepare` or a task says.
        """
        waiting = deque(Job(task) for task in tasks)
        team: list[Any] = []
        stillborn = 0  # workers that ended before they were ready, one after another
        try:
            while waiting or team:
                while len(team) < self.workers and sum(one.job is None for one in team) < len(waiting):
                    team.append(self.started())
                for worker in self.heard(team):
                    job, answer = worker.job, worker.answer()
                    if isinstance(answer, ChainRigError):
                        raise answer
                    stillborn = 0 if job is not None or answer is Signal.READY else stillborn + 1
                    if isinstance(answer, Died) and stillborn >= TRIES:
                        raise ChainRigError(
                            f"{TRIES} workers ended while they were starting ({answer.how}): "
                            + (
                                "if memory is short, give fewer with --workers."
                                if answer.starved
                                else SEE_ABOVE
                            )
                        )
                    if waiting and not isinstance(answer, Died) and answer is not Signal.OVERDUE:
                        worker.give(waiting.popleft(), self.seconds)
                    else:
                        team.remove(worker)
                        worker.end()
                    if isinstance(answer, Died) and job is not None and job.tries < TRIES:
                        waiting.appendleft(Job(job.task, job.tries + 1))
                    elif job is not None:
                        yield job.task, self._result(answer)
        finally:
            for worker in team:
                worker.end()

    def started(self) -> Any:
        """A new worker."""
        return _Worker(self.prepare)

    def heard(self, team: list[Any]) -> list[Any]:
        """Waits for workers that have something to say, or whose time is over."""
        speaking = set(connection.wait([worker.pipe for worker in team], patience(team)))
        now = time.monotonic()
        return [worker for worker in team if worker.pipe in speaking or worker.deadline <= now]

    def _result(self, answer: Any) -> Any:
        if isinstance(answer, Died):
            perhaps = ": memory may be short." if answer.starved else "."
            return Lost(f"Its worker ended {TRIES} times ({answer.how}){perhaps}")
        if answer is Signal.OVERDUE:
            return Lost(f"It took longer than the {self.seconds:g} s that it may take (--time-limit).")
        return answer


def deadline(seconds: float | None) -> float:
    """When a task that is given now has to be done; infinite for None."""
    return float("inf") if seconds is None else time.monotonic() + seconds


def patience(team: list[Any]) -> float | None:
    """Seconds until the first deadline of a team; None: there is none."""
    soonest = min(worker.deadline for worker in team)
    return None if soonest == float("inf") else max(0.0, soonest - time.monotonic())


def crash(error: Exception) -> str:
    """A mistake of ours, or of the machine's, in one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return lacking(error) or f"{type(error).__name__}: {' '.join(str(error).split())} ({where})"


def started_with(prepare: Prepare[Task, Result]) -> Callable[[Task], Result]:
    """What does tasks, from now on.

    Raises:
        ChainRigError: it cannot be prepared; for an exception that nobody foresaw, too.
    """
    try:
        return prepare()
    except ChainRigError:
        raise
    except Exception as mistake:
        raise ChainRigError(f"The workers cannot start: {crash(mistake)}") from None


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """From now on, this process ends when its parent does: a killed one cannot tell its workers."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Worker:
    """A process, from this side of the pipe; `job` is what it has in hand, None while it is starting."""

    def __init__(self, prepare: Prepare[Any, Any]) -> None:
        self.pipe, theirs = _processes.Pipe()
        self.process = _processes.Process(target=_serve, args=(prepare, theirs), daemon=True)
        self.job: Job | None = None
        self.deadline = float("inf")
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()

    def give(self, job: Job, seconds: float | None) -> None:
        self.job = job
        self.deadline = deadline(seconds)
        with contextlib.suppress(BrokenPipeError):  # it has died: that is heard next
            self.pipe.send(job.task)

    def answer(self) -> Any:
        if not self.pipe.poll():
            return Signal.OVERDUE
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return Died(how, starved=-code == signal.SIGKILL)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


def _serve(prepare: Prepare[Any, Any], pipe: "connection.Connection[Any, Any]") -> None:
    """What a worker does all its life."""
    end_with_parent()
    try:
        do = started_with(prepare)
        pipe.send(Signal.READY)
        while True:
            task = pipe.recv()
            try:
                answer = do(task)
            except ChainRigError:
                raise
            except Exception as error:
                answer = Lost(crash(error))
            pipe.send(answer)
    except ChainRigError as refused:
        pipe.send(refused)
    except (EOFError, BrokenPipeError):  # nobody asks any more
        return


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A child that is started inside hears no Ctrl-C: its parent does, and ends it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
