"""glTF and GLB (and VRM) → `RawRig`: meshes, morph targets, skins, materials.

Khronos' glTF 2.0 specification. What the file shows at rest is read: skinned meshes in the pose of their
nodes, others where their nodes put them. Meshes come together; morph targets of one name become one shape;
corners that differ in their texture coordinates or normals only become one vertex again.
"""

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pygltflib import GLTF2, Mesh, Node, Primitive

from pipeline.errors import ChainRigError
from pipeline.rigs import chainrig_extras, vrm
from pipeline.rigs.gltf_accessors import Accessors
from pipeline.rigs.gltf_materials import not_drawn
from pipeline.rigs.gltf_nodes import Skeleton, bound_matrices, world_matrices
from pipeline.rigs.raw import Part, RawRig, Shape
from pipeline.rigs.weld import Pieces

COMPRESSED = {
    "KHR_draco_mesh_compression": "Draco",
    "EXT_meshopt_compression": "meshopt",
    "KHR_meshopt_compression": "meshopt",
}
PLAIN = ("KHR_mesh_quantization", "KHR_materials_", "KHR_lights_", "VRM", "VRMC_", "KHR_texture_transform")
SUM_TOLERANCE = 0.02  # of skin weights: bytes round
ROUNDING = 1e-6  # likewise, of floats: not worth to change them for


def read_gltf(file: Path) -> RawRig:
    """Reads a .gltf, .glb or .vrm file.

    Raises:
        ChainRigError: it is truncated or damaged, compressed, asks for files elsewhere, has no mesh, names
            for another number of morph targets than there are, indices out of range, numbers that are not
            finite, or skin weights that do not sum to one.
    """
    gltf = document(file)
    require_plain(gltf, file)
    with damage_told(file):
        return _Reader(gltf, file).read()


@contextlib.contextmanager
def damage_told(file: Path) -> Iterator[None]:
    """What an unexpected document makes Python say, in a sentence: raises ChainRigError."""
    try:
        yield
    except ChainRigError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ChainRigError(f"{file} is damaged ({error!r:.120}): export it again.") from None


