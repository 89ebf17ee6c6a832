"""`chainrig render`: pictures of the rig."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.arguments import named_number, require_choice
from pipeline.errors import ChainRigError


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
    rig: Annotated[
        Path | None, typer.Option(help="A rig file that chainrig rig made.", show_default="the shipped head")
    ] = None,
    renderer: Annotated[str, typer.Option(help="scanline or raytrace.")] = "scanline",
    rasterizer: Annotated[str, typer.Option(help="auto, cpu, triton, pytorch3d or nvdiffrast.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Draw the rig: as its controls say, from all sides, control by control, or step by step."""
    folder, alone = _pictures_place(out, "sheet.png" if sheet else "picture.png", bool(turntable or passes))
    require_choice("--frame", frame, "head", "photo")
    require_choice("--renderer", renderer, "scanline", "raytrace")
    require_choice("--rasterizer", rasterizer, "auto", "cpu", "triton", "pytorch3d", "nvdiffrast")
    require_choice("--sheet", sheet or "expression", "expression", "identity")
    changes = dict(named_number(text) for text in set_ or [])

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
        rig=rig or (read.photo.rig if read.photo else None),
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
