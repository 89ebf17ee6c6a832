"""`chainrig doctor`: what works here."""

from typing import Annotated

import typer

from pipeline.commands.screen import screen
from pipeline.errors import ChainRigError


def doctor(
    detector: Annotated[
        str | None,
        typer.Option(
            help="Try a detector on the example photo: facemesh, fan, fan-3d, or a file.", show_default=False
        ),
    ] = None,
) -> None:
    """Tell what works on this machine, and why the rest does not."""
    if detector is not None:
        from pipeline.detector_check import check_detector

        usable, note = check_detector(detector)
        if not usable:
            raise ChainRigError(f"The detector {detector} does not work here: {note.rstrip('.')}.")
        screen.print(f"{detector}: {note}.", highlight=False)
        return

    from rich.markup import escape
    from rich.table import Table

    from pipeline.doctor import examine

    healthy = True
    for title, checks in examine().items():
        table = Table(title=title, title_justify="left", show_header=False)
        for check in checks:
            mark = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[check.usable]
            table.add_row(check.name, mark, escape(check.note))
            healthy &= check.usable is not False or not check.essential
        screen.print(table)
    if not healthy:
        raise ChainRigError("Something that every fit needs does not work here: see the lines marked 'no'.")
