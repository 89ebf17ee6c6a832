"""A .glb of ChainRig as plain arrays: what `stage.py` says in USD.

Khronos' glTF 2.0 specification. Matrices act on columns; quaternions are x y z w.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from pygltflib import GLTF2, Node

from pipeline.errors import ChainRigError
from pipeline.outputs.usd.source_mesh import Mesh, joined_mesh
from pipeline.rigs.gltf import damage_told, document, require_plain
from pipeline.rigs.gltf_accessors import Accessors
from pipeline.rigs.gltf_nodes import world_matrices

PATHS = {"translation": [0.0, 0.0, 0.0], "rotation": [0.0, 0.0, 0.0, 1.0], "scale": [1.0, 1.0, 1.0]}
TRIANGLES = 4  # mode of a primitive
REMAKE = "take it through 'chainrig rig import' and 'chainrig rig export' first"
BAKE = "export it with one animation, baked to linear keys at every frame"
NO_CAMERA = "export it without that camera"


@dataclass(frozen=True)
class Track:
    """A value over time.

    Attributes:
        still: `(width,)` as the file opens.
        keys: `(T, width)` at the keys of the animation; None if that leaves it alone.
    """

    still: np.ndarray
    keys: np.ndarray | None = None


@dataclass(frozen=True)
class Lens:
    """A perspective camera: vertical angle of view in radians, width by height, and depths in metres."""

    fov: float
    aspect: float
    near: float
    far: float | None


@dataclass(frozen=True)
class Place:
    """A node. `parent` is a key of `Source.places`, or None; `tracks` are of glTF's paths."""

    name: str
    parent: int | None
    tracks: dict[str, Track]
    lens: Lens | None = None


@dataclass(frozen=True)
class Material:
    """A look: linear colour `(3,)`, and the picture that it is multiplied with, as it lies in the file."""

    name: str
    colour: list[float]
    roughness: float
    metallic: float
    picture: bytes | None
    suffix: str = ""


@dataclass(frozen=True)
class Source:
    """What a .glb shows.

    Attributes:
        seconds: `(T,)` of the keys, rising; T is 0 without an animation.
        places: nodes by number, parents first; those below joints that are no joints are left out.
        joints: of them, parents first.
        bound: `(J, 4, 4)` where joints were when the mesh was bound to them.
        holder: the node of the mesh.
        weights: of the mesh's morph targets.
    """

    seconds: np.ndarray
    places: dict[int, Place]
    joints: list[int]
    bound: np.ndarray
    holder: int
    mesh: Mesh
    weights: Track
    materials: list[Material]


def read_source(file: Path) -> Source:
    """Reads a .glb file.

    Raises:
        ChainRigError: it cannot be read or is damaged, or is of a kind that ChainRig does not write.
    """
    gltf = document(file)
    require_plain(gltf, file)
    with damage_told(file):
        return _Reader(gltf, file).read()


def unlike_ours(file: Path, what: str, do: str) -> ChainRigError:
    return ChainRigError(f"{file} {what}, which no file of ChainRig does: {do}.")


