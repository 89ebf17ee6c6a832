"""Wavefront OBJ: vertices, polygons, texture coordinates and materials of one file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import ChainRigError
from pipeline.rigs.raw import Part
from pipeline.rigs.triangulate import triangulated


@dataclass(frozen=True)
class ObjMesh:
    """A mesh, its polygons cut into triangles.

    Attributes:
        positions: (V, 3).
        triangles: (F, 3).
        uv, uv_triangles: (T, 2) and (F, 3), or None where some polygon has no texture coordinates.
        part_of_triangle: (F,) index into parts: materials, or objects and groups where there are none.
    """

    positions: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray | None
    uv_triangles: np.ndarray | None
    parts: list[Part]
    part_of_triangle: np.ndarray


def read_positions(file: Path) -> np.ndarray:
    """(V, 3): the vertices only, which is all that a shape's file is read for.

    Raises:
        ChainRigError: the file cannot be read, or a vertex is not three finite numbers.
    """
    rows = [line[2:] for line in _lines(file) if line.startswith("v ")]
    try:
        found = np.loadtxt(rows, usecols=(0, 1, 2), ndmin=2) if rows else np.zeros((0, 3))
    except (ValueError, IndexError):
        raise ChainRigError(f"{file}: a vertex is not three numbers: export it again.") from None
    if not np.isfinite(found).all():
        raise ChainRigError(f"{file}: a vertex is not finite: repair the shape and export it again.")
    return found


def read_obj(file: Path) -> ObjMesh:
    """Reads a mesh.

    Raises:
        ChainRigError: the file cannot be read, has no polygons, or points at vertices that are not there.
    """
    positions = read_positions(file)
    uv: list[list[str]] = []
    polygons: list[list[int]] = []
    uv_polygons: list[list[int]] = []
    labels: list[tuple[str, str]] = []
    material, group, seen, library = "", "", 0, ""
    try:
        for line in _lines(file):
            words = line.split()
            kind = words[0] if words else ""
            if kind == "v":
                seen += 1
            elif kind == "vt":
                uv.append(words[1:3])
            elif kind == "f":
                corners = [word.split("/") for word in words[1:]]
                polygons.append([_index(corner[0], seen) for corner in corners])
                uv_polygons.append(
                    [
                        _index(corner[1], len(uv)) if len(corner) > 1 and corner[1] else -1
                        for corner in corners
                    ]
                )
                labels.append((material, group))
            elif kind == "usemtl":
                material = " ".join(words[1:])
            elif kind in ("o", "g"):
                group = " ".join(words[1:])
            elif kind == "mtllib":
                library = " ".join(words[1:])
        coordinates = np.array(uv, np.float64).reshape(len(uv), 2)
    except (ValueError, IndexError):
        raise ChainRigError(f"{file}: a line is not as OBJ has it: export it again.") from None
    if not polygons:
        raise ChainRigError(f"{file} has no polygons: export the mesh with its faces.")
    _require_inside(file, polygons, len(positions), "vertex", -0.5)
    _require_inside(file, uv_polygons, len(coordinates), "texture coordinate", -1.5)
    owner, corner = triangulated(polygons, positions)
    if not len(owner):
        raise ChainRigError(f"{file} has no polygon of three corners: export the mesh with its faces.")

    def of_corners(lists: list[list[int]]) -> np.ndarray:
        return np.array([[lists[o][c] for c in cut] for o, cut in zip(owner, corner, strict=True)])

    textured = bool(len(coordinates)) and all(min(indices) >= 0 for indices in uv_polygons)
    by_material = len({material for material, _ in labels}) > 1 or not any(group for _, group in labels)
    names = [material if by_material else group for material, group in labels]
    distinct = list(dict.fromkeys(names))
    number = {name: k for k, name in enumerate(distinct)}
    looks = _materials(file, library) if by_material else {}
    return ObjMesh(
        positions,
        of_corners(polygons),
        coordinates if textured else None,
        of_corners(uv_polygons) if textured else None,
        [Part(name or file.stem, looks.get(name)) for name in distinct],
        np.array([number[names[o]] for o in owner]),
    )


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as refused:
        raise ChainRigError(f"{file} cannot be read ({refused.strerror}): check the path.") from None
    return text.replace("\\\n", " ").splitlines()


def _index(word: str, count: int) -> int:
    """From 0; the file counts from 1, or backward from the latest."""
    number = int(word)
    return number - 1 if number > 0 else count + number


def _require_inside(file: Path, polygons: list[list[int]], count: int, what: str, low: float) -> None:
    flat = [index for polygon in polygons for index in polygon]
    outside = next((index for index in flat if not low < index < count), None)
    if outside is not None:
        raise ChainRigError(f"{file}: a polygon points at {what} {outside + 1} of {count}: export it again.")


def _materials(file: Path, library: str) -> dict[str, np.ndarray]:
    """Material → (H, W, 3) uint8 picture, of those that have one beside the file."""
    folder = file.parent.resolve()
    place = (folder / library).resolve()
    if not library or not place.is_relative_to(folder) or not place.is_file():
        return {}
    found, name = {}, ""
    for line in _lines(place):
        words = line.split()
        if words[:1] == ["newmtl"]:
            name = " ".join(words[1:])
        if words[:1] == ["map_Kd"]:
            picture = (folder / words[-1].replace("\\", "/")).resolve()
            if not picture.is_relative_to(folder):
                raise ChainRigError(
                    f"{place} asks for '{words[-1][:80]}', which is outside of its folder: put it beside "
                    "the mesh."
                )
            if picture.is_file():
                with Image.open(picture, formats=("PNG", "JPEG", "TIFF", "BMP", "TGA", "WEBP")) as image:
                    found[name] = np.asarray(image.convert("RGB"))
    return found
