"""What an importer reads, before it is a `Rig`: in the file's own frame and unit, with the file's own
names."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Shape:
    """A delta that a control adds.

    Attributes:
        name: as the file has it.
        deltas: (V, 3) of control = 1.
        low, high: range.
        group: "expression" or "identity".
        unit: "" or "rad".
        driver: (J, 3) rotation vectors of the joints of control = 1, or None.
        joint_deltas: (J, 3) how an identity moves the joints, or None.
        source: what the file called it, where `name` is a better one; else "".
    """

    name: str
    deltas: np.ndarray
    low: float = 0.0
    high: float = 1.0
    group: str = "expression"
    unit: str = ""
    driver: np.ndarray | None = None
    joint_deltas: np.ndarray | None = None
    source: str = ""


@dataclass
class Corrective:
    """A shape with a product of ramps for a weight, see `pipeline.deform.correctives`.

    Attributes:
        deltas: (V, 3).
        factors: (name of the control, start, peak, end) each.
    """

    name: str
    deltas: np.ndarray
    factors: list[tuple[str, float, float, float]]


@dataclass
class Part:
    """A piece of the mesh with one material.

    Attributes:
        picture: (H, W, 3) uint8 sRGB, row 0 at v = 1, or None.
        colour: linear RGB where there is no picture, or the picture's factor; None if the file says nothing.
    """

    name: str
    picture: np.ndarray | None = None
    colour: tuple[float, float, float] | None = None


@dataclass
class RawRig:
    """A rig as the file has it.

    Attributes:
        positions: (V, 3) float64.
        triangles: (F, 3) int64.
        uv: (T, 2), v up, or None.
        uv_triangles: (F, 3) into uv, or None.
        part_of_triangle: (F,) index into parts.
        joint_names, joint_parents, joint_rest: a skeleton, or nothing; parents come first.
        weights: (V, J).
        pose_corrective_joints, pose_correctives: indices, and (9 Q, V, 3).
        landmarks: (L, 3) vertices and (L, 3) barycentrics and (L,) spreads in metres of the detector's
            landmarks, where the file knows them; the first as indices of triangles.
        landmarks68: vertices of iBUG's 68 points, where the file knows them.
        ours: the file was written by ChainRig: frame and names are as they should be.
        front, up: of the format, as axes such as "+z".
        unit: metres a unit where the format says so; else None.
        notes: sentences on what was read, left out or taken for granted.
    """

    positions: np.ndarray
    triangles: np.ndarray
    parts: list[Part]
    part_of_triangle: np.ndarray
    uv: np.ndarray | None = None
    uv_triangles: np.ndarray | None = None
    shapes: list[Shape] = field(default_factory=list)
    correctives: list[Corrective] = field(default_factory=list)
    joint_names: list[str] = field(default_factory=list)
    joint_parents: list[int] = field(default_factory=list)
    joint_rest: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    weights: np.ndarray | None = None
    pose_corrective_joints: list[int] = field(default_factory=list)
    pose_correctives: np.ndarray | None = None
    landmarks: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    landmarks68: np.ndarray | None = None
    skinning: str = "linear"
    ours: bool = False
    up: str = "+y"
    front: str = "+z"
    unit: float | None = None
    notes: list[str] = field(default_factory=list)
