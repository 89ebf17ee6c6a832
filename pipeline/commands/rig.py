"""`chainrig rig`: take rigs from other tools, look at them, make them ready for fits, and give them back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ChainRigError

rig_app = typer.Typer(no_args_is_help=True, help="Import, inspect, embed, edit and export rigs.")

Saved = Annotated[
    Path | None, typer.Argument(metavar="[RIG.NPZ]", help="A rig.", show_default="the shipped head")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]


@rig_app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="A .glb, .gltf or .vrm file, a folder of .obj files, or a FLAME .pkl or .npz.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The rig file to write, .npz.")] = Path("rig.npz"),
    unit: Annotated[
        str | None, typer.Option(help="m, dm, cm, mm, in or ft.", show_default="by the head's size")
    ] = None,
    up: Annotated[
        str | None, typer.Option(help="+x, -x, +y, -y, +z or -z.", show_default="by what shapes do")
    ] = None,
    front: Annotated[
        str | None, typer.Option(help="Where the face looks: one of the same.", show_default="likewise")
    ] = None,
    embed_: Annotated[bool, typer.Option("--embed", help="Then do what 'rig embed' does.")] = False,
    quiet: Quiet = False,
) -> None:
    """Read a rig of another tool and save it as one .npz; says what was guessed and left out."""
    _require_npz(out)
    from pipeline.rigs.import_rig import import_rig

    found, notes = import_rig(source, unit, up, front)
    found.save(out)
    if not quiet:
        for note in notes:
            print(note)
        print(
            f"{out}: {len(found.rest)} vertices, {len(found.expression_names)} expressions, "
            f"{len(found.identity_names)} identity controls, {len(found.joint_names)} joints."
        )
        if found.landmark_triangle is None and not embed_:
            print(f"Next: chainrig rig embed {out}")
    if embed_:
        embed(out, None, 140, quiet)


@rig_app.command()
def inspect(
    file: Saved = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the picture of every control goes, .png.", show_default="beside the rig"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Say what is in a rig and what is odd about it; draw every control at full strength."""
    from pipeline.deform.rig import Rig
    from pipeline.outputs.folder import write_files
    from pipeline.outputs.image_files import png
    from pipeline.rigs.inspect_rig import contact_sheet, inspect_rig

    loaded = Rig.load(file)
    report = inspect_rig(loaded)
    place = out or (file.with_suffix(".controls.png") if file else Path("out/head_rig.controls.png"))
    if place.suffix.lower() != ".png":
        raise ChainRigError(f"--out takes a .png file, not {place}.")
    if not quiet:
        print(", ".join(f"{count} {what}" for what, count in report.counts.items() if count))
        print("{:.1f} cm wide, {:.1f} high, {:.1f} deep".format(*report.size_cm))
        for control in report.controls:
            called = f"  (in the file: {control.source})" if control.source != control.name else ""
            unit = f" {control.unit}" if control.unit else ""
            print(
                f"{control.name:<32} {control.low:g} … {control.high:g}{unit}  {control.moves_mm:6.1f} "
                f"mm{called}"
            )
        for problem in report.problems:
            print(f"! {problem}")
    write_files(place.parent, {place.name: png(contact_sheet(loaded))})
    if not quiet:
        print(place)


