"""`chainrig usd`: what ChainRig found, for Houdini, Maya, Omniverse and Unreal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ChainRigError


def usd(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.GLB",
            help="face.glb of a fit, sequence.glb of a sequence, or what 'rig export' wrote.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write: .usdc or .usd, .usda (text), or .usdz (with its texture in it).",
            show_default="FILE.usdc",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Turn a .glb of ChainRig into USD: skeleton, blend shapes by name, animation, camera, texture."""
    from pipeline.outputs.usd.files import SUFFIXES, write_usd

    if file.is_dir():
        raise ChainRigError(f"{file} is a folder: give a .glb file in it, such as {file / 'face.glb'}.")
    if file.suffix.lower() not in (".glb", ".gltf"):
        raise ChainRigError(f"USD is made of a .glb file, such as a fit's face.glb, not of {file}.")
    place = out or file.with_suffix(".usdc")
    if place.suffix.lower() not in SUFFIXES:
        raise ChainRigError(f"--out takes a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, not {place}.")
    for written in write_usd(file, place):
        if not quiet:
            print(f"{written}: {written.stat().st_size / 1e6:.1f} MB")
