"""`chainrig batch --sequence`: ordered frames or a video → one motion."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.batch import EVERY, TOLD, say, shown
from pipeline.commands.screen import progress_screen

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipeline.config import Config
    from pipeline.sequence.frames import Footage
    from pipeline.sequence.motion import Motion
    from pipeline.sequence.performer import Performer
    from pipeline.sequence.run import Step, Take

PHASES = {
    "person": "Finding the person's head",
    "track": "Fitting frames",
    "polish": "Tying frames together",
    "bridge": "Bridging frames",
}


def fit_sequence(
    footage: Footage,
    folder: Path,
    settings: Config,
    steady: float,
    workers: int | None,
    seconds: float | None,
    parquet: bool,
    quiet: bool,
    dry_run: bool = False,
) -> None:
    """Fits it, shows how far it is, and says what came out.

    Raises:
        ChainRigError: nothing could be fitted, or the run had to stop; what is done is kept.
        KeyboardInterrupt: the user stopped it; what is done is kept.
    """
    from pipeline.batch.recipe import recipe_of
    from pipeline.sequence.motion import Motion
    from pipeline.sequence.person import person_of
    from pipeline.sequence.run import SUBJECT, Take

    motion = Motion(steadiness=steady)
    take = Take(footage, folder, recipe_of(settings, "sequence"), repr(motion), workers, seconds)
    if dry_run:
        announce(take)
        return
    make_person = None
    person = settings
    if settings.fit.subject is None:
        make_person = partial(person_of, footage, settings)
        subject = settings.fit.model_copy(update={"subject": str((folder / SUBJECT).absolute())})
        person = settings.model_copy(update={"fit": subject})
    load = partial(load_performer, person, motion, footage)
    if not quiet:
        announce(take)
    run_sequence(take, take.work(load, make_person), parquet, quiet)


def load_performer(settings: Config, motion: Motion, footage: Footage) -> Performer:
    """In each process."""
    from pipeline.sequence.face import FacePerformer
    from pipeline.sequence.video import VideoReader

    video = VideoReader(footage.video) if footage.video else None
    return FacePerformer(settings, motion, footage.fps, video)


def announce(take: Take) -> None:
    frames = take.footage.frames
    missing = sum(frame.missing for frame in frames)
    left = len(take.left())
    told = f"{len(frames)} frame{'s' * (len(frames) != 1)} at {take.footage.fps:g} a second"
    told += f", {missing} of them missing" if missing else ""
    say(f"{told}: {f'{left} to do' if left else 'nothing to do'}.")


def run_sequence(take: Take, steps: Generator[Step, None, None], parquet: bool, quiet: bool) -> None:
    """See `fit_sequence`."""
    from pipeline.sequence.files import write_sequence_files

    try:
        bridged = _follow(steps, quiet)
    except KeyboardInterrupt:
        print("chainrig: stopped; the same command goes on from there.", file=sys.stderr)
        raise
    finally:
        steps.close()
    paths = write_sequence_files(take.folder, take.footage, parquet)
    if quiet:
        return
    for name, why in bridged[:TOLD]:
        say(f"{name} is bridged: {why}")
    if len(bridged) > TOLD:
        say(f"… and {len(bridged) - TOLD} more: summary.csv has the reasons.")
    for path in paths:
        print(shown(str(path)))


def _follow(steps: Generator[Step, None, None], quiet: bool) -> list[tuple[str, str]]:
    """Names and reasons of frames that were bridged."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn()]
    hidden = quiet or not progress_screen.is_terminal
    bridged, pace = [], None
    with Progress(*columns, console=progress_screen, transient=True, disable=hidden) as progress:
        tasks = {}
        for step in steps:
            if step.phase not in tasks:
                tasks[step.phase] = progress.add_task(PHASES[step.phase], total=step.all)
                pace = Pace(step.done)
                if hidden and not quiet:
                    print(f"{PHASES[step.phase]} …", file=sys.stderr, flush=True)
            progress.update(tasks[step.phase], completed=step.done)
            if hidden and not quiet and pace is not None and pace.is_time():
                told = f"{PHASES[step.phase]}: {pace.sentence(step.done, step.all)}"
                print(told, file=sys.stderr, flush=True)
            if step.entry is not None and step.entry.error is not None:
                bridged.append((shown(step.entry.input), shown(step.entry.error)))
    return bridged


@dataclass
class Pace:
    """How fast a phase goes on, said every `EVERY` seconds.

    Attributes:
        before: frames that were done when it began to count.
    """

    before: int
    began: float = field(default_factory=lambda: time.monotonic())
    spoken: float = field(default_factory=lambda: time.monotonic())

    def is_time(self) -> bool:
        """Whether something is to be said now."""
        if time.monotonic() - self.spoken <= EVERY:
            return False
        self.spoken = time.monotonic()
        return True

    def sentence(self, done: int, all: int) -> str:
        rate = (done - self.before) / max(time.monotonic() - self.began, 1e-9) * 60
        told = f"{done} of {all} frames"
        return (
            f"{told}, {rate:.1f} a minute, {(all - done) / rate:.0f} min left"
            if rate and done < all
            else told
        )
