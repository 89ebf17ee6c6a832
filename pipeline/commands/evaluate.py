"""`chainrig evaluate`: a folder of images → how well fits do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.arguments import ConfigFile, Quiet, Settings, Workers
from pipeline.commands.screen import progress_screen, screen
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.evaluation.folder import Item
    from pipeline.evaluation.row import Row

WIDE = 200  # characters of a line in a file or a pipe


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Images, perhaps with labels and true controls beside them.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/evaluation"),
    fit_to_labels: Annotated[
        bool,
        typer.Option(
            "--fit-to-labels", help="Fit labels where there are any, instead of judging by them only."
        ),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The first images only.", show_default="all")
    ] = None,
    workers: Workers = None,
    config: ConfigFile = None,
    set_: Settings = None,
    json_: Annotated[bool, typer.Option("--json", help="Print evaluation.json.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fit every image in DIR: writes evaluation.csv, evaluation.json and histogram.png."""
    from pipeline.config import load_config
    from pipeline.outputs.folder import require_writable, write_files

    settings = load_config(config, list(set_ or []))
    require_writable(out)

    from rich.console import Console

    from pipeline.evaluation.files import Evaluation, document, files
    from pipeline.evaluation.folder import find_items
    from pipeline.evaluation.run import cores
    from pipeline.evaluation.sentences import sentences
    from pipeline.evaluation.statistics import summary
    from pipeline.evaluation.table import MOST, table, unfitted
    from pipeline.rigs.fittable import fittable_rig

    items = find_items(folder, fittable_rig(settings.fit.rig).controls, besides=out)[:limit]
    processes = min(workers or cores(), len(items))
    rows, interruption = _rows(items, settings, processes, fit_to_labels, quiet)
    if not any(row.found for row in rows):
        if interruption is not None:
            raise interruption
        raise ChainRigError(
            f"None of the {len(rows)} images in {folder} could be evaluated; {rows[0].path}: {rows[0].reason}"
        )
    found = Evaluation(str(folder), tuple(rows), len(items), settings, fit_to_labels, processes)
    paths = write_files(out, files(found))
    if json_:
        print(json.dumps(document(found), indent=1))
    elif not quiet:
        lost = unfitted(rows)
        for line in lost:
            screen.print(line, highlight=False, markup=False)
        page = screen if screen.is_terminal else Console(width=WIDE)
        page.print(table(rows, MOST - len(lost)))
        for sentence in sentences(summary(rows)):
            screen.print(sentence, highlight=False, markup=False)
        for path in paths:
            print(path)
    if interruption is not None:
        print(
            f"chainrig: stopped after {len(rows)} of {len(items)} images: {out} has those.", file=sys.stderr
        )
        raise interruption


def _rows(
    items: list[Item], settings: Config, workers: int, fit_to_labels: bool, quiet: bool
) -> tuple[list[Row], BaseException | None]:
    """The rows by name, and what stopped the run before its end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pipeline.evaluation.run import evaluate as evaluated

    rows: list[Row] = []
    interruption: BaseException | None = None
    bars = [TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn()]
    hidden = quiet or not progress_screen.is_terminal
    with Progress(*bars, console=progress_screen, transient=True, disable=hidden) as progress:
        task = progress.add_task("Fitting images", total=len(items))
        try:
            for row in evaluated(items, settings, workers, fit_to_labels):
                rows.append(row)
                progress.update(task, advance=1)
        except (KeyboardInterrupt, ChainRigError) as stopped:
            interruption = stopped
    return sorted(rows, key=lambda row: row.path), interruption
