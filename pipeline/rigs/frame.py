"""From a file's frame and unit to ChainRig's: metres, y up, face toward +z, the subject's left +x, origin
between the eyes.

What the file's format does not settle is guessed from what the shapes do: the face is what they move; it is
some 20 cm across its diagonal; jaws open downward, lids close downward; shapes named left move the left.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ChainRigError
from pipeline.rigs.names import joint_names, normalised
from pipeline.rigs.raw import RawRig

UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
AXES = ("+x", "-x", "+y", "-y", "+z", "-z")
FACE_M, HEAD_M = 0.21, 0.38  # diagonals: of what expressions move, of a whole head with some neck
MOVED = 0.05  # of a shape's largest motion: less is not counted
BEHIND_LIDS_M = 0.012  # from the lids' surface to the middle of the eyeball
DOWNWARD = (
    "jawOpen",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeBlink",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
)


@dataclass(frozen=True)
class Frame:
    """x ↦ scale · turn (x − origin).

    Attributes:
        turn: (3, 3) a rotation.
        scale: metres a unit of the file.
        origin: (3,) in the file's frame and unit.
        notes: what was guessed, a sentence each.
    """

    turn: np.ndarray
    scale: float
    origin: np.ndarray
    notes: tuple[str, ...]

    def points(self, x: np.ndarray) -> np.ndarray:
        """(…, 3) places."""
        return self.vectors(x - self.origin)

    def vectors(self, x: np.ndarray) -> np.ndarray:
        """(…, 3) displacements."""
        return self.scale * x @ self.turn.T

    def turns(self, x: np.ndarray) -> np.ndarray:
        """(…, 3) rotation vectors."""
        return x @ self.turn.T


def find_frame(
    raw: RawRig, unit: str | None = None, up: str | None = None, front: str | None = None
) -> Frame:
    """The frame of a raw rig, as the arguments say, else as its shapes let guess.

    Args:
        unit: a name of `UNITS`.
        up, front: one of `AXES`.

    Raises:
        ChainRigError: an argument is none of these, or up and front lie on one axis.
    """
    if raw.ours:
        return Frame(np.eye(3), 1.0, np.zeros(3), ())
    if unit is not None and unit not in UNITS:
        raise ChainRigError(f"--unit takes {', '.join(UNITS)}, not '{unit}'.")
    for option, axis in (("--up", up), ("--front", front)):
        if axis is not None and axis not in AXES:
            raise ChainRigError(f"{option} takes one of {', '.join(AXES)}, not '{axis}'.")
    notes: list[str] = []
    motion = _Motion(raw)
    y = _axis(up, raw.up, motion.down(), -1, "up", notes)
    z = _axis(front, raw.front, motion.front(), 1, "front", notes)
    if abs(y @ z) > 0.5:
        raise ChainRigError(f"Up and front lie on one axis ({_name(y)}, {_name(z)}): give --up and --front.")
    turn = np.stack([np.cross(y, z), y, z])
    left = motion.left()
    if left is not None and (turn @ left)[0] < -0.5 * np.linalg.norm(left):
        notes.append(
            "Shapes named left move what is the subject's right: mirrored names, or a wrong --front."
        )
    scale = UNITS[unit] if unit else _scale(raw, motion, notes)
    return Frame(turn, scale, motion.between_eyes(turn, scale, notes), tuple(notes))


class _Motion:
    """What the expressions move, and where to."""

    def __init__(self, raw: RawRig) -> None:
        self.raw = raw
        expressions = [shape for shape in raw.shapes if shape.group == "expression"]
        names = normalised([shape.name for shape in expressions])
        self.deltas = {name: shape.deltas for name, shape in zip(names, expressions, strict=True)}
        size = np.zeros(len(raw.positions))
        for deltas in self.deltas.values():
            size = np.maximum(size, np.linalg.norm(deltas, axis=1))
        self.moved = size > MOVED * size.max(initial=0.0)
        self.is_known = bool(self.moved.any())

    def extent(self) -> float:
        """The diagonal of what moves, or of everything."""
        points = self.raw.positions[self.moved] if self.is_known else self.raw.positions
        return float(np.linalg.norm(points.max(0) - points.min(0)))

    def down(self) -> np.ndarray | None:
        """(3,) sum of the motions of shapes that go down."""
        known = [self.deltas[name].sum(0) for name in DOWNWARD if name in self.deltas]
        total = sum((motion / max(np.linalg.norm(motion), 1e-30) for motion in known), np.zeros(3))
        return total if known and np.linalg.norm(total) > 0.5 * len(known) else None

    def front(self) -> np.ndarray | None:
        """(3,) the mean normal of what moves."""
        if not self.is_known:
            return None
        a, b, c = self.raw.positions[self.raw.triangles].transpose(1, 0, 2)
        normals = np.cross(b - a, c - a)
        normal = normals[self.moved[self.raw.triangles].all(1)].sum(0)
        length = np.linalg.norm(normal)
        return normal if length > 0 and np.abs(normal).max() > 0.8 * length else None

    def left(self) -> np.ndarray | None:
        """(3,) from what shapes named right move to what those named left move."""
        ways = []
        for name in self.deltas:
            twin = name[:-4] + "Right"
            if name.endswith("Left") and twin in self.deltas and name not in ("jawLeft", "mouthLeft"):
                ways.append(self._centre(name) - self._centre(twin))
        return np.mean(ways, 0) if ways else None

    def _centre(self, name: str) -> np.ndarray:
        size = np.linalg.norm(self.deltas[name], axis=1)
        return np.average(self.raw.positions, axis=0, weights=size) if size.any() else np.zeros(3)

    def between_eyes(self, turn: np.ndarray, scale: float, notes: list[str]) -> np.ndarray:
        """(3,) the origin to be, in the file's frame."""
        joints = joint_names(self.raw.joint_names)
        if "eye_left" in joints and "eye_right" in joints:
            return self.raw.joint_rest[[joints.index("eye_left"), joints.index("eye_right")]].mean(0)
        blinks = [name for name in ("eyeBlinkLeft", "eyeBlinkRight") if name in self.deltas]
        blinks = blinks if len(blinks) == 2 else [name for name in ("eyeBlink",) if name in self.deltas]
        if blinks:
            lids = np.mean([self._centre(name) for name in blinks], 0)
            return lids - turn[2] * BEHIND_LIDS_M / scale
        points = self.raw.positions[self.moved] if self.is_known else self.raw.positions
        notes.append("No shape closes the eyes: the origin is the middle of what expressions move.")
        return (points.min(0) + points.max(0)) / 2


