"""VRM: a glTF file whose expressions are mixtures of morph targets (VRM 0.x blend shape groups, VRM 1.0
expressions)."""

from pathlib import Path
from typing import Any

import numpy as np
from pygltflib import GLTF2

from pipeline.errors import ChainRigError
from pipeline.rigs.raw import RawRig, Shape


def applied(raw: RawRig, gltf: GLTF2, targets: list[list[str]], file: Path) -> RawRig:
    """The rig with the expressions of a VRM file for controls, and the morph targets that none of them uses.

    A file that is no VRM stays as it is.

    Args:
        targets: names of the morph targets of every mesh.

    Raises:
        ChainRigError: an expression uses a morph target that is not there.
    """
    extensions = gltf.extensions or {}
    if "VRMC_vrm" in extensions:
        expressions = _of_1(extensions["VRMC_vrm"], gltf)
    elif "VRM" in extensions:
        expressions = _of_0(extensions["VRM"])
        raw.front = "-z"
        raw.notes.append("A VRM 0 model faces −z: it is turned around.")
    else:
        return raw
    deltas = {shape.name: shape.deltas for shape in raw.shapes}
    used: set[str] = set()
    mixtures: list[Shape] = []
    for name, binds in expressions:
        total = np.zeros_like(raw.positions)
        for mesh, index, weight in binds:
            if not (0 <= mesh < len(targets) and 0 <= index < len(targets[mesh])):
                raise ChainRigError(
                    f"{file}: the expression {name} uses morph target {index} of mesh {mesh}, which is not "
                    "there: "
                    "export it again."
                )
            target = targets[mesh][index]
            if target in deltas:
                total = total + weight * deltas[target]
                used.add(target)
        if total.any():
            mixtures.append(Shape(name, total))
    taken = {shape.name for shape in mixtures}
    others = [shape for shape in raw.shapes if shape.name not in used and shape.name not in taken]
    raw.shapes = mixtures + others
    raw.notes.append(f"{len(mixtures)} VRM expressions and {len(others)} other morph targets are controls.")
    return raw


Binds = list[tuple[int, int, float]]  # mesh, morph target, weight


def _of_0(vrm: dict[str, Any]) -> list[tuple[str, Binds]]:
    groups = (vrm.get("blendShapeMaster") or {}).get("blendShapeGroups") or []
    found = []
    for group in groups:
        preset = group.get("presetName") or ""
        name = group.get("name") or preset if preset in ("", "unknown") else preset
        binds = [(bind["mesh"], bind["index"], bind["weight"] / 100) for bind in group.get("binds") or []]
        found.append((str(name), binds))
    return found


def _of_1(vrm: dict[str, Any], gltf: GLTF2) -> list[tuple[str, Binds]]:
    groups = vrm.get("expressions") or {}
    found = []
    for name, expression in {**(groups.get("preset") or {}), **(groups.get("custom") or {})}.items():
        binds = []
        for bind in expression.get("morphTargetBinds") or []:
            mesh = gltf.nodes[bind["node"]].mesh
            binds.append((-1 if mesh is None else mesh, bind["index"], float(bind["weight"])))
        found.append((name, binds))
    return found
