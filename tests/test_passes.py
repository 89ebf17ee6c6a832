"""The steps of a renderer, on scenes whose answers are known."""

import pytest
import torch
from scenes import grid, head_like, square_camera, two_balls
from torch import Tensor

from pipeline.render import srgb
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.passes import DARK, coverage, passes
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

SIZE = 32


def plane(tilt: float = 0.0, cells: int = 2, samples: int = 1, **light: float) -> tuple[Renderer, Tensor]:
    """A square, half the view across, 1 m away, turned about the vertical axis by `tilt`."""
    vertices, uv, triangles = grid(cells, 0.5)
    turn = torch.tensor([tilt], dtype=torch.float64)
    cosine, sine, zero = turn.cos(), turn.sin(), torch.zeros(1).double()
    rows = [cosine, zero, sine, zero, zero + 1, zero, -sine, zero, cosine]
    material = Material.plain(torch.full((1, 1, 3), 0.5))
    ambient = Light(
        torch.full((3,), light.get("ambient", 1.0)), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])
    )
    renderer = Renderer(Surface(triangles), material, square_camera(SIZE), ambient, samples=samples).double()
    return renderer, vertices @ torch.cat(rows).view(3, 3).T - torch.tensor([0, 0, 1.0])


def pictures(renderer: Renderer, vertices: Tensor) -> dict[str, Tensor]:
    return {each.name: each.picture for each in passes(renderer, vertices)}


def test_the_picture_comes_first_and_is_the_renderers() -> None:
    renderer, vertices = head_like(SIZE)
    first = passes(renderer, vertices)[0]
    assert first.name == "picture" and torch.equal(first.picture, renderer(vertices))


@pytest.mark.parametrize(
    ("tilt", "color"), [(0.0, (0.5, 0.5, 1.0)), (0.5, (0.5 + 0.5 * 0.4794, 0.5, 0.9388))]
)
def test_normals_are_colours_of_directions(tilt: float, color: tuple[float, ...]) -> None:
    """0.5 rad to the right: n = (sin, 0, cos)."""
    normals = pictures(*plane(tilt))["normals"]
    assert torch.allclose(normals[SIZE // 2, SIZE // 2], torch.tensor(color).double(), atol=1e-4)
    assert (normals[0, 0] == DARK).all()


def test_albedo_light_and_highlights_make_the_picture() -> None:
    """In linear light; titles say what white is in two digits."""
    renderer, vertices = head_like(SIZE, samples=1)
    steps = {each.name: each for each in passes(renderer, vertices)}
    linear = {name: srgb.decode(each.picture) for name, each in steps.items()}
    for name in ("diffuse", "specular"):
        linear[name] *= float(steps[name].title.split()[-1])
    made = linear["albedo"] * linear["diffuse"] + linear["specular"]
    covered = coverage(renderer, vertices) == 1
    assert covered.sum() > 300
    assert torch.allclose(made[covered], linear["picture"][covered], rtol=0.05)
    assert linear["specular"][covered].max() > 0.02


def test_no_light_no_diffuse_light() -> None:
    dark = pictures(*plane(ambient=0.0))
    assert dark["diffuse"][SIZE // 2, SIZE // 2].max() == 0
    assert (dark["albedo"][SIZE // 2, SIZE // 2] - srgb.encode(torch.tensor(0.5))).abs().max() < 1e-6


def test_near_is_brighter_than_far() -> None:
    """The square's right side is turned away."""
    renderer, vertices = plane(tilt=0.8)
    assert vertices[vertices[:, 0] > 0, 2].max() < -1
    depth = pictures(renderer, vertices)["depth"][SIZE // 2, :, 0]
    seen = depth[depth != DARK]
    assert len(seen) > 5 and (seen.diff() < 0).all()


def test_each_triangle_has_a_colour() -> None:
    renderer, vertices = plane(cells=2)
    ids = renderer.fragments(vertices)
    colours = pictures(renderer, vertices)["triangles"].reshape(-1, 3)[ids.pixel]
    per_triangle = [colours[ids.triangle == triangle].unique(dim=0) for triangle in range(8)]
    assert all(len(one) == 1 for one in per_triangle)
    assert len(torch.cat(per_triangle).unique(dim=0)) == 8


def test_barycentrics_sum_to_one() -> None:
    renderer, vertices = head_like(SIZE)
    shown = pictures(renderer, vertices)["barycentrics"][coverage(renderer, vertices) == 1]
    assert (shown.sum(-1) - 1).abs().max() < 1e-6 and shown.std(0).min() > 0.05


def test_outlines_face_away_from_the_nearer_surface() -> None:
    """Of a square before nothing: red at its right side, cyan at its left, and nothing elsewhere."""
    renderer, vertices = plane(samples=2)
    outlines = pictures(renderer, vertices)["outlines"]
    row = outlines[SIZE // 2]
    on = ((row - DARK).abs().amax(-1) > 1e-6).nonzero().flatten().tolist()
    assert set(on) <= {SIZE // 4 - 1, SIZE // 4, 3 * SIZE // 4 - 1, 3 * SIZE // 4}
    left, right = row[on[0]], row[on[-1]]
    assert right[0] > 3 * right[1:].max() and left[0] < 0.2 * left[1:].min()
    column = outlines[:, SIZE // 2]
    edges = ((column - DARK).abs().amax(-1) > 1e-6).nonzero().flatten()
    top, bottom = column[edges[0]], column[edges[-1]]
    assert top.argmax() == 1 and bottom.argmax() == 2


def test_outlines_between_parts_show() -> None:
    renderer, vertices, small = two_balls(64)
    outlines = pictures(renderer, vertices)["outlines"]
    alone = renderer.camera.project(vertices[small]).mean(0)
    x, y = alone.round().long().tolist()
    around = outlines[y - 12 : y + 13, x - 12 : x + 13]
    assert ((around - DARK).abs().amax(-1) > 1e-6).sum() > 20


def test_coverage_is_the_share_of_samples() -> None:
    renderer, vertices = plane(samples=4)
    share = coverage(renderer, vertices + torch.tensor([0.5 / SIZE, 0, 0]))  # half a pixel to the right
    row = share[SIZE // 2]
    assert row[SIZE // 4] == 0.5 and row[SIZE // 4 + 1] == 1 and row[3 * SIZE // 4] == 0.5 and row[0] == 0


def test_a_batch_is_its_pictures() -> None:
    renderer, vertices = plane(samples=2)
    farther = vertices - torch.tensor([0.1, 0.05, 0.0])
    together = pictures(renderer, torch.stack([vertices, farther]))
    alone = pictures(renderer, farther)
    for name in ("picture", "triangles", "barycentrics", "normals", "albedo", "outlines"):
        assert torch.allclose(together[name][1], alone[name], atol=1e-9), name


def test_nothing_in_view_is_dark() -> None:
    renderer, vertices = plane()
    shown = pictures(renderer, vertices + torch.tensor([9.0, 0, 0]))
    shown.pop("picture")
    assert all((picture == DARK).all() for picture in shown.values())
    assert coverage(renderer, vertices + torch.tensor([9.0, 0, 0])).max() == 0
