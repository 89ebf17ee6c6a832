"""A rig from a file or folder, whatever the format."""

from dataclasses import replace
from pathlib import Path

import torch

from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.rigs.assemble import assembled
from pipeline.rigs.flame import read_flame
from pipeline.rigs.gltf import read_gltf
from pipeline.rigs.obj_folder import read_obj_folder
from pipeline.rigs.texture import albedo_of

READERS = {".glb": read_gltf, ".gltf": read_gltf, ".vrm": read_gltf, ".pkl": read_flame, ".npz": read_flame}


def import_rig(
    source: Path, unit: str | None = None, up: str | None = None, front: str | None = None
) -> tuple[Rig, list[str]]:
    """The rig of a .glb, .gltf or .vrm file, a folder of .obj files, or a FLAME .pkl or .npz; with notes.

    Args:
        unit, up, front: where the user says more than the file, see `frame.find_frame`.

    Raises:
        ChainRigError: the source is none of these, or is damaged.
    """
    if source.is_dir():
        return assembled(read_obj_folder(source), source, unit, up, front)
    if not source.exists():
        raise ChainRigError(f"There is no rig {source}: check the path.")
    reader = READERS.get(source.suffix.lower())
    if reader is None:
        raise ChainRigError(
            f"{source} is of no format that is read: give a .glb, .gltf, .vrm, a folder of .obj files, or a "
            "FLAME "
            ".pkl or .npz; other formats (FBX, .blend, .ma) export to .glb."
        )
    rig, notes = assembled(reader(source), source, unit, up, front)
    return _recognised(rig), notes


def _recognised(rig: Rig) -> Rig:
    """The shipped head, exported and imported again, has the shipped albedo, whose regions are known."""
    if rig.albedo is None or rig.part_names != (shipped := Rig.load()).part_names:
        return rig
    if not torch.equal(rig.albedo, albedo_of(shipped)):
        return rig
    return replace(rig, albedo=None, source="")
