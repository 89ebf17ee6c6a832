"""`chainrig check-gradients`: can the derivatives of the layers be trusted, the user's own among them?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.arguments import require_choice
from pipeline.commands.screen import progress_screen, screen
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from pipeline.checks.badge import Badge
    from pipeline.checks.scene import Scene
    from pipeline.checks.subject import Subject

WIDE = 120  # columns of a terminal in which notes fit beside the table
LAYERS = ("deform", "render", "detect", "embed", "objective", "chain")


def check_gradients(
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help=f"{', '.join(LAYERS)}, or a layer of your own as module:Class. Repeatable.",
            show_default="all but your own",
        ),
    ] = None,
    rig: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="head_rig, or a rig file as scripts/build_rig.py writes.")
    ] = "head_rig",
    renderer: Annotated[str, typer.Option(help="scanline or raytrace.")] = "scanline",
    rasterizer: Annotated[str, typer.Option(help="auto, cpu, triton, pytorch3d or nvdiffrast.")] = "auto",
    json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Ask every layer whether its derivatives are right. Exits with 1 if one is not, and names it."""
    require_choice("--renderer", renderer, "scanline", "raytrace")
    require_choice("--rasterizer", rasterizer, "auto", "cpu", "triton", "pytorch3d", "nvdiffrast")
    wanted = list(dict.fromkeys(layer or LAYERS))
    for name in wanted:
        if ":" not in name:
            require_choice("--layer", name, *LAYERS, "module:Class")

    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from pipeline.checks.report import document, verdict
    from pipeline.deform.rig import Rig
    from pipeline.environment import use_machine

    use_machine(1)
    loaded = Rig.load(None if rig == "head_rig" else rig)
    render = {"renderer": renderer, "rasterizer": rasterizer}
    if "embed" in (layer or ()) and loaded.landmark_triangle is None:
        raise ChainRigError(f"The rig {rig} has no landmark embedding to check.")
    if layer is None and loaded.landmark_triangle is None:
        wanted.remove("embed")

    @cache
    def scene() -> Scene:
        from pipeline.checks.scene import default_scene

        return default_scene(loaded, render)

    badges: list[Badge] = []
    columns = [TextColumn("{task.description}"), TimeElapsedColumn()]
    with Progress(
        *columns, console=progress_screen, transient=True, disable=not progress_screen.is_terminal
    ) as progress:
        task = progress.add_task("Setting the scene", total=None)
        for name in wanted:
            for question, badge in _asked(name, scene):
                progress.update(task, description=f"{name}: {question}")
                badges += badge
    if json_:
        print(json.dumps(document(badges), indent=2))
    else:
        screen.print(_table(badges))
        for line in _notes(badges):
            screen.print(line, markup=False, highlight=False)
    sentence, passed = verdict(badges)
    if not passed:
        print(f"chainrig: {sentence}", file=sys.stderr)
        raise typer.Exit(1)
    if not json_:
        screen.print(sentence, highlight=False)


def _asked(name: str, scene: Any) -> Iterator[tuple[str, list[Badge]]]:
    """A question, before it is answered with an empty list, and then its answer."""
    from pipeline.checks.battery import ask, in_full

    subject = _subject(name, scene)
    asked = in_full(subject)
    for question in asked:
        yield question, []
        yield question, list(ask(subject.layer, {question: asked[question]}))


def _subject(name: str, scene: Any) -> Subject:
    from pipeline.checks.own_layer import own_layer_subject, read_own_layer

    return own_layer_subject(read_own_layer(name), scene) if ":" in name else scene().subject(name)


def _table(badges: list[Badge]) -> Any:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    wide = screen.width >= WIDE
    titles = ["layer", "question", "error", "limit", "", *(["note"] if wide else [])]
    table = Table(box=SIMPLE)
    for title in titles:
        number = title in ("error", "limit")
        table.add_column(title, justify="right" if number else "left", no_wrap=title != "note")
    before = None
    for badge in badges:
        mark = "[green]right[/]" if badge.passed else "[red]wrong[/]"
        cells = [badge.question, f"{badge.value:.1e}", f"{badge.limit:.0e}", mark]
        note = [escape(_note(badge))] if wide else []
        table.add_row(escape(badge.layer) if badge.layer != before else "", *cells, *note)
        before = badge.layer
    return table


def _notes(badges: list[Badge]) -> list[str]:
    """Below a narrow table: what does not fit beside its lines."""
    if screen.width >= WIDE:
        return []
    return [f"{one.layer}, {one.question}: {_note(one)}" for one in badges if _note(one)]


def _note(badge: Badge) -> str:
    at = "" if badge.passed or not badge.worst else f"at {badge.worst}"
    return "; ".join(part for part in (at, badge.note) if part)
