"""A folder of OBJ files → `RawRig`: a neutral mesh, and one file a shape with the same vertices.

    neutral.obj (or generic_neutral_mesh.obj, base.obj, rest.obj)
    jawOpen.obj, browDown_L.obj, …     a control at full strength
    jawOpen_50.obj                     the same control at half strength: an in-between
    jawOpen_mouthSmile_L.obj           both at full strength: a combination (also with + or __ between)
    identity000.obj, …                 a mode of identity, at one standard deviation

ICT-FaceKit's layout is that one; its `vertex_indices.json` also says which files are expressions and where
iBUG's 68 landmarks lie.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ChainRigError
from pipeline.rigs.obj_file import read_obj, read_positions
from pipeline.rigs.raw import Corrective, RawRig, Shape

NEUTRAL = ("generic_neutral_mesh", "neutral", "base", "rest", "default", "basemesh")
IDENTITY_RANGE = 3.0  # standard deviations
INDICES = "vertex_indices.json"
SAME = 1e-9  # of the mesh's size: a vertex that moved less did not


def read_obj_folder(folder: Path) -> RawRig:
    """Reads the folder.

    Raises:
        ChainRigError: there is no neutral mesh, a shape has other vertices, or a file is damaged.
    """
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() == ".obj"}
    neutral = _neutral(folder, files)
    mesh = read_obj(files.pop(neutral))
    known = _indices(folder)
    listed = [str(name) for name in known.get("expressions", [])]
    missing = [name for name in listed if name not in files]
    if missing:
        raise ChainRigError(f"{folder} lacks {missing[0]}.obj, which its {INDICES} lists: copy it there.")
    identities = sorted(name for name in files if re.fullmatch(r"identity\d+", name))
    others = listed or [name for name in files if name not in identities]
    raw = RawRig(
        positions=mesh.positions,
        triangles=mesh.triangles,
        parts=mesh.parts,
        part_of_triangle=mesh.part_of_triangle,
        uv=mesh.uv,
        uv_triangles=mesh.uv_triangles,
    )
    unlisted = [name for name in files if name not in identities and name not in others]
    if unlisted:
        raw.notes.append(f"Left out, as {INDICES} does not list them: {', '.join(unlisted)}.")
    size = float(np.abs(mesh.positions).max())
    deltas = {}
    for name in [*others, *identities]:
        moved = read_positions(files[name])
        if moved.shape != mesh.positions.shape:
            raise ChainRigError(
                f"{files[name]} has {len(moved)} vertices where {neutral}.obj has {len(mesh.positions)}: "
                "export all "
                "shapes from one mesh, without welding or sorting its vertices."
            )
        delta = moved - mesh.positions
        deltas[name] = np.where(np.abs(delta).max(1, keepdims=True) > SAME * size, delta, 0.0)
    _add_shapes(raw, others, deltas)
    for name in identities:
        reach = IDENTITY_RANGE
        raw.shapes.append(Shape(name, deltas[name], -reach, reach, "identity"))
    raw.landmarks68 = _landmarks(folder, known, len(mesh.positions))
    return raw


def _neutral(folder: Path, files: dict[str, Path]) -> str:
    if not files:
        raise ChainRigError(f"There is no .obj file in {folder}: give the folder that holds neutral.obj.")
    lower = {name.lower(): name for name in files}
    exact = [lower[name] for name in NEUTRAL if name in lower]
    found = exact or [name for name in files if re.search(r"neutral|_base\b|_rest\b", name.lower())]
    if len(found) != 1 and not exact:
        raise ChainRigError(
            f"{folder} has {len(found) or 'no'} meshes named neutral: call the mesh at rest neutral.obj."
        )
    return found[0]


def _indices(folder: Path) -> dict[str, Any]:
    file = folder / INDICES
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ChainRigError(f"{file} is not JSON ({error!r:.80}): copy it again, or remove it.") from None
    return found if isinstance(found, dict) else {}


def _landmarks(folder: Path, known: dict[str, Any], vertices: int) -> np.ndarray | None:
    listed = known.get("idx_to_landmark_verts")
    if listed is None:
        return None
    try:
        found = np.array(listed, np.int64)
    except (ValueError, TypeError, OverflowError):
        found = np.array([-1])
    if found.shape != (68,) or found.min() < 0 or found.max() >= vertices:
        raise ChainRigError(
            f"{folder / INDICES}: idx_to_landmark_verts must be 68 vertices of the {vertices}: copy it again."
        )
    return found


def _add_shapes(raw: RawRig, names: list[str], deltas: dict[str, np.ndarray]) -> None:
    """Controls, and what of the others is an in-between or a combination of them."""
    halves = {name: base for name in names if (base := _in_between(name, names)) is not None}
    sums = {name: parts for name in names if name not in halves and (parts := _combined(name, names))}
    controls = [name for name in names if name not in halves and name not in sums]
    raw.shapes = [Shape(name, deltas[name]) for name in controls]
    for base in dict.fromkeys(base for base, _ in halves.values()):
        steps = sorted((share, name) for name, (owner, share) in halves.items() if owner == base)
        stops = [0.0, *(share for share, _ in steps), 1.0]
        for k, (share, name) in enumerate(steps):
            corrective = deltas[name] - share * deltas[base]
            raw.correctives.append(Corrective(name, corrective, [(base, stops[k], share, stops[k + 2])]))
    for name, parts in sums.items():
        corrective = deltas[name] - sum((deltas[part] for part in parts), np.zeros_like(deltas[name]))
        raw.correctives.append(Corrective(name, corrective, [(part, 0.0, 1.0, np.inf) for part in parts]))
    if raw.correctives:
        raw.notes.append(f"{len(halves)} in-betweens and {len(sums)} combinations are correctives.")


def _in_between(name: str, names: list[str]) -> tuple[str, float] | None:
    match = re.fullmatch(r"(.+?)_?(\d\d?)", name)
    return (match[1], int(match[2]) / 100) if match and match[1] in names and int(match[2]) else None


def _combined(name: str, names: list[str]) -> list[str]:
    """The controls whose names, joined, make this one; [] if there are none."""
    for joint in ("+", "__", "_"):
        pieces = name.split(joint)
        found = _segmented(pieces, joint, [other for other in names if other != name])
        if len(found) > 1:
            return found
    return []


def _segmented(pieces: list[str], joint: str, names: list[str]) -> list[str]:
    if not pieces:
        return []
    for k in range(len(pieces), 0, -1):
        head = joint.join(pieces[:k])
        rest = _segmented(pieces[k:], joint, names) if head in names else []
        if head in names and (rest or k == len(pieces)):
            return [head, *rest]
    return []
