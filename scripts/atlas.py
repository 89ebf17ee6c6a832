"""Packs the UV charts of the head's parts into one square texture."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MARGIN = 0.006  # of the atlas, around every chart: room for bilinear lookups and dilation
HEAD_SIZE = (0.98, 0.7)  # width and height of the face's chart
ZOOM = (4.0, 2.5)  # how much the face's chart is magnified around the nose, at the cost of its back
NOSE = (0.5, 0.33)  # where that is in the chart

# How large the small charts are, against the size that they have in MakeHuman's own layout.
_SCALE = {"skin": 0.7, "eye": 9.0, "lashes": 2.2, "teeth": 2.2, "tongue": 2.2}


def pack_charts(
    uv: np.ndarray, triangles: np.ndarray, part_of_triangle: np.ndarray, part_names: list[str]
) -> np.ndarray:
    """A new atlas: the face's chart upright along the lower edge, all others on shelves above it.

    Args:
        uv: (T, 2) of the source layout, in which the crown of the head points to −u.
        triangles: (F, 3) indices into uv.
        part_of_triangle: (F,) index into part_names.

    Returns:
        uv (T, 2) in [0, 1], v up.
    """
    edges = triangles[:, [0, 1, 1, 2]].reshape(-1, 2).T
    graph = coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(len(uv), len(uv)))
    count, chart_of_uv = connected_components(graph, directed=False)

    charts = []
    for chart in range(count):
        members = np.flatnonzero(chart_of_uv == chart)
        part = part_names[part_of_triangle[np.argmax(chart_of_uv[triangles[:, 0]] == chart)]]
        flat = uv[members] * _SCALE[part.split("_")[0]]
        charts.append((members, flat - flat.min(0)))
    face = int(np.argmax([len(members) for members, _ in charts]))
    members, flat = charts.pop(face)
    flat = np.stack([flat[:, 1], flat[:, 0].max() - flat[:, 0]], 1)  # upright, not mirrored
    placed = np.empty_like(uv)
    placed[members] = MARGIN + _zoomed(flat / flat.max(0)) * HEAD_SIZE

    # Shelves, tallest chart first.
    left, floor, height = MARGIN, HEAD_SIZE[1] + 3 * MARGIN, 0.0
    for members, flat in sorted(charts, key=lambda chart: -chart[1][:, 1].max()):
        width = flat[:, 0].max()
        if left + width > 1 - MARGIN:
            left, floor, height = MARGIN, floor + height + 2 * MARGIN, 0.0
        placed[members] = flat + [left, floor]
        left += width + 2 * MARGIN
        height = max(height, flat[:, 1].max())
    if placed.max() > 1:
        raise ValueError(f"The atlas overflows ({placed.max():.3f} > 1): lower the chart scales.")
    return placed


def _zoomed(unit: np.ndarray) -> np.ndarray:
    """(P, 2) in [0, 1] → the same, each axis stretched around the nose by a monotone map."""
    zoom, nose = np.array(ZOOM), np.array(NOSE)
    least, most = np.arctan(-zoom * nose), np.arctan(zoom * (1 - nose))
    return (np.arctan(zoom * (unit - nose)) - least) / (most - least)
