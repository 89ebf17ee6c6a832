"""`chainrig retarget`: the expression of a fit, on another rig."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.arguments import Quiet
from pipeline.errors import ChainRigError


def retarget(
    controls: Annotated[
        Path, typer.Argument(metavar="FIT.JSON", help="A fit.json, or a JSON object of names and values.")
    ],
    rig: Annotated[Path, typer.Option(help="The rig to carry it to, .npz.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="The rig that was fitted, .npz.", show_default="the shipped head"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write, .json.", show_default="beside FIT.JSON, named for the rig"),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw both heads side by side, .png.", show_default=False)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Carry an expression to another rig: by names, and by the landmarks' motion where names do not meet."""
    place = out or controls.with_name(f"{controls.stem}.{rig.stem}.json")
    for option, path, suffix in (("--out", place, ".json"), ("--picture", picture, ".png")):
        if path is not None and path.suffix.lower() != suffix:
            raise ChainRigError(f"{option} takes a {suffix} file, not {path}.")

    from pipeline.controls_file import read_controls
    from pipeline.deform.rig import Rig
    from pipeline.outputs.folder import write_files
    from pipeline.outputs.image_files import png
    from pipeline.rigs.portrait import portraits
    from pipeline.rigs.retarget import retarget as carried

    first, other = Rig.load(source), Rig.load(rig)
    values = read_controls(controls).values
    found = carried(values, first, other)
    write_files(place.parent, {place.name: (json.dumps(found.values, indent=2) + "\n").encode()})
    if picture is not None:
        heads = [("fitted", first, values), (rig.stem, other, found.values)]
        write_files(picture.parent, {picture.name: png(portraits(heads))})
    if quiet:
        return
    print(f"{len(found.by_name)} controls by name, {len(found.by_motion)} by the motion of landmarks.")
    if found.residual_mm is not None:
        print(f"The landmarks' motions differ by {found.residual_mm:.2f} mm (RMS).")
    if found.lost:
        print(f"Not carried over: {', '.join(found.lost)}.")
    print(place)
