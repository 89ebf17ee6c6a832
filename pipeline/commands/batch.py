"""`chainrig batch`: folders of images → a folder of fits, safely."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.arguments import (
    ConfigFile,
    Quiet,
    Settings,
    SubjectFile,
    Workers,
    as_yaml,
    require_choice,
)
from pipeline.commands.screen import progress_screen, screen
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.batch.manifest import Entry
    from pipeline.batch.plan import Plan
    from pipeline.batch.run import Batch
    from pipeline.batch.work import FitImage

TOLD = 10  # failed images that are printed
EVERY = 60  # seconds between lines of progress where there is no terminal


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|GLOB|LIST|VIDEO",
            help="A folder of images, a pattern in quotes, a text file with a path a line; with --sequence, "
            "or a video.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/batch"),
    face: Annotated[str, typer.Option(help="Which faces of an image: largest or all.")] = "largest",
    include: Annotated[
        list[str] | None,
        typer.Option(
            help="Only images whose name matches, such as '*_neutral.*'; repeatable.", show_default=False
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No images whose name matches; repeatable.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The first images only.", show_default="all")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="The I-th of N shares: one for each machine.", show_default="all"),
    ] = None,
    workers: Workers = None,
    time_limit: Annotated[
        float, typer.Option(min=0, help="Seconds that one image may take; 0: as long as it likes.")
    ] = 600,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to do, and end.")] = False,
    together: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images that a worker fits side by side, which share each pass through the chain.",
            show_default="1; 16 with fit.device=cuda",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: the workers are a Ray cluster's.")] = "local",
    subject: SubjectFile = None,
    share_identity: Annotated[
        bool,
        typer.Option("--share-identity", help="Images of one person: one head for all, from six of them."),
    ] = False,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="Ordered frames, or a video, of one person: one smooth motion.")
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, help="With --sequence: frames a second.", show_default="the video's, or 30"),
    ] = None,
    steady: Annotated[
        float | None,
        typer.Option(min=0.001, help="With --sequence: more is smoother.", show_default="1"),
    ] = None,
    glb: Annotated[bool, typer.Option("--glb", help="Write face.glb, too: 1.4 MB and 0.4 s a face.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write summary.parquet, too.")] = False,
    config: ConfigFile = None,
    set_: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Fit every image of a folder: writes a folder for each, report.html, summary.csv, live_link.csv, contact
    sheets, and manifest.jsonl, the truth of the run.

    What is done stays done: start the same command again after any interruption, and it goes on.
    """
    from pipeline.config import load_config

    overrides = list(set_ or []) + ([f"fit.subject={as_yaml(subject)}"] if subject is not None else [])
    settings = load_config(config, overrides)
    require_choice("--face", face, "largest", "all")
    require_choice("--engine", engine, "local", "ray")
    if parquet:
        from pipeline.batch.summary import require_parquet

        require_parquet()
    if share_identity and (subject is not None or sequence):
        raise ChainRigError(
            "--share-identity takes no --subject, which tells the head, nor --sequence, which finds it."
        )
    if sequence:
        if face != "largest" or shard or retry_failed or glb or together or engine != "local":
            raise ChainRigError(
                "--sequence takes no --face, --shard, --retry-failed, --glb, --together or --engine: every "
                "frame needs the one before, a sequence is done as a whole, and sequence.glb has all of it."
            )
        from pipeline.commands.sequence import fit_sequence
        from pipeline.sequence.frames import find_footage

        footage = find_footage(source, include or (), exclude or (), out, limit, fps)
        smoothing = 1.0 if steady is None else steady
        fit_sequence(footage, out, settings, smoothing, workers, time_limit or None, parquet, quiet, dry_run)
        return
    if fps is not None or steady is not None:
        raise ChainRigError("--fps and --steady go with --sequence: give it, too, or leave them out.")

    from pipeline.batch.discovery import find_images
    from pipeline.batch.fitting import load
    from pipeline.batch.plan import FILES
    from pipeline.batch.recipe import recipe_of
    from pipeline.batch.run import Batch

    on_gpu = settings.fit.device == "cuda"
    size = together or (16 if on_gpu else 1)
    if size > 1 and (settings.fit.deformer == "quasistatic" or settings.render.renderer == "raytrace"):
        raise ChainRigError(
            "Flesh (fit.deformer=quasistatic) and ray tracing (render.renderer=raytrace) take one image at a "
            "time, on the CPU: give --together 1."
        )
    if engine == "ray":
        if on_gpu:
            raise ChainRigError("--engine ray takes CPUs: start a command with --shard for each GPU instead.")
        from pipeline.batch.ray_pool import require_ray

        require_ray()
    wanted = Batch(
        images=find_images(source, include or (), exclude or (), besides=out),
        folder=out,
        recipe=recipe_of(settings, face),
        limit=limit,
        shard=None if shard is None else _shard(shard),
        retry_failed=retry_failed,
        workers=workers or (1 if on_gpu else None),
        seconds=time_limit or None,
        together=size,
        engine="ray" if engine == "ray" else "local",
        files=(*FILES, "face.glb") if glb else FILES,
    )
    if share_identity:
        if len(wanted.images) < 2:
            raise ChainRigError(
                "--share-identity takes two images or more of one person: leave it out for one."
            )
        from pipeline.batch.person import SUBJECT, find_person, known_person

        person = out.absolute() / SUBJECT
        if not dry_run:
            find_person(wanted, settings, lambda: None if quiet else say("Finding the person's head."))
        if person.exists() and known_person(wanted) is not None:
            settings = load_config(config, [*overrides, f"fit.subject={as_yaml(person)}"])
            wanted = replace(wanted, recipe=recipe_of(settings, face))
    if dry_run:
        _announce(wanted.plan())
        return
    choice = "all" if face == "all" else "largest"
    run_batch(wanted, partial(load, settings, choice, glb), parquet, quiet)