def document(file: Path) -> GLTF2:
    """What a .gltf, .glb or .vrm file says. Raises ChainRigError: it cannot be read, or is damaged."""
    try:
        data = file.read_bytes()
    except OSError as refused:
        raise ChainRigError(f"{file} cannot be read ({refused.strerror}): check the path.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if data[:4] != b"glTF":
                return GLTF2.from_json(data.decode("utf-8-sig"), infer_missing=True)
            length = struct.unpack("<I", data[8:12])[0]
            if length > len(data):
                raise ChainRigError(
                    f"{file} is truncated: {len(data)} of {length} bytes are there; copy it again."
                )
            found = GLTF2.load_from_bytes(data)
            if found is None:
                raise ValueError("it has no JSON")
            return found
    except ChainRigError:
        raise
    except Exception as error:  # the reader lets everything through: json, struct, dataclasses
        raise ChainRigError(f"{file} is no glTF file ({type(error).__name__}): export it again.") from None


def require_plain(gltf: GLTF2, file: Path) -> None:
    """Raises ChainRigError: it is compressed, or asks for an extension that nothing here reads."""
    for name in [*(gltf.extensionsRequired or []), *(gltf.extensionsUsed or [])]:
        if name in COMPRESSED and (name in (gltf.extensionsRequired or []) or _compresses(gltf, name)):
            raise ChainRigError(
                f"{file} is compressed with {COMPRESSED[name]}: export it without compression, or unpack it "
                "with 'npx @gltf-transform/cli copy IN.glb OUT.glb'."
            )
    for name in gltf.extensionsRequired or []:
        if not name.startswith(PLAIN):
            raise ChainRigError(
                f"{file} needs the glTF extension {name}, which is not read: export without it."
            )


def _compresses(gltf: GLTF2, name: str) -> bool:
    primitives = [primitive for mesh in gltf.meshes or [] for primitive in mesh.primitives or []]
    return any(name in (item.extensions or {}) for item in [*primitives, *(gltf.bufferViews or [])])


class _Reader:
    def __init__(self, gltf: GLTF2, file: Path) -> None:
        self.gltf, self.file = gltf, file
        self.accessors = Accessors(gltf, file)
        self.nodes: list[Node] = gltf.nodes or []
        self.ours = (gltf.extras or {}).get(chainrig_extras.KEY)
        self.world = world_matrices(gltf, file)
        if self.ours is not None:  # a face.glb shows an expression
            self.world |= bound_matrices(gltf, self.accessors)
        self.skeleton = Skeleton(gltf, self.accessors, self.world)
        self.pieces = Pieces(len(self.skeleton.names))
        self.parts: list[Part] = []
        self.looks: list[tuple[int, str]] = []  # material and name of the parts that have one
        self.notes: list[str] = []

    def read(self) -> RawRig:
        for number, node in enumerate(self.nodes):
            if node.mesh is not None and number in self.world:
                self._mesh(number, node, self.accessors.item("meshes", node.mesh))
        if not self.parts:
            raise ChainRigError(f"{self.file} shows no mesh of triangles: export the head's mesh with it.")
        joined = self.pieces.joined()
        if joined.merged:
            self.notes.append(f"{joined.merged} corners that the file split at seams are one vertex again.")
        raw = RawRig(
            positions=joined.positions,
            triangles=joined.triangles,
            parts=self.parts,
            part_of_triangle=joined.part_of_triangle,
            uv=joined.uv,
            uv_triangles=joined.uv_triangles,
            shapes=[Shape(name, deltas) for name, deltas in joined.shapes.items()],
            joint_names=self.skeleton.names,
            joint_parents=self.skeleton.parents,
            joint_rest=self.skeleton.rest,
            weights=joined.weights if self.skeleton.names else None,
            unit=1.0,
            notes=self.notes,
        )
        if self.ours is not None:
            return chainrig_extras.applied(raw, self.ours, self.file)
        self.notes.extend(not_drawn(self.gltf, self.looks))
        return vrm.applied(raw, self.gltf, self._targets_by_mesh(), self.file)

    def _mesh(self, number: int, node: Node, mesh: Mesh) -> None:
        names = self._target_names(mesh)
        matrices = self.skeleton.matrices(node.skin) if node.skin is not None else None
        for k, primitive in enumerate(mesh.primitives or []):
            label = mesh.name or node.name or f"mesh{node.mesh}"
            self._primitive(primitive, label if k == 0 else f"{label}.{k}", names, number, matrices)

    def _target_names(self, mesh: Mesh) -> list[str]:
        primitives = mesh.primitives or []
        count = max((len(primitive.targets or []) for primitive in primitives), default=0)
        holders = [mesh.extras or {}, *(primitive.extras or {} for primitive in primitives)]
        given = next((holder["targetNames"] for holder in holders if holder.get("targetNames")), None)
        if given is None:
            return [f"{mesh.name or 'shape'}_{k:02}" for k in range(count)]
        if len(given) != count or len({str(name) for name in given}) != count:
            raise ChainRigError(
                f"{self.file} names {len(given)} morph targets of the mesh '{mesh.name}', which has {count} "
                "(each name must be another): export it again."
            )
        return [str(name) for name in given]

    def _primitive(
        self, primitive: Primitive, label: str, names: list[str], node: int, matrices: np.ndarray | None
    ) -> None:
        attributes = vars(primitive.attributes)
        if primitive.mode not in (None, 4, 5, 6) or attributes.get("POSITION") is None:
            self.notes.append(f"'{label}' is left out: it is no surface of triangles.")
            return
        points = self._finite(attributes["POSITION"], 3, f"positions of '{label}'")
        deltas = {}
        for name, target in zip(names, primitive.targets or [], strict=False):
            accessor = target.get("POSITION") if isinstance(target, dict) else vars(target).get("POSITION")
            if accessor is not None:
                deltas[name] = self._finite(accessor, 3, f"morph target {name} of '{label}'")
                if len(deltas[name]) != len(points):
                    raise self.accessors.damaged(f"morph target {name} moves another number of vertices")
        if matrices is None:
            transform = np.repeat(self.world[node][None], len(points), 0)
            weights = self.skeleton.rigid(node, len(points))
        else:
            slots, shares = self._weights(attributes, len(points), label, len(matrices))
            even = shares / shares.sum(1, keepdims=True)
            transform = np.einsum("vk,vkab->vab", even, matrices[slots])
            weights = self.skeleton.dense(self.nodes[node].skin, slots, shares)
        linear = transform[:, :3, :3]
        texcoord = attributes.get("TEXCOORD_0")
        uv = None
        if texcoord is not None:
            uv = self._finite(texcoord, 2, f"texture coordinates of '{label}'") * [1, -1] + [0, 1]
            upward = attributes.get(chainrig_extras.UPWARD)
            if upward is not None and len(v := self.accessors.array(upward)) == len(uv):
                uv[:, 1] = v[:, 0]
        identity = attributes.get(chainrig_extras.VERTEX)
        self.pieces.add(
            positions=np.einsum("vab,vb->va", linear, points) + transform[:, :3, 3],
            triangles=self._triangles(primitive, len(points), label),
            uv=uv,
            weights=weights,
            shapes={name: np.einsum("vab,vb->va", linear, delta) for name, delta in deltas.items()},
            mesh=node,
            identity=None if identity is None else self.accessors.array(identity)[:, 0],
        )
        self.parts.append(self._part(primitive.material, label))

    def _finite(self, accessor: int, width: int, what: str) -> np.ndarray:
        values = self.accessors.array(accessor).astype(np.float64)
        if values.shape[1] != width or not np.isfinite(values).all():
            raise ChainRigError(
                f"{self.file}: the {what} are not {width} finite numbers each: repair the mesh and export "
                "it again."
            )
        return values

    def _triangles(self, primitive: Primitive, count: int, label: str) -> np.ndarray:
        if primitive.indices is None:
            index = np.arange(count)
        else:
            index = self.accessors.array(primitive.indices)[:, 0].astype(np.int64)
        if index.size and int(index.max()) >= count:
            raise ChainRigError(
                f"{self.file}: a triangle of '{label}' points at vertex {int(index.max())} of {count}: "
                "export it "
                "again."
            )
        if primitive.mode == 5:  # a strip: every other triangle the other way around
            rows = np.stack([index[:-2], index[1:-1], index[2:]], -1)
            rows[1::2] = rows[1::2, [1, 0, 2]]
            return rows
        if primitive.mode == 6:  # a fan
            return np.stack([np.repeat(index[:1], len(index) - 2), index[1:-1], index[2:]], -1)
        return index[: len(index) // 3 * 3].reshape(-1, 3)

    def _weights(
        self, attributes: dict[str, Any], count: int, label: str, joints: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slots in the skin and weights, (V, 4 or 8 …) each."""
        slots, shares, k = [], [], 0
        while attributes.get(f"JOINTS_{k}") is not None:
            slots.append(self.accessors.array(attributes[f"JOINTS_{k}"]).astype(np.int64))
            shares.append(self._finite(attributes[f"WEIGHTS_{k}"], 4, f"skin weights of '{label}'"))
            k += 1
        if not slots:
            raise self.accessors.damaged(f"'{label}' has a skin, but no weights")
        slot, share = np.concatenate(slots, 1), np.concatenate(shares, 1)
        slot = np.where(share > 0, slot, 0)
        if len(slot) != count or int(slot.max()) >= joints:
            raise ChainRigError(
                f"{self.file}: '{label}' is skinned to joint {int(slot.max())} of {joints}: export it again."
            )
        off = np.abs(share.sum(1) - 1)
        if (share < 0).any() or off.max() > SUM_TOLERANCE:
            worst = int(off.argmax())
            raise ChainRigError(
                f"{self.file}: the skin weights of vertex {worst} of '{label}' sum to "
                f"{share[worst].sum():.3g}, "
                "not to 1: normalise them in the tool that it comes from."
            )
        total = share.sum(1, keepdims=True)
        return slot, share / np.where(np.abs(total - 1) > ROUNDING, total, 1)

    def _part(self, material: int | None, label: str) -> Part:
        if material is None:
            return Part(label)
        found = self.accessors.item("materials", material)
        look = found.pbrMetallicRoughness
        name = f"{label} {found.name}" if found.name and found.name not in label else label
        self.looks.append((material, name))
        if look is None:
            return Part(name)
        factor = [float(value) for value in (look.baseColorFactor or [1, 1, 1])[:3]]
        colour = (factor[0], factor[1], factor[2])
        if look.baseColorTexture is None:
            return Part(name, colour=None if colour == (1.0, 1.0, 1.0) else colour)
        texture = self.accessors.item("textures", look.baseColorTexture.index)
        if texture.source is None:
            self.notes.append(f"The picture of '{name}' is of a kind that is not read (KTX or WebP).")
            return Part(name, colour=colour)
        return Part(name, self._picture(texture.source, name), colour)

    def _picture(self, image: int, name: str) -> np.ndarray | None:
        found = self.accessors.item("images", image)
        if found.bufferView is not None:
            data = self.accessors.bytes_of_view(found.bufferView)
        else:
            data = self.accessors.bytes_of_uri(found.uri or "")
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
                return np.asarray(picture.convert("RGB"))
        except Exception as error:  # Pillow has many for a damaged picture
            self.notes.append(f"The picture of '{name}' cannot be read ({error!r:.60}).")
            return None

    def _targets_by_mesh(self) -> list[list[str]]:
        return [self._target_names(mesh) for mesh in self.gltf.meshes or []]
