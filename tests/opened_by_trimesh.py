"""What another library finds in a .glb of a person."""

import trimesh
from trimesh.exchange import gltf

from pipeline.outputs.person_glb import HEAD


def has_a_posed_head(written: bytes) -> bool:
    scene = gltf.load_glb(trimesh.util.wrap_as_stream(written))
    return scene["class"] == "Scene" and any(node.get("frame_to") == HEAD for node in scene["graph"])


def blueness(written: bytes) -> int:
    """Blue less red, of 255, in the middle of the texture."""
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(written), file_type="glb")
    picture = next(iter(scene.geometry.values())).visual.material.baseColorTexture.convert("RGB")
    red, _, blue = picture.getpixel((picture.width // 2, picture.height // 2))
    return blue - red
