"""`Rig` → GLB: a mesh with morph targets, a skin, an albedo, and an animation of every control.

Morph targets are what a control adds before skinning; joints that a control turns besides (the jaw) turn in
the animation, and for ChainRig itself in the document's extras (`chainrig_extras.py`). With `linear`, a morph
target is all that its control does at full strength, joints included, for tools in which nothing else would
turn them.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import roma
import torch
from PIL import Image
from pygltflib import (
    GLTF2,
    Animation,
    AnimationChannel,
    AnimationChannelTarget,
    AnimationSampler,
    Asset,
    Attributes,
    Material,
    Mesh,
    Node,
    PbrMetallicRoughness,
    Primitive,
    Scene,
    Skin,
    Texture,
    TextureInfo,
)
from pygltflib import Image as GltfImage
from torch import Tensor

from pipeline.deform.blendshapes import blend
from pipeline.deform.rig import Rig
from pipeline.deform.shape_space import linearised
from pipeline.render.surface import Surface
from pipeline.rigs.chainrig_extras import FORMAT, KEY, UPWARD, VERTEX
from pipeline.rigs.gltf_buffer import ARRAY, INDEX, BufferWriter

SECONDS = 0.5  # of the animation, from one control at full strength to the next
INFLUENCES = 4  # joints a vertex in one set
PICTURE_QUALITY = 92  # of JPEG


def export_gltf(
    rig: Rig, albedo: Tensor, values: Mapping[str, float] | None = None, linear: bool = False
) -> bytes:
    """The bytes of a .glb.

    Args:
        albedo: (H, W, 3) uint8 sRGB, in the rig's texture coordinates.
        values: of controls, for the weights that the file opens with.
        linear: whole motions as morph targets, see above.

    Raises:
        ChainRigError: `values` name a control that the rig does not have.
    """
    return b"".join(
        RigWriter(linearised(rig) if linear else rig, albedo, values or {}).gltf().save_to_bytes()
    )


class RigWriter:
    """Writes one rig; what other files than a rig's say besides, their own writers add."""

    picture_format = "PNG"  # or JPEG

    def __init__(self, rig: Rig, albedo: Tensor, values: Mapping[str, float]) -> None:
        self.rig, self.albedo = rig, albedo
        rig.controls.pack(values)  # complains about names
        self.document = GLTF2(asset=Asset(version="2.0", generator="ChainRig"), scene=0)
        self.buffer = BufferWriter(self.document)
        self.pose_targets = [
            f"pose {rig.joint_names[j]} {row}{column}"
            for j in rig.pose_corrective_joints.tolist()
            for row in "xyz"
            for column in "xyz"
        ]
        self.targets = [*rig.expression_names, *rig.identity_names, *rig.corrective_names, *self.pose_targets]
        shapes = (rig.expression_deltas, rig.identity_deltas, rig.corrective_deltas)
        moved = [each for each in (*shapes, rig.pose_corrective_deltas) if len(each)]
        self.deltas = torch.cat([*moved, torch.zeros(0, len(rig.rest), 3)]).numpy()
        self.weights = [float(values.get(name, 0.0)) for name in self.targets]
        self.normals = self.normals_of(rig.rest)  # [V, 3]; without them, players show flat triangles

    def normals_of(self, vertices: Tensor) -> Tensor:
        """(V, 3) unit vectors; upward where a vertex has no triangle."""
        rig = self.rig
        found = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle).normals(vertices)
        return torch.where(found.any(-1, keepdim=True), found, found.new_tensor([0.0, 1.0, 0.0]))

    def gltf(self) -> GLTF2:
        document, rig = self.document, self.rig
        order = rig.part_of_triangle.argsort(stable=True)
        primitives = []
        for part in range(len(rig.part_names)):
            own = order[rig.part_of_triangle[order] == part]
            if len(own):
                primitives.append(self._primitive(own))
        joints = len(rig.joint_names)
        mesh = Mesh(name="head", primitives=primitives, weights=self.weights or None)
        mesh.extras = {"targetNames": self.targets}
        document.meshes = [mesh]
        document.materials = [self._material()]
        document.nodes = [*self._joint_nodes(), Node(name="head mesh", mesh=0, skin=0 if joints else None)]
        roots = [j for j, parent in enumerate(rig.joint_parents.tolist()) if parent < 0]
        document.scenes = [Scene(nodes=[*roots, joints])]
        if joints:
            document.skins = [self._skin()]
        document.animations = self.animations()
        document.extras = {KEY: self._extras(order)}
        self.buffer.finish()
        return document

    def _primitive(self, triangles: Tensor) -> Primitive:
        rig = self.rig
        corner = torch.stack([rig.triangles[triangles], rig.uv_triangles[triangles]], -1).reshape(-1, 2)
        pairs, index = (corner[:, 0] * len(rig.uv) + corner[:, 1]).unique(return_inverse=True)
        vertex, uv = pairs // len(rig.uv), pairs % len(rig.uv)
        v = vertex.numpy()
        texcoord = rig.uv[uv].numpy() * [1, -1] + [0, 1]
        attributes: dict[str, int] = {
            "POSITION": self.buffer.add(rig.rest[vertex].numpy().astype(np.float32), ARRAY, bounds=True),
            "NORMAL": self.buffer.add(self.normals[vertex].numpy().astype(np.float32), ARRAY),
            "TEXCOORD_0": self.buffer.add(texcoord.astype(np.float32), ARRAY),
            VERTEX: self.buffer.add(v.astype(np.float32), ARRAY),
            UPWARD: self.buffer.add(rig.uv[uv, 1].numpy().astype(np.float32), ARRAY),
        }
        if len(rig.joint_names):
            attributes |= self._influences(v)
        targets = [{"POSITION": self.buffer.add_deltas(deltas[v])} for deltas in self.deltas]
        kind = np.uint32 if len(v) > 65535 else np.uint16
        return Primitive(
            attributes=Attributes(**attributes),
            indices=self.buffer.add(index.numpy().astype(kind), INDEX),
            material=0,
            targets=targets,  # type: ignore[arg-type]
        )

    def _influences(self, v: np.ndarray) -> dict[str, int]:
        """JOINTS_n and WEIGHTS_n: the strongest joints of each vertex, as many as any has."""
        weights = self.rig.skin_weights.numpy()[v]
        most = max(1, int((weights > 0).sum(1).max()))
        width = -(-most // INFLUENCES) * INFLUENCES
        weights = np.pad(weights, ((0, 0), (0, max(0, width - weights.shape[1]))))
        slots = np.argsort(-weights, 1, kind="stable")[:, :width]
        shares = np.take_along_axis(weights, slots, 1)
        slots = np.where(shares > 0, slots, 0)
        found = {}
        for k in range(width // INFLUENCES):
            part = slice(INFLUENCES * k, INFLUENCES * (k + 1))
            kind = np.uint8 if slots.max() < 256 else np.uint16
            found[f"JOINTS_{k}"] = self.buffer.add(slots[:, part].astype(kind), ARRAY)
            found[f"WEIGHTS_{k}"] = self.buffer.add(shares[:, part].astype(np.float32), ARRAY)
        return found

    def _material(self) -> Material:
        file = BytesIO()
        Image.fromarray(self.albedo.numpy()).save(
            file, self.picture_format, quality=PICTURE_QUALITY, subsampling=0
        )
        kind = f"image/{self.picture_format.lower()}"
        self.document.images = [GltfImage(bufferView=self.buffer.view(file.getvalue()), mimeType=kind)]
        self.document.textures = [Texture(source=0)]
        look = PbrMetallicRoughness(
            baseColorTexture=TextureInfo(index=0), metallicFactor=0.0, roughnessFactor=0.55
        )
        return Material(name="skin", pbrMetallicRoughness=look, alphaMode="OPAQUE", alphaCutoff=None)

    def _joint_nodes(self) -> list[Node]:
        rig = self.rig
        parents, rest = rig.joint_parents.tolist(), rig.joint_rest.double()
        nodes = []
        for j, name in enumerate(rig.joint_names):
            shift = rest[j] if parents[j] < 0 else rest[j] - rest[parents[j]]
            children = [child for child, parent in enumerate(parents) if parent == j]
            nodes.append(Node(name=name, translation=shift.tolist(), children=children))
        return nodes

    def _skin(self) -> Skin:
        rest = self.rig.joint_rest.numpy()
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(rest), 1, 1))
        inverse[:, :3, 3] = -rest
        matrices = self.buffer.add(inverse.swapaxes(1, 2).reshape(-1, 16))
        return Skin(name="head", joints=list(range(len(rest))), inverseBindMatrices=matrices)

    def animations(self) -> list[Animation]:
        """Every expression to the end of its range and back, in turn; the joints that it turns with it."""
        rig = self.rig
        if not rig.expression_names:
            return []
        high = rig.controls.high[: len(rig.expression_names)].float()
        keys = 2 * len(high) + 1
        times = self.buffer.add((SECONDS * np.arange(keys)).astype(np.float32), bounds=True)
        expression = torch.zeros(keys, len(high))
        expression[1::2] = high.diag()
        weights = np.zeros((keys, len(self.targets)), np.float32)
        weights[:, : len(high)] = expression.numpy()
        turns = roma.rotvec_to_unitquat(blend(expression, rig.drivers.flatten(1)))  # [keys, J, 4]
        tracks = [(len(rig.joint_names), "weights", weights.reshape(-1, 1))]
        turning = rig.drivers.any(-1).any(0).nonzero().flatten().tolist()
        tracks += [(joint, "rotation", turns[:, joint].numpy().astype(np.float32)) for joint in turning]
        animation = Animation(name="every control in turn")
        for node, path, values in tracks:
            sampler = AnimationSampler(input=times, output=self.buffer.add(values), interpolation="LINEAR")
            target = AnimationChannelTarget(node=node, path=path)
            animation.channels.append(AnimationChannel(sampler=len(animation.samplers), target=target))
            animation.samplers.append(sampler)
        return [animation]

    def _extras(self, order: Tensor) -> dict[str, Any]:
        rig = self.rig
        sources = rig.expression_sources or rig.expression_names
        controls = []
        for k, control in enumerate(
            rig.controls.controls[: len(rig.expression_names) + len(rig.identity_names)]
        ):
            item: dict[str, Any] = {"name": control.name, "target": control.name, "group": control.group}
            item |= {"low": control.low, "high": control.high, "unit": control.unit}
            expression = k < len(sources)
            item["source"] = sources[k] if expression else control.name
            shifts = rig.joint_expression_deltas if expression else rig.joint_identity_deltas
            if len(shifts):
                item["shifts"] = self._by_joint(shifts[k if expression else k - len(sources)])
            if expression:
                item["turns"] = self._by_joint(rig.drivers[k])
            controls.append(item)
        found: dict[str, Any] = {
            "format": FORMAT,
            "controls": controls,
            "correctives": [self._corrective(c) for c in range(len(rig.corrective_names))],
            "pose_correctives": {
                "joints": [rig.joint_names[j] for j in rig.pose_corrective_joints.tolist()],
                "targets": self.pose_targets,
            },
            "skinning": rig.skinning,
            "parts": [
                name for k, name in enumerate(rig.part_names) if bool((rig.part_of_triangle == k).any())
            ],
        }
        if rig.landmark_triangle is not None:
            assert rig.landmark_barycentric is not None and rig.landmark_spread is not None
            place = torch.empty_like(order)
            place[order] = torch.arange(len(order))
            found["landmarks"] = {
                "triangle": place[rig.landmark_triangle].tolist(),
                "barycentric": rig.landmark_barycentric.flatten().tolist(),
                "spread": rig.landmark_spread.tolist(),
            }
        return found

    def _corrective(self, c: int) -> dict[str, Any]:
        rig = self.rig
        factors = []
        for control, ramp in zip(
            rig.corrective_controls[c].tolist(), rig.corrective_ramps[c].tolist(), strict=True
        ):
            if control >= 0:
                end = None if ramp[2] == float("inf") else ramp[2]
                factors.append([rig.expression_names[control], ramp[0], ramp[1], end])
        return {"name": rig.corrective_names[c], "target": rig.corrective_names[c], "factors": factors}

    def _by_joint(self, rows: Tensor) -> dict[str, list[float]]:
        """Joint → the row (3,) of it, where that is not 0."""
        return {name: row.tolist() for name, row in zip(self.rig.joint_names, rows, strict=True) if row.any()}