def run_batch(wanted: Batch, load: Callable[[], FitImage], parquet: bool, quiet: bool) -> None:
    """Runs, shows how far it is, and says what came out.

    Raises:
        ChainRigError: nothing could be fitted, or the run had to stop; what is done is kept.
        KeyboardInterrupt: the user stopped it; what is done is kept and summed up.
    """
    from pipeline.batch.files import write_run_files

    with wanted.begun(load) as (plan, entries):
        if not quiet:
            _announce(plan)
        tally = Tally(len(plan.tasks))
        interruption = _follow(entries, tally, quiet)
        paths = [] if wanted.shard else write_run_files(wanted.folder, parquet)
    if not quiet:
        for name, why in tally.failures:
            say(f"{name} failed: {why}")
        if tally.failed > TOLD:
            say(f"… and {tally.failed - TOLD} more: summary.csv has the reasons.")
        for path in paths:
            print(shown(str(path)))
    if interruption is not None:
        done = tally.done + tally.failed
        told = f"stopped after {done} of {tally.tasks} images; the same command goes on from there."
        print(f"chainrig: {told}", file=sys.stderr)
        raise interruption
    if tally.failed and not tally.done and not plan.done:
        name, why = tally.failures[0]
        raise ChainRigError(f"None of {tally.failed} images could be fitted; {name}: {why}")


@dataclass
class Tally:
    """How far a run is.

    Attributes:
        tasks: images that there are to do.
        done, failed: of those, so far.
        failures: names and reasons of the first.
    """

    tasks: int
    done: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, entry: Entry) -> None:
        if entry.status == "done":
            self.done += 1
            return
        self.failed += 1
        if len(self.failures) < TOLD:
            self.failures.append((shown(entry.input), shown(entry.error or "")))

    def rate(self) -> float:
        """Images a minute, since the beginning."""
        return (self.done + self.failed) / max(time.monotonic() - self.began, 1e-9) * 60

    def sentence(self) -> str:
        text = f"{self.done + self.failed} of {self.tasks} images, {self.failed} of them failed"
        left = self.tasks - self.done - self.failed
        rate = self.rate()
        return f"{text}, {rate:.1f} a minute, {left / rate:.0f} min left" if rate and left else text


def shown(text: str) -> str:
    """A file's name may hold what no screen can show."""
    return text.encode("utf-8", "replace").decode()


def say(sentence: str) -> None:
    """On one line: it is there to be searched and copied."""
    screen.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ChainRigError(f"--shard takes I/N with I from 1 to N, such as 2/8, not '{text}'.")
    return int(number), int(count)


def _announce(plan: Plan) -> None:
    from pipeline.batch.plan import WORDS

    parts = [f"{len(plan.tasks)} to do" if plan.tasks else "nothing to do"]
    if plan.tasks and set(plan.why) != {"new"}:
        parts[0] += f" ({', '.join(f'{count} {WORDS[why]}' for why, count in plan.why.items())})"
    if plan.done:
        parts.append(f"{plan.done} done before")
    if plan.failed:
        parts.append(f"{plan.failed} failed before (--retry-failed tries again)")
    total = len(plan.tasks) + plan.done + plan.failed
    say(f"{total} image{'s' * (total != 1)}: {', '.join(parts)}.")
    for versions, count in plan.versions.items():
        say(f"{count} of the results that stay were made with {versions}.")


def _follow(entries: Iterator[Entry], tally: Tally, quiet: bool) -> KeyboardInterrupt | None:
    """Counts entries as they come, on the screen; gives the interruption, if the user stops the run."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn()]
    columns += [TextColumn("{task.fields[rate]:.1f}/min"), TimeRemainingColumn()]
    columns += [TextColumn("{task.fields[failed]} failed")]
    on_screen = progress_screen.is_terminal
    spoken = time.monotonic()
    with Progress(
        *columns,
        console=progress_screen,
        transient=True,
        disable=quiet or not on_screen,
        speed_estimate_period=600,
    ) as progress:
        task = progress.add_task("Fitting images", total=tally.tasks, rate=0.0, failed=0)
        try:
            for entry in entries:
                tally.add(entry)
                progress.update(task, advance=1, rate=tally.rate(), failed=tally.failed)
                if not quiet and not on_screen and time.monotonic() - spoken > EVERY:
                    spoken = time.monotonic()
                    print(tally.sentence(), file=sys.stderr, flush=True)
        except KeyboardInterrupt as interruption:
            return interruption
    return None
