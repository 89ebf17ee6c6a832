"""The command line: parses, calls, prints. Commands import what is slow to import, so that --help is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.environment import lacking
from pipeline.errors import ChainRigError

if TYPE_CHECKING:
    from pipeline.fit import FaceFitter
    from pipeline.result import FitResult
    from pipeline.target.faces import Face
    from pipeline.target.photo import Photo

STRONGEST = 8  # controls in the printed table

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
screen = Console()
progress_screen = Console(stderr=True)


def main() -> None:
    """Runs the command line; whatever the user can settle is one sentence on stderr and exit code 2."""
    usage_error = typer.BadParameter.__base__ or Exception  # click's UsageError, which typer does not export
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        _stop("Interrupted.", code=130)
    except ChainRigError as error:
        _stop(str(error))
    except Exception as error:
        sentence = error.format_message() if isinstance(error, usage_error) else lacking(error)  # type: ignore[attr-defined]
        if sentence is None:
            raise
        _stop(sentence)


def _stop(sentence: str, code: int = 2) -> None:
    print(f"chainrig: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"chainrig {version('chainrig')}")
        raise typer.Exit


@app.callback()
def chainrig(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """ChainRig: from a photograph to the animation controls of a face rig that makes the same face."""


@app.command()
def fit(
    photo: Annotated[Path, typer.Argument(help="The photograph.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="out/<name of the photo>")
    ] = None,
    face: Annotated[
        str, typer.Option(help="Which face: largest, all, or a number from 0, left to right.")
    ] = "largest",
    iterations: Annotated[
        int | None, typer.Option(help="Steps with the full chain, at most.", show_default="22")
    ] = None,
    derivatives: Annotated[
        str | None, typer.Option(help="hybrid, chain or embedding.", show_default="hybrid")
    ] = None,
    fit_appearance: Annotated[
        bool,
        typer.Option("--fit-appearance", help="Find light, colours and focal length in the photo, too."),
    ] = False,
    renderer: Annotated[
        str | None, typer.Option(help="scanline or raytrace.", show_default="scanline")
    ] = None,
    rasterizer: Annotated[
        str | None,
        typer.Option(help="auto, cpu, triton, pytorch3d or nvdiffrast.", show_default="auto"),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="A YAML file, or 'quality' or 'speed'.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change one setting; repeatable.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Fit the rig to a face in PHOTO: writes overlay.png, controls.csv, fit.json and config.yaml."""
    from pipeline.config import load_config

    overrides = list(set_ or [])
    chosen = {
        "fit.iterations": iterations,
        "fit.derivatives": derivatives,
        "appearance.fit": fit_appearance or None,
        "render.renderer": renderer,
        "render.rasterizer": rasterizer,
    }
    overrides += [f"{name}={value}" for name, value in chosen.items() if value is not None]
    settings = load_config(config, overrides)
    folder = out if out is not None else Path("out") / photo.stem
    _require_face_choice(face)

    from pipeline.outputs.folder import require_writable, write_failure, write_fit
    from pipeline.target.photo import read_photo

    require_writable(folder)
    picture = read_photo(photo)

    import torch

    from pipeline.fit import FaceFitter
    from pipeline.result import FitFailure
    from pipeline.target.faces import find_faces

    torch.set_num_threads(settings.fit.threads)
    faces = find_faces(picture.pixels)
    if not faces:
        raise ChainRigError(f"There is no face in {photo}: take one that shows a whole face from the front.")
    fitter = FaceFitter(settings)
    if face != "all":
        index = _choose(face, faces)
        result = _fit_with_progress(fitter, picture, faces[index], index, quiet)
        paths = write_fit(result, index, settings, folder)
        if not quiet:
            _report(result, index, paths)
        return

    fitted = 0
    for index, one in enumerate(faces):
        try:
            result = _fit_with_progress(fitter, picture, one, index, quiet)
        except ChainRigError as error:
            write_failure(FitFailure(picture, one, str(error)), index, folder / f"face-{index}")
            print(f"chainrig: face {index}: {error}", file=sys.stderr)
        else:
            paths = write_fit(result, index, settings, folder / f"face-{index}")
            fitted += 1
            if not quiet:
                _report(result, index, paths)
    if not fitted:
        raise ChainRigError(f"None of the {len(faces)} faces in {photo} could be fitted.")


def _require_face_choice(choice: str) -> None:
    if choice not in ("largest", "all") and not choice.isdecimal():
        raise ChainRigError(f"--face takes largest, all, or a number from 0, not '{choice}'.")


def _choose(choice: str, faces: list[Face]) -> int:
    if choice == "largest":
        return max(range(len(faces)), key=lambda index: faces[index].area)
    if int(choice) >= len(faces):
        raise ChainRigError(
            f"There is no face {choice}: the photo shows {len(faces)}, counted from 0, left to right."
        )
    return int(choice)


def _fit_with_progress(fitter: FaceFitter, photo: Photo, face: Face, index: int, quiet: bool) -> FitResult:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[residual]}")]
    hidden = quiet or not progress_screen.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=progress_screen, transient=True, disable=hidden
    ) as progress:
        task = progress.add_task(f"Fitting face {index}", total=None, residual="warm start")

        def show(step: int, steps: int, residual: float) -> None:
            progress.update(task, completed=step, total=steps, residual=f"{residual:.2f} % IOD")

        return fitter.fit(photo, face, show)