def _axis(
    told: str | None, usual: str, seen: np.ndarray | None, sign: int, what: str, notes: list[str]
) -> np.ndarray:
    if told is not None:
        return _vector(told)
    if seen is None:
        notes.append(f"{what} is taken for {usual}, as is usual in such files (--{what} says otherwise).")
        return _vector(usual)
    found = np.zeros(3)
    k = int(np.abs(seen).argmax())
    found[k] = sign * np.sign(seen[k])
    if _name(found) != usual:
        notes.append(f"{what} is {_name(found)}, judging by the shapes (--{what} says otherwise).")
    return found


def _scale(raw: RawRig, motion: _Motion, notes: list[str]) -> float:
    extent, expected = motion.extent(), FACE_M if motion.is_known else HEAD_M
    if extent <= 0:
        raise ChainRigError("The mesh has no extent: all of its vertices are one point.")

    def badness(scale: float) -> float:
        return abs(np.log(extent * scale / expected))

    if raw.unit is not None and badness(raw.unit) < np.log(2.2):
        return raw.unit
    name = min(("m", "dm", "cm", "mm", "in", "ft"), key=lambda name: badness(UNITS[name]))
    what = "What expressions move" if motion.is_known else "The mesh"
    notes.append(
        f"{what} is {extent:.3g} units across: the unit is taken for {name} (--unit says otherwise), so "
        "that is "
        f"{100 * extent * UNITS[name]:.0f} cm."
    )
    return UNITS[name]


def _vector(axis: str) -> np.ndarray:
    found = np.zeros(3)
    found["xyz".index(axis[1])] = 1.0 if axis[0] == "+" else -1.0
    return found


def _name(vector: np.ndarray) -> str:
    k = int(np.abs(vector).argmax())
    return ("+" if vector[k] > 0 else "-") + "xyz"[k]
