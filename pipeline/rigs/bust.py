"""Where a head ends: a rig is cut off somewhere below the face, and a picture need not show the scissors."""

import torch
from torch import Tensor

from pipeline.deform.rig import Rig
from pipeline.render.surface import neighbours

FADE = 0.06  # metres, from the cut to where the skin is whole


def opacity(rig: Rig) -> Tensor:
    """`(V,)` float32 in [0, 1]: 0 at the cut, 1 far from it; 1 everywhere where nothing is cut.

    A cut is an edge of the mesh that has a triangle on one side only and lies below the whole face: the
    mouth's, lids' and nose's openings are none.
    """
    whole = torch.ones(len(rig.rest))
    if rig.landmark_barycentric is None:
        return whole
    corners = rig.rest[rig.triangles[rig.landmark_triangle]]
    lowest = (rig.landmark_barycentric[..., None] * corners).sum(-2)[:, 1].min()
    alone = neighbours(rig.triangles) < 0  # (F, 3): of the edge opposite to a corner
    ends = torch.stack([rig.triangles.roll(-1, 1), rig.triangles.roll(-2, 1)], -1)[alone]  # (E, 2)
    edge = ends[(rig.rest[ends][..., 1] < lowest).all(-1)].unique()
    if not len(edge):
        return whole
    away = torch.cdist(rig.rest, rig.rest[edge]).amin(-1) / FADE
    share = away.clamp(0, 1)
    return share.square() * (3 - 2 * share)
