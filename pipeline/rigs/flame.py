"""FLAME → `RawRig`: a .pkl as its makers give it, or an .npz with the same names.

Li, Bolkart, Black, Li, Romero, "Learning a model of facial shape and expression from 4D scans" (2017): shape
and expression are linear, joints follow the shape by a regressor, linear blend skinning turns the jaw and the
eyes, and pose correctives are linear in R − I of neck, jaw and eyes.
"""

import zipfile
from pathlib import Path

import numpy as np

from pipeline.errors import ChainRigError
from pipeline.rigs.raw import Part, RawRig, Shape
from pipeline.rigs.restricted_pickle import read_pickle

SHAPES = 300  # in a model of 400 directions, expressions come after these
MOST_SHAPES, MOST_EXPRESSIONS = 100, 50  # what is read: the others move less
SHAPE_RANGE, EXPRESSION_RANGE = 3.0, 2.0  # standard deviations
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
# ARKit's names for FLAME's pose: joint, rotation vector (rad) of control = 1.
POSE = {
    "jawOpen": ("jaw", (0.45, 0, 0)), "jawLeft": ("jaw", (0, 0.15, 0)), "jawRight": ("jaw", (0, -0.15, 0)),
    "eyeLookUpLeft": ("eye_left", (-0.5, 0, 0)), "eyeLookUpRight": ("eye_right", (-0.5, 0, 0)),
    "eyeLookDownLeft": ("eye_left", (0.5, 0, 0)), "eyeLookDownRight": ("eye_right", (0.5, 0, 0)),
    "eyeLookOutLeft": ("eye_left", (0, 0.6, 0)), "eyeLookOutRight": ("eye_right", (0, -0.6, 0)),
    "eyeLookInLeft": ("eye_left", (0, -0.6, 0)), "eyeLookInRight": ("eye_right", (0, 0.6, 0)),
}  # fmt: skip
EMBEDDINGS = ("flame_static_embedding.pkl", "flame_static_embedding.npz")


def read_flame(file: Path) -> RawRig:
    """Reads a model, and the landmarks of a static embedding beside it.

    Raises:
        ChainRigError: the file is not a FLAME model, is damaged, or asks to run something.
    """
    arrays = read_pickle(file) if file.suffix.lower() == ".pkl" else _npz(file)
    rest = _array(arrays, "v_template", ("V", 3), file)
    count = len(rest)
    directions = _array(arrays, "shapedirs", (count, 3, "D"), file)
    regressor = _array(arrays, "J_regressor", ("J", count), file)
    joints = len(regressor)
    weights = _array(arrays, "weights", (count, joints), file)
    triangles = _array(arrays, "f", ("F", 3), file).astype(np.int64)
    table = _array(arrays, "kintree_table", (2, joints), file)
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < count:
        raise ChainRigError(f"{file}: a triangle points beyond its {count} vertices: get the model again.")
    if joints != len(JOINTS):
        raise ChainRigError(f"{file} has {joints} joints where FLAME has {len(JOINTS)}: give a FLAME model.")
    if np.abs(weights.sum(1) - 1).max() > 1e-3:
        raise ChainRigError(f"{file}: the skin weights of a vertex do not sum to 1: get the model again.")
    shapes = SHAPES if directions.shape[2] > SHAPES else directions.shape[2]
    raw = RawRig(
        positions=rest,
        triangles=triangles,
        parts=[Part("head")],
        part_of_triangle=np.zeros(len(triangles), np.int64),
        joint_names=list(JOINTS),
        joint_parents=[-1 if parent < 0 or parent >= joints else int(parent) for parent in _signed(table[0])],
        joint_rest=regressor @ rest,
        weights=weights,
        unit=1.0,
    )
    _add_texture(raw, arrays, file)
    for name, (joint, turn) in POSE.items():
        driver = np.zeros((joints, 3))
        driver[JOINTS.index(joint)] = turn
        raw.shapes.append(Shape(name, np.zeros_like(rest), driver=driver))
    expressions = range(shapes, min(directions.shape[2], shapes + MOST_EXPRESSIONS))
    for number, k in enumerate(expressions):
        raw.shapes.append(
            _shape(f"expression{number:02}", directions[..., k], "expression", EXPRESSION_RANGE, regressor)
        )
    for k in range(min(shapes, MOST_SHAPES)):
        raw.shapes.append(_shape(f"shape{k:03}", directions[..., k], "identity", SHAPE_RANGE, regressor))
    left_out = directions.shape[2] - len(expressions) - min(shapes, MOST_SHAPES)
    if left_out:
        raw.notes.append(
            f"{left_out} of FLAME's {directions.shape[2]} directions, which move least, are left out."
        )
    if "posedirs" in arrays:
        posed = _array(arrays, "posedirs", (count, 3, 9 * (joints - 1)), file)
        raw.pose_corrective_joints = list(range(1, joints))
        raw.pose_correctives = np.ascontiguousarray(posed.transpose(2, 0, 1))
    raw.notes.append("FLAME's neck stays still: the head's pose turns the whole.")
    raw.landmarks68 = _static_landmarks(file, triangles)
    return raw


def _shape(name: str, deltas: np.ndarray, group: str, reach: float, regressor: np.ndarray) -> Shape:
    return Shape(name, deltas, -reach, reach, group, joint_deltas=regressor @ deltas)


def _npz(file: Path) -> dict[str, np.ndarray | str]:
    if file.is_file() and not zipfile.is_zipfile(file):
        raise ChainRigError(f"{file} cannot be read: it is no whole .npz archive; get it again.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib and numpy each have their own for a damaged file
        raise ChainRigError(f"{file} cannot be read ({error!r:.100}): get it again.") from None


def _array(
    arrays: dict[str, np.ndarray | str], name: str, shape: tuple[int | str, ...], file: Path
) -> np.ndarray:
    found = arrays.get(name)
    if not isinstance(found, np.ndarray):
        raise ChainRigError(f"{file} has no array {name}: give a FLAME model, such as generic_model.pkl.")
    fits = found.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(found.shape, shape, strict=True)
    )
    if not fits:
        raise ChainRigError(
            f"{file}: {name} has shape {found.shape} where {shape} is needed: get the model again."
        )
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        raise ChainRigError(f"{file}: {name} holds numbers that are not finite: get the model again.")
    return values


def _signed(parents: np.ndarray) -> np.ndarray:
    """FLAME writes the root's parent as 2³² − 1."""
    return np.where(parents > 2**31, -1, parents)


def _add_texture(raw: RawRig, arrays: dict[str, np.ndarray | str], file: Path) -> None:
    if "vt" in arrays and "ft" in arrays:
        raw.uv = _array(arrays, "vt", ("T", 2), file)
        raw.uv_triangles = _array(arrays, "ft", (len(raw.triangles), 3), file).astype(np.int64)


def _static_landmarks(file: Path, triangles: np.ndarray) -> np.ndarray | None:
    """(68,) vertices of iBUG's points where a static embedding lies beside the model; −1 for the jaw's 17."""
    place = next((file.parent / name for name in EMBEDDINGS if (file.parent / name).is_file()), None)
    if place is None:
        return None
    arrays = read_pickle(place) if place.suffix == ".pkl" else _npz(place)
    faces = _array(arrays, "lmk_face_idx", (51,), place).astype(np.int64)
    corner = _array(arrays, "lmk_b_coords", (51, 3), place).argmax(1)
    if faces.min() < 0 or faces.max() >= len(triangles):
        raise ChainRigError(f"{place} is of another mesh than {file}: remove it, or get both from one place.")
    return np.concatenate([np.full(17, -1), triangles[faces, corner]])
