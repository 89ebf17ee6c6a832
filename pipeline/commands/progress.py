"""The bar that a terminal shows while a fit goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.commands.screen import progress_screen


@contextmanager
def bar(title: str, quiet: bool) -> Iterator[Callable[[int, int, float], None]]:
    """Gives what a fit calls after every step: with (step, steps at most, residual in % IOD)."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[residual]}")]
    hidden = quiet or not progress_screen.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=progress_screen, transient=True, disable=hidden
    ) as progress:
        task = progress.add_task(title, total=None, residual="warm start")

        def show(step: int, steps: int, residual: float) -> None:
            progress.update(task, completed=step, total=steps, residual=f"{residual:.2f} % IOD")

        yield show
