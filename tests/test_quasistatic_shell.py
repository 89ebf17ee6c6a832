"""Flesh under a skin: shells of tetrahedra that fill thin and folded places without inverting."""

import numpy as np
import pytest

from pipeline.deform.quasistatic.shell import build_shell
from pipeline.errors import ChainRigError


def sphere(rings: int = 12, radius: float = 0.04, flat: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed surface, `flat` as high as wide, seen from outside counter-clockwise."""
    points, triangles, around = [], [], 2 * rings
    for i in range(rings + 1):
        for j in range(around):
            polar, turn = np.pi * (i + 0.5) / (rings + 1), 2 * np.pi * j / around
            points.append((np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), flat * np.cos(polar)))
    for i in range(rings):
        for j in range(around):
            a, b = i * around + j, i * around + (j + 1) % around
            triangles += [(a, a + around, b + around), (a, b + around, b)]
    top, bottom = len(points), len(points) + 1
    points += [(0, 0, flat), (0, 0, -flat)]
    for j in range(around):
        k = (j + 1) % around
        triangles += [(top, j, k), (bottom, rings * around + k, rings * around + j)]
    return radius * np.array(points), np.array(triangles)


def volumes(points: np.ndarray, tets: np.ndarray) -> np.ndarray:
    edges = points[tets[:, 1:]] - points[tets[:, :1]]
    return np.einsum("ti,ti->t", edges[:, 0], np.cross(edges[:, 1], edges[:, 2])) / 6


@pytest.mark.parametrize("flat", [1.0, 0.1])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_shell_fills_the_space_below_the_skin_once(flat: float, layers: int) -> None:
    points, triangles = sphere(flat=flat)
    shell = build_shell(points, triangles, np.ones(len(triangles), dtype=bool), layers)
    assert len(shell.tets) == 3 * layers * len(triangles) and not shell.rim.any()
    nodes = shell.nodes(points[shell.vertices])
    each = volumes(nodes, shell.tets)
    assert each.min() > 0
    count = len(shell.vertices)
    inner = np.concatenate([shell.triangles, shell.triangles + layers * count])
    signed = np.einsum("fi,fi->f", nodes[inner[:, 0]], np.cross(nodes[inner[:, 1]], nodes[inner[:, 2]])) / 6
    between = signed[: len(triangles)].sum() - signed[len(triangles) :].sum()
    assert each.sum() == pytest.approx(between)  # no gap and no overlap between neighbours' prisms
    assert 0 < shell.thickness.min() and shell.thickness.max() <= 0.012 + 1e-12


def test_flesh_from_the_two_sides_of_something_thin_does_not_meet() -> None:
    """A lens 8 mm thick: each side gets less than half of it, and less towards the edge."""
    points, triangles = sphere(flat=0.1)
    shell = build_shell(points, triangles, np.ones(len(triangles), dtype=bool))
    skin = points[shell.vertices]
    inner = shell.nodes(skin)[-len(skin) :]
    assert (np.sign(inner[:, 2]) == np.sign(skin[:, 2]))[np.abs(skin[:, 2]) > 1e-4].all()
    rim = np.hypot(*skin.T[:2]) > 0.95 * 0.04
    assert shell.thickness[rim].max() < 0.5 * shell.thickness.max()


def test_the_border_of_a_region_is_its_rim() -> None:
    points, triangles = sphere()
    region = points[triangles][:, :, 2].min(1) > 0
    shell = build_shell(points, triangles, region)
    on_rim = points[shell.vertices[shell.rim]][:, 2]
    assert shell.rim.any() and on_rim.max() < points[shell.vertices][:, 2].min() + 0.005


def test_a_skin_folded_onto_itself_is_refused() -> None:
    points, triangles = sphere()
    points[0] = 3 * points[1] - 2 * points[0] + [0, 0, 0.03]
    points[2] = points[1] * 0.2
    with pytest.raises(ChainRigError, match="folds back on itself at vertex|too folded"):
        build_shell(points, triangles, np.ones(len(triangles), dtype=bool))
