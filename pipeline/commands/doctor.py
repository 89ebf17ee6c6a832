"""`chainrig doctor`: what works here."""

from pipeline.commands.screen import screen
from pipeline.errors import ChainRigError


def doctor() -> None:
    """Tell what works on this machine, and why the rest does not."""
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
