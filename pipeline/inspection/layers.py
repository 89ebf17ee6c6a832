"""One layer's own Jacobian ∂X_{j+1}/∂X_j, in part: the whole of ∂pixels/∂vertices has 3 billion entries."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.derivatives.automatic import jacobian
from pipeline.derivatives.axes import Axis, Choice, input_axes, output_axes
from pipeline.derivatives.jacobian import Jacobian
from pipeline.derivatives.sparse_picture import picture_jacobian
from pipeline.errors import ChainRigError
from pipeline.inspection.face_regions import landmarks_of
from pipeline.inspection.scene import Scene

# Points that everybody knows: eye corners, tip of the nose, corners and middle of the lips, chin.
KNOWN_LANDMARKS = ("33", "133", "362", "263", "1", "61", "291", "13", "14", "152")
LARGEST = 100_000_000  # entries
MOST_SHOWN = 24  # pictures on a sheet


def layer_jacobian(
    scene: Scene, name: str, rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> Jacobian:
    """∂X2/∂X1 of "deform", ∂X3/∂X2 of "render" or ∂X4/∂X3 of "detect", at the scene's controls.

    Args:
        rows: names or patterns on the first axis of the output; all if empty, but of the detector's landmarks
            a few well-known ones.
        columns: the same of the input: controls, vertices (a few well-known ones) or rows of pixels.

    Raises:
        ChainRigError: there is no such layer, row or column, or the part is too large.
    """
    layers = {layer.name: layer for layer in scene.chain}
    if name not in layers:
        raise ChainRigError(f"--layer takes {', '.join(layers)} or all, not '{name}'.")
    at = list(layers).index(name)
    with torch.no_grad():
        stations = scene.chain.stations(scene.x.float())
    layer, x, y = layers[name], stations[at], stations[at + 1]
    chosen_rows, chosen_columns = list(rows), list(columns)
    if name == "detect" and not rows:
        chosen_rows = list(KNOWN_LANDMARKS)
    elif name == "detect":
        chosen_rows = landmarks_of(rows, scene.rig, scene.detector.scheme)
    if name == "render" and not columns:
        chosen_columns = [str(vertex) for vertex in known_vertices(scene)]
    kept_rows = _choice(output_axes(layer, y)[0].name, chosen_rows)
    kept_columns = _choice(input_axes(layer, x)[0].name, chosen_columns)
    size = 1
    for axes, chosen in ((output_axes(layer, y), kept_rows), (input_axes(layer, x), kept_columns)):
        for axis in axes:
            size *= len(axis.find(chosen[axis.name])) if axis.name in chosen else len(axis)
    if size > LARGEST:
        raise ChainRigError(
            f"This part of the Jacobian of {name} has {size:,} entries: choose fewer --rows or --columns."
        )
    return jacobian(layer, x, rows=kept_rows, columns=kept_columns)


def whole_picture(scene: Scene) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All of ∂X3/∂X2, sparse: the arrays of its file, and what to tell of them.

    Raises:
        ChainRigError: the scene is ray traced.
    """
    deform, renderer = list(scene.chain)[:2]
    with torch.no_grad():
        vertices = deform(scene.x.float())
    matrix = picture_jacobian(renderer, vertices)  # type: ignore[arg-type]  # it asks for itself
    (row, column), values = matrix.indices().int().numpy(), matrix.values().numpy()
    arrays = {
        "render.row": row,
        "render.column": column,
        "render.values": values,
        "render.shape": np.array(matrix.shape),
        "render.row_axes": np.array(["row", "column", "rgb"]),
        "render.column_axes": np.array(["vertex", "xyz"]),
    }
    share = len(values) / matrix.numel()
    told = {
        "schema": "chainrig.layer_jacobian/1",
        "title": scene.title,
        "layer": "render",
        "shape": list(matrix.shape),
        "nonzeros": len(values),
        "in_short": [f"render: {len(values):,} of {matrix.numel():,} entries are not zero ({share:.2%})."],
    }
    return arrays, told


def known_vertices(scene: Scene) -> list[int]:
    """The vertices nearest to the well-known landmarks."""
    rig = scene.rig
    assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
    found = []
    for label in KNOWN_LANDMARKS:
        corner = int(rig.landmark_barycentric[int(label)].argmax())
        found.append(int(rig.triangles[rig.landmark_triangle[int(label)], corner]))
    return list(dict.fromkeys(found))


def pictures(found: Jacobian, name: str, picture: Tensor) -> list[tuple[str, Image.Image]]:
    """(title, picture): what a vertex does to pixels, or pixels to a landmark, bright over a dim view.

    Args:
        name: "render" or "detect"; the Jacobian of "deform" has no pixels.
        picture: `(H, W, 3)` X3.
    """
    if name == "render":
        maps = found.values.square().sum((-1, 2)).sqrt().movedim(-1, 0)  # [vertex, H, W]
        labels = [f"vertex {label}" for label in found.columns[0].labels]
    elif name == "detect":
        maps = found.values[:, :2].square().sum((1, -1)).sqrt()  # [landmark, H, W]
        labels = [f"landmark {label}" for label in found.rows[0].labels]
    else:
        return []
    if maps.shape[1:] != picture.shape[:2]:
        return []  # rows of pixels were left out
    return [(label, _glow(picture, one)) for label, one in zip(labels, maps, strict=True)][:MOST_SHOWN]


def layer_document(found: Jacobian, name: str, title: str, at: str) -> dict[str, Any]:
    """For `json.dumps`: axes, and the norms of rows and columns by the names of their first axes."""
    square = found.matrix.square()
    rows, columns = _norms(found.rows[0], square.sum(-1)), _norms(found.columns[0], square.sum(-2))
    kind, strongest = (found.rows, rows) if name == "detect" else (found.columns, columns)
    leaders = ", ".join(list(strongest)[:3])
    return {
        "schema": "chainrig.layer_jacobian/1",
        "title": title,
        "at": at,
        "layer": name,
        "rows": {"axes": [axis.name for axis in found.rows], "norms": rows},
        "columns": {"axes": [axis.name for axis in found.columns], "norms": columns},
        "in_short": [f"{name}: the largest derivatives are those of {kind[0].name} {leaders}."],
    }


def _norms(axis: Axis, square: Tensor) -> dict[str, float]:
    """By label, the largest first; `square` `(N,)` are sums of squares along the flattened axes."""
    norms = square.reshape(len(axis), -1).sum(-1).sqrt().tolist()
    pairs = sorted(zip(axis.labels, norms, strict=True), key=lambda pair: -pair[1])
    return {label: float(f"{norm:.6g}") for label, norm in pairs}


def _glow(picture: Tensor, strength: Tensor) -> Image.Image:
    grey = picture.clamp(0, 1).mean(-1, keepdim=True) * 0.45
    bright = (strength / strength.max().clamp(min=1e-12)).pow(0.7)[..., None]
    mixed = grey * (1 - bright) + bright * torch.tensor([1.0, 0.72, 0.2])
    return Image.fromarray((mixed.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def _choice(axis: str, names: Sequence[str]) -> Mapping[str, Choice]:
    return {axis: list(names)} if names else {}