@rig_app.command()
def embed(
    file: Annotated[Path, typer.Argument(metavar="RIG.NPZ", help="A rig.")],
    out: Annotated[
        Path | None, typer.Option(help="The rig file to write, .npz.", show_default="the same file")
    ] = None,
    pictures: Annotated[int, typer.Option(min=4, max=1000, help="How many pictures are looked at.")] = 140,
    quiet: Quiet = False,
) -> None:
    """Find where the detector's landmarks lie on a rig, by rendering it and looking; paints rigs without
    albedo."""
    place = out or file
    _require_npz(place)

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from pipeline.commands.screen import progress_screen
    from pipeline.deform.rig import Rig
    from pipeline.detect.facemesh import FaceMesh
    from pipeline.environment import use_machine
    from pipeline.rigs.embed import embedded

    loaded = Rig.load(file)
    use_machine(1)
    bars = [TextColumn("Looking at the rig"), BarColumn(24), TimeElapsedColumn()]
    shown = progress_screen.is_terminal and not quiet
    with Progress(*bars, console=progress_screen, transient=True, disable=not shown) as progress:
        task = progress.add_task("", total=None)

        def tell(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of)

        loaded, found = embedded(loaded, FaceMesh.load(), pictures, tell)
    loaded.save(place)
    if quiet:
        return
    doubtful = found.doubtful()
    print(
        f"The detector saw a face in {found.seen} of {found.pictures} pictures; landmarks stray by "
        f"{1e3 * float(found.spread.median()):.1f} mm (median), {1e3 * float(found.spread.max()):.1f} mm at "
        "most."
    )
    if not found.symmetric:
        print("The halves of the face do not mirror each other: each has its own landmarks.")
    if doubtful:
        print(f"Distrust {len(doubtful)} of {len(found.spread)} landmarks: {_few(doubtful)}.")
    print(place)


@rig_app.command()
def edit(
    file: Saved = None,
    out: Annotated[Path, typer.Option(help="The rig file to write, .npz.")] = Path("rig.npz"),
    person: Annotated[
        Path | None,
        typer.Option(
            help="A fit.json of a neutral photo, or what calibrate wrote: that head becomes the neutral one.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LOW:HIGH", help="Another range of a control; repeatable."),
    ] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Make the shapes of both sides mirror each other.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Change a rig: a person's own neutral head, narrower ranges, shapes that are alike on both sides."""
    _require_npz(out)
    limits = dict(map(_range, limit or []))
    if person is None and not limits and not symmetric:
        raise ChainRigError("There is nothing to change: give --person, --limit or --symmetric.")
    from pipeline.deform.rig import Rig
    from pipeline.deform.shape_space import of_subject, symmetrised, with_limits
    from pipeline.rigs.person import identity_in

    changed = Rig.load(file)
    if symmetric:
        changed = symmetrised(changed)
    changed = with_limits(changed, limits)
    if person is not None:
        changed = of_subject(changed, identity_in(person, changed))
    changed.save(out)
    if not quiet:
        print(out)


@rig_app.command()
def export(
    file: Saved = None,
    out: Annotated[Path, typer.Option(help="The file to write, .glb.")] = Path("rig.glb"),
    controls: Annotated[
        Path | None,
        typer.Option(
            help="A fit.json, or a JSON object of names and values, to open with.", show_default="rest"
        ),
    ] = None,
    linear: Annotated[
        bool,
        typer.Option("--linear", help="Every control's whole motion as a morph target, joints included."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a rig as .glb for other tools: morph targets, skin, names, albedo, and an animation of all
    controls."""
    if out.suffix.lower() != ".glb":
        raise ChainRigError(f"--out takes a .glb file, not {out}.")
    from pipeline.controls_file import read_controls
    from pipeline.deform.rig import Rig
    from pipeline.outputs.folder import write_files
    from pipeline.rigs.gltf_export import export_gltf
    from pipeline.rigs.texture import albedo_of

    loaded = Rig.load(file)
    values = read_controls(controls).values if controls else {}
    data = export_gltf(loaded, albedo_of(loaded), values, linear)
    write_files(out.parent, {out.name: data})
    if not quiet:
        print(f"{out}: {len(data) / 1e6:.1f} MB")


def _range(text: str) -> tuple[str, tuple[float, float]]:
    name, _, numbers = text.partition("=")
    low, _, high = numbers.partition(":")
    try:
        return name.strip(), (float(low), float(high))
    except ValueError:
        raise ChainRigError(f"--limit takes NAME=LOW:HIGH, such as jawOpen=0:0.7, not '{text}'.") from None


def _require_npz(out: Path) -> None:
    if out.suffix.lower() != ".npz":
        raise ChainRigError(f"--out takes a .npz file, not {out}.")


def _few(numbers: list[int], most: int = 12) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(str(number) for number in numbers[:most]) + more
