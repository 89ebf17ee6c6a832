"""`chainrig jacobian`: what every control does at every layer, and what a photo can tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.arguments import named_number, require_choice
from pipeline.commands.screen import progress_screen, screen
from pipeline.environment import use_machine
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from pipeline.config import Config
    from pipeline.inspection.scene import Scene


def jacobian(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PHOTO|FIT.JSON]",
            help="A photo (it is fitted first), a fit.json, or a JSON object of controls.",
            show_default="the rest pose",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results.", show_default="out/<name of the photo>, or the fit's"),
    ] = None,
    layer: Annotated[
        str, typer.Option(help="all, or deform, render or detect: that layer's own Jacobian.")
    ] = "all",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            "--control",
            metavar="NAME",
            help="A control, or a pattern such as 'mouth*'; of the renderer, a vertex. Repeatable.",
            show_default="expression and pose",
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A landmark's number or a region such as mouth, for jacobian.npz. Repeatable.",
            show_default="all",
        ),
    ] = None,
    at_rest: Annotated[bool, typer.Option("--at-rest", help="With a neutral expression.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Move one control; repeatable.", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    config: Annotated[
        str | None,
        typer.Option(help="A YAML file, or 'quality' or 'speed'.", show_default="the fit's"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Inspect the derivatives: writes report.html, a card for every control, and jacobian.npz."""
    from pipeline.config import load_config

    require_choice("--layer", layer, "all", "deform", "render", "detect")
    changes = dict(named_number(text) for text in set_ or [])
    is_file = source is not None and source.suffix.lower() == ".json"
    beside = source.with_name("config.yaml") if source is not None and is_file else None
    settings = load_config(config or (beside if beside is not None and beside.is_file() else None))
    folder = out or _folder(source, is_file)

    from pipeline.outputs.folder import require_writable, write_files

    require_writable(folder)

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from pipeline.inspection.scene import read_scene, require_names

    controls = columns or [] if layer in ("all", "deform") else []
    wanted = rows or [] if layer in ("all", "detect") else []
    require_names([*changes, *controls], wanted, settings.landmarks.detector, settings.fit.rig)

    use_machine(settings.fit.threads)
    shown = progress_screen.is_terminal and not quiet
    bars = [TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn()]
    with Progress(*bars, console=progress_screen, transient=True, disable=not shown) as progress:
        file = source
        if source is not None and not is_file:
            file = _fitted(source, settings, folder, progress)
        scene = read_scene(file, settings, changes, at_rest)
        at = _where(scene, changes, at_rest)
        if layer == "all":
            found, files = _inspected(scene, columns or [], rows or [], at, progress)
        else:
            found, files = _one_layer(scene, layer, rows or [], columns or [], at)
    paths = write_files(folder, files, "cards/*.png" if layer == "all" else None)
    if json_:
        print(json.dumps(found, indent=2))
    elif not quiet:
        for sentence in found["in_short"]:
            screen.print(sentence, highlight=False)
        for path in dict.fromkeys(path if path.parent == folder else path.parent for path in paths):
            print(path)


def _folder(source: Path | None, is_file: bool) -> Path:
    if source is None:
        return Path("out/jacobian")
    return source.parent if is_file else Path("out") / source.stem


def _where(scene: Scene, changes: dict[str, float], at_rest: bool) -> str:
    place = "the fitted controls" if scene.has_target else "the given controls"
    if at_rest or not scene.x[scene.rig.controls.groups["expression"]].any():
        place = "a neutral expression"
    moved = ", ".join(f"{name} = {value:g}" for name, value in changes.items())
    return f"{place}, with {moved}" if moved else place


def _fitted(photo: Path, settings: Config, folder: Path, progress: Progress) -> Path:
    """Fits the largest face and writes its files; gives the fit.json."""
    from pipeline.fit import FaceFitter
    from pipeline.outputs.folder import write_fit
    from pipeline.target.faces import find_faces
    from pipeline.target.photo import read_photo

    picture = read_photo(photo)
    faces = find_faces(picture.pixels)
    if not faces:
        raise ChainRigError(f"There is no face in {photo}: take one that shows a whole face from the front.")
    index = max(range(len(faces)), key=lambda i: faces[i].area)
    task = progress.add_task("Fitting the photo", total=None)
    result = FaceFitter(settings).fit(
        picture, faces[index], lambda step, steps, _: progress.update(task, completed=step, total=steps)
    )
    write_fit(result, index, settings, folder)
    return folder / "fit.json"


def _inspected(
    scene: Scene, columns: list[str], rows: list[str], at: str, progress: Progress
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What was found, as a document, and the files to write."""
    from pipeline.inspection.document import document
    from pipeline.inspection.files import inspection_files
    from pipeline.inspection.inspection import inspect

    tasks: dict[str, Any] = {}

    def tell(what: str, done: int, of: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what)
        progress.update(tasks[what], completed=done, total=of)

    names = scene.rig.controls.names
    groups = scene.rig.controls.groups
    shown = columns or [*names[groups["expression"]], *names[groups["pose"]]]
    findings = inspect(scene, shown, at, tell)
    return document(findings), inspection_files(findings, scene, rows, tell)


def _one_layer(
    scene: Scene, layer: str, rows: list[str], columns: list[str], at: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    from pipeline.inspection.files import layer_files, npz
    from pipeline.inspection.layers import layer_document, layer_jacobian, whole_picture

    if layer == "render" and columns == ["*"]:
        arrays, told = whole_picture(scene)
        return told | {"at": at}, {"jacobian-render.npz": npz(arrays)}
    found = layer_jacobian(scene, layer, rows, columns)
    return layer_document(found, layer, scene.title, at), layer_files(found, layer, scene)