def _report(result: FitResult, index: int, paths: list[Path]) -> None:
    from rich.table import Table

    table = Table(title=f"Face {index}: the strongest controls", title_justify="left")
    table.add_column("control")
    table.add_column("value", justify="right")
    table.add_column("")
    strongest = sorted(result.controls.items(), key=lambda item: -abs(item[1]))[:STRONGEST]
    for name, value in strongest:
        table.add_row(name, f"{value:.2f}", "█" * round(20 * min(1.0, abs(value))))
    screen.print(table)
    screen.print(
        f"Distance of the landmarks: {result.residual_start:.2f} → {result.residual_final:.2f} % of the "
        f"outer-eye distance ({result.status.replace('_', ' ')} after {result.evaluations} evaluations of "
        f"the chain and {result.gradients} gradients, {result.seconds:.1f} s)",
        highlight=False,
    )
    for path in paths:
        print(path)  # not wrapped: paths are there to be copied


@app.command()
def render(
    controls: Annotated[
        Path | None,
        typer.Option(help="A fit.json, or a JSON object of names and values.", show_default="the rest pose"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set one control; repeatable.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the pictures, or a .png file for a single one.")
    ] = Path("out/render"),
    size: Annotated[
        int | None,
        typer.Option(min=16, max=2048, help="Pixels of a side.", show_default="512; on a sheet 192"),
    ] = None,
    turntable: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=360, help="N pictures all around; an animation.", show_default=False
        ),
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP", help="A sheet of every control of expression or identity.", show_default=False
        ),
    ] = None,
    passes: Annotated[
        bool, typer.Option("--passes", help="The steps to a picture; a sheet of them.")
    ] = False,
    frame: Annotated[
        str, typer.Option(help="head, or photo: the whole view of the photo that was fitted.")
    ] = "head",
    transparent: Annotated[bool, typer.Option("--transparent", help="No background.")] = False,
    skin: Annotated[
        str | None,
        typer.Option(
            help="light, medium, tan, dark, or a colour R,G,B (sRGB, each 0 to 255).", show_default="medium"
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=8, help="Samples a pixel, on each axis.")] = 2,
    renderer: Annotated[str, typer.Option(help="scanline or raytrace.")] = "scanline",
    rasterizer: Annotated[str, typer.Option(help="auto, cpu, triton, pytorch3d or nvdiffrast.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Draw the rig: as its controls say, from all sides, control by control, or step by step."""
    folder, alone = _pictures_place(out, "sheet.png" if sheet else "picture.png", bool(turntable or passes))
    _require_choice("--frame", frame, "head", "photo")
    _require_choice("--renderer", renderer, "scanline", "raytrace")
    _require_choice("--rasterizer", rasterizer, "auto", "cpu", "triton", "pytorch3d", "nvdiffrast")
    _require_choice("--sheet", sheet or "expression", "expression", "identity")
    changes = dict(_named_number(text) for text in set_ or [])

    from pipeline.outputs.folder import require_writable, write_files

    require_writable(folder)

    import torch

    from pipeline.controls_file import ControlsFile, read_controls
    from pipeline.pictures import Studio, draw, skin_colour

    read = read_controls(controls) if controls else ControlsFile({})
    studio = Studio(
        read.values | changes,
        read.camera,
        size=size or 512,
        cell=size or 192,
        whole_photo=frame == "photo",
        transparent=transparent,
        light=read.light,
        colours=read.colours | ({"skin": skin_colour(skin)} if skin else {}),
        device="cuda" if rasterizer != "cpu" and torch.cuda.is_available() else "cpu",
        samples=samples,
        renderer=renderer,
        rasterizer=rasterizer,
    )
    for sentence in studio.beyond_range():
        print(f"chainrig: {sentence}", file=sys.stderr)

    files = draw(studio, alone, turntable, passes, sheet)
    paths = write_files(folder, files, "turntable/[0-9][0-9][0-9].png" if turntable else None)
    if not quiet:
        for path in dict.fromkeys(path if path.parent == folder else path.parent for path in paths):
            print(path)


def _pictures_place(out: Path, alone: str, several: bool) -> tuple[Path, str]:
    """(folder, name of a picture that is written alone)"""
    suffix = "" if os.path.isdir(out) else out.suffix.lower()
    if suffix in (".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp"):
        raise ChainRigError(f"--out takes a folder or a .png file, not {out}.")
    if suffix != ".png":
        return out, alone
    if several:
        raise ChainRigError(f"--turntable and --passes write several files: name a folder, not {out}.")
    return out.parent, out.name


def _require_choice(option: str, choice: str, *choices: str) -> None:
    if choice not in choices:
        raise ChainRigError(f"{option} takes {' or '.join(choices)}, not '{choice}'.")


def _named_number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise ChainRigError(f"--set takes NAME=VALUE, such as jawOpen=0.5, not '{text}'.") from None


@app.command()
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
