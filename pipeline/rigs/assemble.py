"""`RawRig` → `Rig`: frame, names, parts, textures, skeleton; and sentences on what was done."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render import srgb
from pipeline.render.head_texture import SKIN_TONES
from pipeline.rigs import atlas
from pipeline.rigs.frame import Frame, find_frame
from pipeline.rigs.names import joint_names, normalised
from pipeline.rigs.outlines import outlines_68
from pipeline.rigs.paint import painted
from pipeline.rigs.parts import named_parts
from pipeline.rigs.raw import Corrective, Part, RawRig, Shape

STILL_M = 1e-7  # a shape that moves less moves nothing


def assembled(
    raw: RawRig, file: Path, unit: str | None = None, up: str | None = None, front: str | None = None
) -> tuple[Rig, list[str]]:
    """The rig, and what the user should know about how it was read.

    Args:
        file: what it came from, for messages.
        unit, up, front: where the user says more than the file, see `frame.find_frame`.

    Raises:
        ChainRigError: the data do not make a rig.
    """
    _require_sound(raw, file)
    frame = find_frame(raw, unit, up, front)
    notes = [*raw.notes, *frame.notes]
    points = frame.points(raw.positions)
    if raw.ours:
        part_names, part = [item.name for item in raw.parts], raw.part_of_triangle
    else:
        part_names, part = named_parts(raw.parts, raw.part_of_triangle, points, raw.triangles)
    shown = part >= 0
    if not shown.all():
        helpers = {raw.parts[k].name for k in np.unique(raw.part_of_triangle[~shown])}
        notes.append(f"Left out, as they are not solid: {', '.join(sorted(helpers))}.")
    kept, corner = np.unique(raw.triangles[shown], return_inverse=True)
    triangles = corner.reshape(-1, 3)
    uv, uv_triangles, albedo = _texture(raw, points[kept], triangles, part[shown], shown, notes)
    expressions = [shape for shape in raw.shapes if shape.group == "expression"]
    identities = [shape for shape in raw.shapes if shape.group == "identity"]
    names = [shape.name for shape in expressions]
    better = names if raw.ours else normalised(names)
    joints, weights = _skeleton(raw, kept)
    correctives = _correctives(raw.correctives, names)

    def deltas(items: list[Shape] | list[Corrective]) -> Tensor:
        moved = [frame.vectors(item.deltas[kept]) for item in items]
        return _float(np.array(moved).reshape(len(items), len(kept), 3))

    rig = Rig(
        rest=_float(points[kept]),
        triangles=torch.from_numpy(triangles),
        uv=_float(uv),
        uv_triangles=torch.from_numpy(np.ascontiguousarray(uv_triangles)).long(),
        part_names=tuple(part_names),
        part_of_triangle=torch.from_numpy(np.ascontiguousarray(part[shown])).long(),
        expression_names=tuple(better),
        expression_deltas=deltas(expressions),
        expression_low=_float(np.array([shape.low for shape in expressions])),
        expression_high=_float(np.array([shape.high for shape in expressions])),
        expression_units=tuple(shape.unit for shape in expressions),
        expression_sources=tuple(shape.source or shape.name for shape in expressions),
        identity_names=tuple(shape.name for shape in identities),
        identity_deltas=deltas(identities),
        identity_low=_float(np.array([shape.low for shape in identities])),
        identity_high=_float(np.array([shape.high for shape in identities])),
        joint_names=tuple(joints),
        joint_parents=torch.tensor(raw.joint_parents or [-1]),
        joint_rest=_float(frame.points(raw.joint_rest) if raw.joint_names else np.zeros((1, 3))),
        joint_identity_deltas=_per_joint(identities, "joint_deltas", len(joints), frame),
        skin_weights=_float(weights),
        joint_expression_deltas=_per_joint(expressions, "joint_deltas", len(joints), frame),
        drivers=_per_joint(expressions, "driver", len(joints), frame),
        corrective_names=tuple(each.name for each in raw.correctives),
        corrective_deltas=deltas(raw.correctives),
        corrective_controls=correctives[0],
        corrective_ramps=correctives[1],
        pose_corrective_joints=torch.tensor(raw.pose_corrective_joints, dtype=torch.int64),
        pose_corrective_deltas=_pose_correctives(raw, kept, frame),
        skinning=raw.skinning,
        albedo=None if albedo is None else torch.from_numpy(albedo.copy()),
        source=file.name,
        **_landmarks(raw),
    ).validated(f"in {file}")
    if albedo is None:
        outlines = None
        if raw.landmarks68 is not None:
            outlines = outlines_68(frame.points(raw.positions[raw.landmarks68]))
        rig = painted(rig, outlines)
        notes.append(
            "There is no albedo: skin, eyes, brows and lips are painted."
            if outlines
            else "There is no albedo: eyes and teeth are painted as far as they are parts of the mesh, brows "
            "and lips when chainrig rig embed has found them."
        )
    if not expressions:
        notes.append("There are no expression shapes: only the pose of the head can be fitted.")
    still = [name for name, d in zip(better, rig.expression_deltas, strict=True) if d.abs().max() < STILL_M]
    still = [name for name in still if not rig.drivers[better.index(name)].any()]
    if still:
        notes.append(f"These controls move nothing: {', '.join(still)}.")
    return rig, notes


def _require_sound(raw: RawRig, file: Path) -> None:
    named = [("positions", raw.positions)]
    named += [(f"the shape {shape.name}", shape.deltas) for shape in raw.shapes]
    named += [(f"the corrective {each.name}", each.deltas) for each in raw.correctives]
    for what, array in named:
        if array.shape != raw.positions.shape:
            raise ChainRigError(
                f"{file}: {what} moves {len(array)} vertices of {len(raw.positions)}: export it from the "
                "same mesh."
            )
        if not np.isfinite(array).all():
            raise ChainRigError(
                f"{file}: {what} holds numbers that are not finite: repair it and export again."
            )


def _skeleton(raw: RawRig, kept: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of the joints and weights (V, J); a mesh without a skeleton is one rigid head."""
    if not raw.joint_names or raw.weights is None:
        return ["head"], np.ones((len(kept), 1))
    return raw.joint_names if raw.ours else joint_names(raw.joint_names), raw.weights[kept]


