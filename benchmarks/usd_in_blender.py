"""What Blender shows of a .usdc of `chainrig usd`, beside the .glb that it was made from.

In an environment with bpy alone: python usd_in_blender.py FILE.glb FILE.usdc OUT.json --fps 24

Blender reads both with its own importers. Vertices are compared in the scene's space, each with the nearest:
glTF splits them at seams. Blender takes no frame rate from USD, so it is told that of the keys.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np


def opened(file: str, fps: int) -> list[Any]:
    """The meshes of a file, in an empty scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = fps
    if file.endswith(".glb"):
        bpy.ops.import_scene.gltf(filepath=file)
    else:
        bpy.ops.wm.usd_import(filepath=file)
    return [one for one in bpy.context.scene.objects if one.type == "MESH" and len(one.data.vertices) > 100]


def shown(meshes: list[Any], frame: int) -> np.ndarray:
    """(V, 3) metres."""
    bpy.context.scene.frame_set(frame)
    graph = bpy.context.evaluated_depsgraph_get()
    (mesh,) = (one.evaluated_get(graph) for one in meshes)
    found = np.array([vertex.co for vertex in mesh.to_mesh().vertices])
    matrix = np.array(mesh.matrix_world)
    return found @ matrix[:3, :3].T + matrix[:3, 3]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """From each vertex to the nearest of the other, at most."""
    return max(float(np.sqrt(((other - vertex) ** 2).sum(1).min())) for vertex in one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("glb", "usd", "out"):
        parser.add_argument(name)
    parser.add_argument("--fps", type=int, default=24)
    asked = parser.parse_args()
    meshes = opened(asked.usd, asked.fps)
    (camera,) = (one.data for one in bpy.context.scene.objects if one.type == "CAMERA")
    keys = meshes[0].data.shape_keys.key_blocks
    last = bpy.context.scene.frame_end
    frames = sorted({last * k // 4 for k in range(5)})
    found = {
        "blender": bpy.app.version_string,
        "frames": frames,
        "shape_keys": len(keys) - 1,
        "first_names": [key.name for key in keys[1:4]],
        "sensor_mm": [camera.sensor_width, camera.sensor_height],
        "fov_rad": camera.angle_y,
        "materials": [slot.material.name for slot in meshes[0].material_slots],
    }
    usd = [shown(meshes, frame) for frame in frames]
    meshes = opened(asked.glb, asked.fps)
    found["apart_m"] = [apart(one, shown(meshes, frame)) for one, frame in zip(usd, frames, strict=True)]
    text = json.dumps(found, indent=1) + "\n"
    Path(asked.out).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
