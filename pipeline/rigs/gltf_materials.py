"""What a glTF file says of its materials that is not drawn: told, so that nobody wonders at the picture."""

from collections.abc import Callable, Iterable

from pygltflib import GLTF2, Material

from pipeline.rigs.parts import kind_of


def not_drawn(gltf: GLTF2, used: Iterable[tuple[int, str]]) -> list[str]:
    """Sentences on transparency, roughness, normal maps and moved textures.

    Args:
        used: material and name of every part; parts that are left out anyway may be among them.
    """
    materials: list[Material] = gltf.materials or []
    parts = [(materials[index], name) for index, name in used if kind_of(name) != "helper"]
    notes = []
    if clear := _named(parts, lambda m: m.alphaMode in ("BLEND", "MASK")):
        notes.append(f"Transparency is not drawn, these are solid: {clear}.")
    left_out = {
        "roughness and metal": _named(parts, _shines),
        "normal maps": _named(parts, lambda m: m.normalTexture is not None),
        "texture transforms": _named(parts, _moves_texture),
    }
    if told := [f"{what} of {names}" for what, names in left_out.items() if names]:
        notes.append(f"Of materials only the base colour is read; left out: {'; '.join(told)}.")
    return notes


def _named(parts: list[tuple[Material, str]], asked: Callable[[Material], bool]) -> str:
    return ", ".join(dict.fromkeys(name for material, name in parts if asked(material)))


def _shines(material: Material) -> bool:
    look = material.pbrMetallicRoughness
    if look is None:
        return False
    told = look.roughnessFactor not in (None, 1.0) or look.metallicFactor not in (None, 0.0, 1.0)
    return told or look.metallicRoughnessTexture is not None


def _moves_texture(material: Material) -> bool:
    look = material.pbrMetallicRoughness
    texture = None if look is None else look.baseColorTexture
    return texture is not None and "KHR_texture_transform" in (texture.extensions or {})
