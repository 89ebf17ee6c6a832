"""What there is in a rig, what is odd about it, and a picture of every control at full strength."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.outputs.sheet import sheet
from pipeline.rigs.names import ARKIT, arkit_of
from pipeline.rigs.portrait import drawn

STILL_MM, WILD_MM = 0.05, 60.0
UNDER = {"mouthClose": "jawOpen"}  # ARKit closes lips over an open jaw: alone, it turns them inside out
CELL_PX, MOST_CELLS = 192, 160


@dataclass(frozen=True)
class ControlReport:
    """One control at the end of its range.

    Attributes:
        name, source: ChainRig's name and the file's.
        low, high, unit: range.
        moves_mm: how far it takes the vertex that it moves most; over an open jaw for mouthClose.
    """

    name: str
    source: str
    group: str
    low: float
    high: float
    unit: str
    moves_mm: float


@dataclass(frozen=True)
class RigReport:
    """What `chainrig rig inspect` says.

    Attributes:
        counts: what → how many.
        size_cm: (width, height, depth) at rest.
        controls: expression and identity.
        problems: a sentence each.
    """

    counts: dict[str, int]
    size_cm: tuple[float, float, float]
    controls: tuple[ControlReport, ...]
    problems: tuple[str, ...]


@torch.no_grad()
def inspect_rig(rig: Rig) -> RigReport:
    """Counts, controls with ranges and motions, and problems."""
    sources = [*(rig.expression_sources or rig.expression_names), *rig.identity_names]
    poses = _at_full(rig)
    at = {c.name: k for k, c in enumerate(_shaped(rig), 1)}
    before = [at.get(UNDER.get(name, ""), 0) for name in at]
    moved = 1000 * (poses[1:] - poses[before]).norm(dim=-1).amax(-1) if at else torch.zeros(0)
    controls = tuple(
        ControlReport(c.name, source, c.group, c.low, c.high, c.unit, float(mm))
        for c, source, mm in zip(_shaped(rig), sources, moved, strict=True)
    )
    counts = {
        "vertices": len(rig.rest),
        "triangles": len(rig.triangles),
        "parts": len(rig.part_names),
        "expressions": len(rig.expression_names),
        "identity controls": len(rig.identity_names),
        "correctives": len(rig.corrective_names),
        "joints": len(rig.joint_names),
        "pose correctives": len(rig.pose_corrective_joints),
        "landmarks": 0 if rig.landmark_triangle is None else len(rig.landmark_triangle),
    }
    size = 100 * (rig.rest.amax(0) - rig.rest.amin(0))
    return RigReport(
        counts,
        (float(size[0]), float(size[1]), float(size[2])),
        controls,
        tuple(_problems(rig, controls, poses)),
    )


def contact_sheet(rig: Rig) -> Image.Image:
    """The head at rest, and with each control at the end of its range, with its motion in mm.

    mouthClose is shown over an open jaw.
    """
    report = inspect_rig(rig)
    poses = _at_full(rig)
    shown = [f"at rest: {rig.source or 'the shipped head'}"]
    shown += [f"{control.name}  {control.moves_mm:.1f} mm" for control in report.controls]
    pictures = drawn(rig, poses[:MOST_CELLS], CELL_PX)
    return sheet(list(zip(shown[:MOST_CELLS], pictures, strict=True)))


def _shaped(rig: Rig):  # type: ignore[no-untyped-def]
    """The controls of expression and identity."""
    return rig.controls.controls[: len(rig.expression_names) + len(rig.identity_names)]


def _at_full(rig: Rig) -> Tensor:
    """(1 + E + N, V, 3): at rest, and with each control at the end of its range, over what it is `UNDER`."""
    deform, space = Deformer(rig), rig.controls
    rest = space.rest.to(rig.rest)
    found = [deform(rest)]
    for k, control in enumerate(_shaped(rig)):
        x = rest.clone()
        x[k] = float(space.high[k])
        if UNDER.get(control.name) in space.names:
            under = space.index(UNDER[control.name])
            x[under] = float(space.high[under])
        found.append(deform(x))
    return torch.stack(found)


def _problems(rig: Rig, controls: tuple[ControlReport, ...], poses: Tensor) -> list[str]:
    found = []
    still = [control.name for control in controls if control.moves_mm < STILL_MM]
    if still:
        found.append(f"{_listed(still)} move nothing.")
    wild = [control.name for control in controls if control.moves_mm > WILD_MM]
    if wild:
        found.append(f"{_listed(wild)} move the skin by more than {WILD_MM:.0f} mm: check the unit.")
    pairs = rig.controls.mirror_pairs
    paired = {index for pair in pairs for index in pair}
    lone = [
        c.name
        for k, c in enumerate(controls)
        if c.group == "expression" and c.name.endswith(("Left", "Right")) and k not in paired
    ]
    if lone:
        found.append(f"{_listed(lone)} have no twin on the other side.")
    covered = {arkit for name in rig.expression_names for arkit in arkit_of(name)}
    missing = [name for name in ARKIT if name not in covered]
    if missing and rig.expression_names:
        found.append(f"{len(missing)} of ARKit's 52 shapes are not there: {_listed(missing)}.")
    if rig.landmark_triangle is None:
        found.append("It does not know where the detector's landmarks lie: run chainrig rig embed.")
    a, b, c = (rig.rest[rig.triangles[:, k]] for k in range(3))
    flat = int((torch.linalg.cross(b - a, c - a).norm(dim=-1) < 1e-12).sum())
    if flat:
        found.append(f"{flat} triangles have no area.")
    if not poses.isfinite().all():
        found.append("Some control takes vertices to infinity.")
    return found


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
