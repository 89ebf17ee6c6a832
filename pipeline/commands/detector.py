"""`chainrig detector`: what a landmark detector is worth on renders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.commands.screen import progress_screen, screen

detector_app = typer.Typer(no_args_is_help=True, help="Look at the landmark detectors themselves.")


@detector_app.callback()
def detector() -> None:
    """Look at the landmark detectors themselves."""


@detector_app.command()
def bias(
    detector: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="facemesh, fan, fan-3d, or a file that train-detector wrote."),
    ] = "facemesh",
    rig: Annotated[str, typer.Option(metavar="NAME|FILE", help="head_rig, or a rig file.")] = "head_rig",
    renders: Annotated[
        int, typer.Option(help="How many, from 25 to 2209; the nearest square of a prime is taken.")
    ] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="out/bias-<detector>")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Render the rig over poses, lights, expressions and identities: where does the detector err?"""
    from pipeline.detector_bias.scenes import require_count
    from pipeline.outputs.folder import require_writable, write_files

    require_count(renders)
    folder = out or Path("out") / f"bias-{Path(detector).stem}"
    require_writable(folder)

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from pipeline.deform.rig import Rig
    from pipeline.detect.detectors import load_detector
    from pipeline.detector_bias.files import files
    from pipeline.detector_bias.looking import Observer
    from pipeline.detector_bias.measure import measure
    from pipeline.detector_bias.origin import independence
    from pipeline.detector_bias.report import Report
    from pipeline.detector_bias.scenes import draw_plan
    from pipeline.detector_bias.summary import document, printed, sentences
    from pipeline.environment import use_machine
    from pipeline.rigs.texture import texture_of

    use_machine(1)
    head = Rig.load(None if rig == "head_rig" else rig)
    network = load_detector(detector)
    observer = Observer(head, network, texture_of(head))
    independent, why = independence(network, head, detector)
    shown = progress_screen.is_terminal and not quiet
    bars = [TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn()]
    with Progress(*bars, console=progress_screen, transient=True, disable=not shown) as progress:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=of)

        measured = measure(observer, draw_plan(head, renders, seed), tell)
        report = Report(observer, measured, Path(rig).stem, independent, why, seed)
        made = files(report)
    paths = write_files(folder, made)
    if json_:
        print(json.dumps(document(report), indent=2))
    elif not quiet:
        for sentence in sentences(report):
            screen.print(sentence, highlight=False)
        screen.print(printed(report))
        for path in paths:
            print(path)
