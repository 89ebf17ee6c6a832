"""The pool of a Ray cluster: its workers do the same function as processes here do."""

import os
import time
from dataclasses import dataclass
from typing import Any

from pipeline.batch.pool import (
    Died,
    Job,
    Lost,
    Pool,
    Prepare,
    Result,
    Signal,
    Task,
    crash,
    deadline,
    patience,
    started_with,
)
from pipeline.errors import ChainRigError


@dataclass(frozen=True)
class RayPool(Pool[Task, Result]):
    """Ray actors, one CPU each, of the cluster at `$RAY_ADDRESS`, or of one that is started on this machine.

    What is lost with an actor or its machine is done again by another one, like what a local process takes
    with it (`Pool`). Images and results must have the same paths on all machines.
    """

    def started(self) -> Any:
        return _Worker(self.prepare)

    def heard(self, team: list[Any]) -> list[Any]:
        ray = require_ray()
        pending = [worker.pending for worker in team]
        ray.wait(pending, num_returns=1, timeout=patience(team))
        done = set(ray.wait(pending, num_returns=len(pending), timeout=0)[0])
        now = time.monotonic()
        return [worker for worker in team if worker.pending in done or worker.deadline <= now]


def require_ray() -> Any:
    """The package.

    Raises:
        ChainRigError: it is missing.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]  # of the extra `cluster`
    except ImportError:
        raise ChainRigError(
            "--engine ray needs another package: run pip install 'chainrig[cluster]'."
        ) from None
    return ray


def connect(workers: int | None) -> int:
    """Joins the cluster, or starts one here; gives the number of workers: as asked for, or all CPUs.

    Raises:
        ChainRigError: Ray is missing, or the cluster does not answer.
    """
    ray = require_ray()
    address = os.environ.get("RAY_ADDRESS")
    if not ray.is_initialized():
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                ray.init(address, **quiet)
            else:
                ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        except (ConnectionError, TimeoutError, RuntimeError) as refused:
            told = " ".join(str(refused).split())
            raise ChainRigError(
                f"The Ray cluster at {address or 'this machine'} does not answer ({told})."
            ) from None
    return workers or int(ray.cluster_resources().get("CPU", 1))


class _Actor:
    """The worker, on its machine."""

    def __init__(self, prepare: Prepare[Any, Any]) -> None:
        self.prepare = prepare

    def start(self) -> Any:
        try:
            self.do = started_with(self.prepare)
        except ChainRigError as refused:
            return refused
        return Signal.READY

    def work(self, task: Any) -> Any:
        try:
            return self.do(task)
        except ChainRigError as refused:
            return refused
        except Exception as error:
            return Lost(crash(error))


class _Worker:
    """An actor, seen from here; `job` is what it has in hand, None while it is starting."""

    def __init__(self, prepare: Prepare[Any, Any]) -> None:
        ray = require_ray()
        self.actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor).remote(prepare)
        self.pending = self.actor.start.remote()
        self.job: Job | None = None
        self.deadline = float("inf")

    def give(self, job: Job, seconds: float | None) -> None:
        self.job, self.deadline = job, deadline(seconds)
        self.pending = self.actor.work.remote(job.task)

    def answer(self) -> Any:
        ray = require_ray()
        try:
            return ray.get(self.pending, timeout=0)
        except ray.exceptions.GetTimeoutError:
            return Signal.OVERDUE
        except ray.exceptions.RayActorError:
            return Died("its process or its machine was lost")

    def end(self) -> None:
        require_ray().kill(self.actor)