class _Reader:
    def __init__(self, gltf: GLTF2, file: Path) -> None:
        self.gltf, self.file = gltf, file
        self.accessors = Accessors(gltf, file)
        self.nodes: list[Node] = gltf.nodes or []
        self.shown = world_matrices(gltf, file)  # parents first
        self.parent = {child: n for n in self.shown for child in self.nodes[n].children or []}

    def read(self) -> Source:
        holders = [number for number in self.shown if self.nodes[number].mesh is not None]
        if len(holders) != 1:
            raise unlike_ours(self.file, f"shows {len(holders) or 'no'} meshes", REMAKE)
        (holder,) = holders
        shape = self.accessors.item("meshes", self.nodes[holder].mesh)
        if any(primitive.mode not in (None, TRIANGLES) for primitive in shape.primitives):
            raise unlike_ours(self.file, "has lines, points, strips or fans", REMAKE)
        joints, bound = self._skin(self.nodes[holder].skin)
        seconds, moving = self._animation()
        mesh = joined_mesh(self.gltf, self.accessors, holder, joints)
        targets = len(mesh.targets)
        weights = shape.weights or [0.0] * targets
        kept = [n for n in self.shown if n in joints or not self._carried(n, joints)]
        places = {n: self._place(n, moving) for n in kept}
        if any(self.nodes[number].camera is not None for number in self.shown.keys() - places):
            raise unlike_ours(self.file, "has a camera on a joint", NO_CAMERA)
        return Source(
            seconds=seconds,
            places=places,
            joints=joints,
            bound=bound,
            holder=holder,
            mesh=mesh,
            weights=_track(weights, moving.get((holder, "weights")), targets),
            materials=[self._material(k) for k in range(len(self.gltf.materials or []))],
        )

    def _skin(self, skin: int | None) -> tuple[list[int], np.ndarray]:
        """Joints, parents first, and where they were bound."""
        if skin is None:
            return [], np.zeros((0, 4, 4))
        found = self.accessors.item("skins", skin)
        given = list(found.joints or [])
        depth: dict[int, int] = {}
        for number in self.shown:
            depth[number] = depth.get(self.parent.get(number, -1), 0) + 1
        shown: list[int] = [joint for joint in given if joint in depth]
        joints = sorted(shown, key=lambda joint: depth[joint])
        if len(set(joints)) != len(given):
            raise self.accessors.damaged("its skin has joints twice, or that its scene does not show")
        tops = {self.parent.get(joint) for joint in joints} - set(joints)
        if len(tops) != 1 or self._carried(tops.pop(), joints):
            raise unlike_ours(self.file, "has joints in several places", REMAKE)
        inverse = np.tile(np.eye(4), (len(given), 1, 1))
        if found.inverseBindMatrices is not None:
            inverse = self.accessors.array(found.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        if inverse.shape != (len(given), 4, 4) or not np.isfinite(inverse).all():
            raise self.accessors.damaged("its skin has other inverse bind matrices than joints")
        order = [given.index(joint) for joint in joints]
        return joints, np.linalg.inv(inverse[order].astype(np.float64))

    def _carried(self, number: int | None, joints: Iterable[int]) -> bool:
        while number is not None and number not in joints:
            number = self.parent.get(number)
        return number is not None

    def _animation(self) -> tuple[np.ndarray, dict[tuple[int, str], np.ndarray]]:
        """Seconds of all keys; rows of values by node and path."""
        animations = self.gltf.animations or []
        if len(animations) > 1:
            raise unlike_ours(self.file, f"has {len(animations)} animations", BAKE)
        seconds, moving = np.zeros(0), {}
        for channel in animations[0].channels if animations else []:
            sampler, target = animations[0].samplers[channel.sampler], channel.target
            if target.node not in self.shown:
                continue
            times = self.accessors.array(sampler.input)[:, 0].astype(np.float64)
            if (sampler.interpolation or "LINEAR") != "LINEAR" or target.path not in (*PATHS, "weights"):
                raise unlike_ours(self.file, "has keys that are not joined by straight lines", BAKE)
            if len(seconds) and not np.array_equal(times, seconds):
                raise unlike_ours(self.file, "has keys of its nodes at different times", BAKE)
            if not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
                raise self.accessors.damaged("the times of its animation do not rise")
            seconds = times
            values = self.accessors.array(sampler.output).astype(np.float64)
            moving[target.node, target.path] = values.reshape(len(times), -1)
        return seconds, moving

    def _place(self, number: int, moving: dict[tuple[int, str], np.ndarray]) -> Place:
        node = self.nodes[number]
        still = _parts(node)
        tracks = {
            path: _track(still[path], moving.get((number, path)), len(rest)) for path, rest in PATHS.items()
        }
        return Place(node.name or f"node {number}", self.parent.get(number), tracks, self._lens(node.camera))

    def _lens(self, camera: int | None) -> Lens | None:
        if camera is None:
            return None
        seen = self.accessors.item("cameras", camera).perspective
        if seen is None:
            raise unlike_ours(self.file, "has a camera without perspective", NO_CAMERA)
        return Lens(float(seen.yfov), float(seen.aspectRatio or 1.0), float(seen.znear), seen.zfar)

    def _material(self, number: int) -> Material:
        found = self.accessors.item("materials", number)
        look = found.pbrMetallicRoughness
        name = found.name or f"material {number}"
        if look is None:
            return Material(name, [1.0, 1.0, 1.0], 1.0, 1.0, None)
        picture, suffix = None, ""
        if look.baseColorTexture is not None:
            picture, suffix = self._picture(look.baseColorTexture.index)
        return Material(
            name=name,
            colour=[float(each) for each in (look.baseColorFactor or [1.0, 1.0, 1.0])[:3]],
            roughness=_or(look.roughnessFactor, 1.0),
            metallic=_or(look.metallicFactor, 1.0),
            picture=picture,
            suffix=suffix,
        )

    def _picture(self, texture: int | None) -> tuple[bytes, str]:
        image = self.accessors.item("images", self.accessors.item("textures", texture).source)
        if image.bufferView is not None:
            data = self.accessors.bytes_of_view(image.bufferView)
        else:
            data = self.accessors.bytes_of_uri(image.uri or "")
        for start, suffix in ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png")):
            if data.startswith(start):
                return data, suffix
        raise unlike_ours(self.file, "has a texture of another kind", "export it as JPEG or PNG")


def _or(value: Any, instead: float) -> float:
    return instead if value is None else float(value)


def _track(still: list[float], keys: np.ndarray | None, width: int) -> Track:
    """A track of `width` columns.

    Raises:
        ValueError: there are others, or numbers that are not finite.
    """
    start = np.asarray(still, np.float64)
    if keys is not None and not (keys.shape[1] == width and np.isfinite(keys).all()):
        raise ValueError("values of an animation")
    if start.shape != (width,) or not np.isfinite(start).all():
        raise ValueError("values of a node")
    return Track(start, keys)


def _parts(node: Node) -> dict[str, list[float]]:
    """Translation, rotation and scale of a node, whichever way they are said."""
    if not node.matrix:
        return {path: list(getattr(node, path) or rest) for path, rest in PATHS.items()}
    matrix = np.array(node.matrix, np.float64).reshape(4, 4).T
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    scale[0] *= np.sign(np.linalg.det(matrix[:3, :3])) or 1.0
    turn = roma.rotmat_to_unitquat(torch.from_numpy(matrix[:3, :3] / scale))
    return {"translation": matrix[:3, 3].tolist(), "rotation": turn.tolist(), "scale": scale.tolist()}