def _per_joint(shapes: list[Shape], what: str, joints: int, frame: Frame) -> Tensor:
    """(K, J, 3) of drivers or of joint deltas."""
    found = np.zeros((len(shapes), joints, 3))
    for k, shape in enumerate(shapes):
        value = getattr(shape, what)
        if value is not None:
            found[k] = frame.turns(value) if what == "driver" else frame.vectors(value)
    return _float(found)


def _correctives(correctives: list[Corrective], names: list[str]) -> tuple[Tensor, Tensor]:
    most = max((len(each.factors) for each in correctives), default=0)
    controls = torch.full((len(correctives), most), -1)
    ramps = torch.tensor([0.0, 1.0, float("inf")]).repeat(len(correctives), most, 1)
    for c, each in enumerate(correctives):
        for f, (name, *ramp) in enumerate(each.factors):
            controls[c, f] = names.index(name)
            ramps[c, f] = torch.tensor(ramp)
    return controls, ramps


def _pose_correctives(raw: RawRig, kept: np.ndarray, frame: Frame) -> Tensor:
    if raw.pose_correctives is None:
        return torch.zeros(0, len(kept), 3)
    count = len(raw.pose_corrective_joints)
    entries = frame.vectors(raw.pose_correctives[:, kept]).reshape(count, 3, 3, len(kept), 3)
    # R' = T R Tᵀ in the new frame, so what was linear in R − I is linear in Tᵀ (R' − I) T.
    turned = np.einsum("qabvk,ca,db->qcdvk", entries, frame.turn, frame.turn)
    return _float(turned.reshape(9 * count, len(kept), 3))


def _landmarks(raw: RawRig) -> dict[str, Tensor]:
    if raw.landmarks is None:
        return {}
    triangle, barycentric, spread = raw.landmarks
    return {
        "landmark_triangle": torch.from_numpy(triangle),
        "landmark_barycentric": _float(barycentric),
        "landmark_spread": _float(spread),
    }


def _texture(
    raw: RawRig,
    points: np.ndarray,
    triangles: np.ndarray,
    part: np.ndarray,
    shown: np.ndarray,
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """uv (T, 2), uv_triangles (F, 3) and albedo (H, W, 3) uint8 or None."""
    source = raw.part_of_triangle[shown]
    uv_triangles = None if raw.uv_triangles is None else raw.uv_triangles[shown]
    used = [raw.parts[k] for k in np.unique(source)]
    pictures = {id(item.picture): item.picture for item in used if item.picture is not None}
    if (
        raw.uv is not None
        and uv_triangles is not None
        and (raw.ours or _shares_one(used, raw.uv, uv_triangles))
    ):
        first = next(iter(pictures.values()), None)
        kept, index = np.unique(uv_triangles, return_inverse=True)
        picture = None if first is None else atlas.with_sides_of_two(first)
        return raw.uv[kept], index.reshape(-1, 3), picture
    painted = [item.picture is not None or item.colour is not None for item in used]
    if raw.uv is None:
        notes.append("There are no texture coordinates: each part is unrolled around the vertical.")
    uv, uv_triangles_, tiles = atlas.tiled(
        raw.uv, uv_triangles, triangles, points, source if any(painted) else source * (part.max() + 1) + part
    )
    if not any(painted):
        return uv, uv_triangles_, None
    windows = {}
    for number in tiles:
        if raw.uv is not None and uv_triangles is not None:
            own = raw.uv[uv_triangles[source == number]]
            own = own - np.floor(own.mean(1) + 1e-9)[:, None]
            (u0, v0), (u1, v1) = own.min((0, 1)), own.max((0, 1))
            windows[number] = (float(u0), float(v0), float(u1), float(v1))
    shown_pictures = {
        k: picture for k in tiles if (picture := raw.parts[k].picture) is not None and k in windows
    }
    colours = {number: _encoded(raw.parts[number]) for number in tiles}
    return uv, uv_triangles_, atlas.composed(tiles, shown_pictures, colours, windows, 2 * atlas.SIDE)


def _shares_one(parts: list[Part], uv: np.ndarray, uv_triangles: np.ndarray) -> bool:
    """Whether all parts show one and the same picture, within its borders."""
    pictures = {id(item.picture) for item in parts}
    used = uv[uv_triangles]
    return len(pictures) == 1 and parts[0].picture is not None and used.min() >= -0.01 and used.max() <= 1.01


def _encoded(part: Part) -> tuple[int, int, int]:
    linear = torch.tensor(part.colour or SKIN_TONES["medium"])
    r, g, b = (srgb.encode(linear) * 255).round().int().tolist()
    return r, g, b


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
