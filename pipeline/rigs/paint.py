"""Paints a rig that has no albedo: which region of the head's texture each texel shows.

The regions are those of `pipeline.render.head_texture`, so that a painted rig has brows, lips, eyes and skin
whose colours a fit can look for, as those of the shipped head. Parts give eyes, teeth, lashes and the mouth;
landmarks give brows and lips. Without them the detector misses both, and its landmarks there are guesses.
"""

from dataclasses import replace

import numpy as np
import torch

from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.render.head_texture import REGIONS
from pipeline.render.ids import triangle_ids
from pipeline.render.rasterize import barycentrics
from pipeline.rigs.outlines import Outlines, distance, inside, outlines_478

SIDE = 1024
IRIS_M, PUPIL_M = 0.0059, 0.0023
DEEP_M = 0.012  # what lies so far behind the lips' outline is the mouth's inside, or no lip
BROW_DEPTH_M = 0.015
OF_PART = {"hair": "hair", "teeth": "teeth", "tongue": "mouth"}


def painted(rig: Rig, outlines: Outlines | None = None) -> Rig:
    """The rig with `paint`, in its texture coordinates, of which no two parts overlap.

    Args:
        outlines: of brows, lips and lids; the rig's own landmarks say so if omitted, and nobody if it has
        none.

    Raises:
        ChainRigError: the rig has an albedo of its own.
    """
    if rig.albedo is not None:
        raise ChainRigError("The rig has an albedo of its own: it is not painted over.")
    if outlines is None and rig.landmark_triangle is not None:
        outlines = outlines_478(landmark_places(rig))
    part, place, normal, shown = _texels(rig)
    region = np.full(len(part), REGIONS.index("skin"))
    names = np.array(rig.part_names, dtype=object)[part]
    for name in rig.part_names:
        own = names == name
        if name.startswith("eye"):
            region[own] = _eye(place[own])
        elif name.split("_")[0] in OF_PART:
            region[own] = REGIONS.index(OF_PART[name.split("_")[0]])
    if outlines is not None:
        own = np.flatnonzero(names == "skin")
        region[own] = _face(region[own], place[own], normal[own], outlines)
    weights = np.zeros((len(REGIONS), SIDE, SIDE), np.uint8)
    rows, columns = shown
    weights[:, rows, columns] = 255 * (region[None] == np.arange(len(REGIONS))[:, None])
    return replace(rig, paint=torch.from_numpy(_spread(weights)))


def landmark_places(rig: Rig) -> np.ndarray:
    """(L, 3) of the landmarks on the rest mesh."""
    assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
    corners = rig.rest[rig.triangles[rig.landmark_triangle]]
    return (rig.landmark_barycentric[..., None] * corners).sum(-2).double().numpy()


def _texels(rig: Rig) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Part, place (T, 3) and normal (T, 3) on the rest mesh of every texel that shows some of it, and where
    it is."""
    clip = torch.cat([2 * rig.uv - 1, torch.zeros(len(rig.uv), 1), torch.ones(len(rig.uv), 1)], -1)
    ids = triangle_ids(clip[None], rig.uv_triangles, (SIDE, SIDE), "cpu")[0]
    rows, columns = (ids >= 0).nonzero().unbind(-1)
    triangle = ids[rows, columns]
    pixel = torch.stack([columns, rows], -1) + 0.5
    texel = rig.uv * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    corners = torch.cat([SIDE * texel, torch.ones(len(texel), 1)], -1)[rig.uv_triangles[triangle]]
    weights = barycentrics(corners, pixel)
    vertices = rig.rest[rig.triangles[triangle]]  # [T, 3, 3]
    a, b, c = vertices.unbind(1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    place = (weights[..., None] * vertices).sum(1)
    part = rig.part_of_triangle[triangle]
    return part.numpy(), place.double().numpy(), normal.double().numpy(), (rows.numpy(), columns.numpy())


def _eye(place: np.ndarray) -> np.ndarray:
    """Iris and pupil around the foremost point, which is the cornea's."""
    found = np.full(len(place), REGIONS.index("sclera"))
    if len(place):
        middle = (place.min(0) + place.max(0)) / 2
        from_axis = np.linalg.norm((place - middle)[:, :2], axis=1)
        front = place[:, 2] > middle[2]
        found[front & (from_axis < IRIS_M)] = REGIONS.index("iris")
        found[front & (from_axis < PUPIL_M)] = REGIONS.index("pupil")
    return found


def _face(region: np.ndarray, place: np.ndarray, normal: np.ndarray, outlines: Outlines) -> np.ndarray:
    """Brows, lips and the mouth's inside, as seen from the front."""
    region, flat = region.copy(), place[:, :2]
    ahead = normal[:, 2] > 0.1
    lips = outlines.lips
    near = place[:, 2] > lips[:, 2].min() - DEEP_M
    in_lips = inside(flat, lips[:, :2])
    behind = np.abs(flat[:, 0] - lips[:, 0].mean()) < np.ptp(lips[:, 0]) / 2
    behind &= np.abs(flat[:, 1] - lips[:, 1].mean()) < np.ptp(lips[:, 1])
    region[in_lips & near] = REGIONS.index("lip")
    region[behind & (place[:, 2] < lips[:, 2].min() - DEEP_M) & ~ahead] = REGIONS.index("mouth")
    for brow in outlines.brows:
        in_brow = inside(flat, brow[:, :2]) if outlines.brow_width < 0.002 else np.zeros(len(flat), bool)
        closed = np.concatenate([brow, brow[:1]]) if outlines.brow_width < 0.002 else brow
        in_brow |= distance(flat, closed[:, :2]) < outlines.brow_width
        region[in_brow & (place[:, 2] > brow[:, 2].min() - BROW_DEPTH_M)] = REGIONS.index("brow")
    return region


def _spread(weights: np.ndarray, steps: int = 6) -> np.ndarray:
    """Charts grow over their borders, so that coarser levels of the texture show no gaps; the rest is
    skin."""
    weights = weights.copy()
    for _ in range(steps):
        empty = ~weights.any(0)
        for axis, shift in ((1, 1), (1, -1), (2, 1), (2, -1)):
            moved = np.roll(weights, shift, axis)
            take = empty & moved.any(0) & ~weights.any(0)
            weights[:, take] = moved[:, take]
    weights[REGIONS.index("skin"), ~weights.any(0)] = 255
    return weights
