"""Sparse Jacobians: columns that share no row are pushed together, and wrong patterns are caught."""

import pytest
import torch
from torch import Tensor

from pipeline.derivatives.automatic import jacobian, jvp, vjp
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.sparse import colour, pattern_of_picture, sparse_jacobian
from pipeline.derivatives.sparse_picture import normals_jacobian, picture_jacobian
from pipeline.errors import ChainRigError
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.outlines import find_outlines
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

D = torch.float64
N = 40


def sparse(indices: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=False)


def blur(x: Tensor) -> Tensor:
    """(*B, N) → (*B, N − 2): every output sees three neighbours."""
    return x[..., :-2] * x[..., 1:-1] + x[..., 2:].sin()


BLUR = FunctionLayer(blur, ("cell",), ("window",), name="blur")


def band() -> Tensor:
    rows = torch.arange(N - 2).repeat_interleave(3)
    columns = rows + torch.arange(3).repeat(N - 2)
    return sparse(torch.stack([rows, columns]), torch.ones(len(rows)), (N - 2, N))


def test_columns_of_one_colour_share_no_row_and_a_band_needs_as_many_colours_as_it_is_wide() -> None:
    group = colour(band())
    assert int(group.max()) + 1 == 3
    dense = band().to_dense()
    for g in range(3):
        assert dense[:, group == g].sum(1).max() == 1


def test_columns_without_entries_have_no_colour() -> None:
    pattern = sparse(torch.tensor([[0], [2]]), torch.ones(1), (1, 4))
    assert colour(pattern).tolist() == [-1, -1, 0, -1]


@pytest.mark.parametrize("chunk", [1, 2, 16])
def test_three_passes_give_the_whole_banded_jacobian(chunk: int) -> None:
    passes: list[int] = []
    layer = FunctionLayer(lambda x: (passes.append(1), blur(x))[1], ("cell",), ("window",))
    x = torch.randn(N, generator=torch.Generator().manual_seed(0), dtype=D)
    J = sparse_jacobian(layer, x, band(), chunk)
    assert J.is_sparse and J._nnz() == 3 * (N - 2)
    torch.testing.assert_close(J.to_dense(), jacobian(BLUR, x).matrix)
    assert len(passes) <= 3 + 2  # the groups; one to know the size; one to check


def test_a_pattern_that_lacks_entries_is_caught() -> None:
    full = band().coalesce().indices()
    lacking = sparse(full[:, 1:], torch.ones(full.shape[1] - 1), (N - 2, N))
    with pytest.raises(ChainRigError, match="pattern of blur lacks entries, first of all in row 0"):
        sparse_jacobian(BLUR, torch.ones(N, dtype=D), lacking)
    with pytest.raises(ChainRigError, match=r"is \(38, 40\)"):
        sparse_jacobian(BLUR, torch.ones(N, dtype=D), band().mT)


def test_a_pattern_with_more_than_there_is_costs_passes_but_stays_right() -> None:
    x = torch.ones(6, dtype=D)
    everything = torch.ones(4, 6).to_sparse()
    torch.testing.assert_close(sparse_jacobian(BLUR, x, everything).to_dense(), jacobian(BLUR, x).matrix)


def test_a_pixel_depends_on_its_triangles_corners_and_the_ring_around_them() -> None:
    # two triangles share an edge; a third lies apart; a picture of 2 × 2 pixels with 1 sample each
    triangles = torch.tensor([[0, 1, 2], [2, 1, 3], [4, 5, 6]])
    ids = torch.tensor([[0, -1], [-1, -1]])
    pattern = pattern_of_picture(ids, triangles, vertices=7, samples=1, channels=1).to_dense()
    seen = pattern.unflatten(1, (7, 3)).any(-1)
    assert seen[0].tolist() == [True, True, True, True, False, False, False]
    assert seen[1].any() and seen[2].any()  # beside it: an outline may move in
    assert not seen[3].any()


def ball(rows: int = 9, columns: int = 12) -> tuple[Tensor, Tensor]:
    """Vertices (V, 3) and triangles (F, 3) of a sphere of 10 cm, one metre in front of the camera."""
    up, around = torch.meshgrid(
        torch.linspace(-1.5, 1.5, rows, dtype=D),
        torch.arange(columns, dtype=D) * (2 * torch.pi / columns),
        indexing="ij",
    )
    points = 0.1 * torch.stack([up.cos() * around.sin(), up.sin(), up.cos() * around.cos()], -1)
    index = torch.arange(rows * columns).view(rows, columns)
    right = index.roll(-1, 1)
    a, b, c, d = index[:-1], right[:-1], right[1:], index[1:]
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
    return points.flatten(0, 1) - torch.tensor([0.0, 0.0, 1.0], dtype=D), triangles


def scene() -> tuple[Renderer, Tensor]:
    vertices, triangles = ball()
    camera = Camera(torch.tensor(120.0, dtype=D), torch.tensor([16.0, 16.0], dtype=D), size=(32, 32))
    material = Material(torch.full((1, 1, 4), 0.5))
    return Renderer(Surface(triangles), material, camera, Light.default()).double(), vertices


def test_the_renderers_jacobian_in_fewer_passes_than_columns() -> None:
    render, vertices = scene()
    triangles = render.surface.triangles
    fragments = render.fragments(vertices)
    ids = torch.full((fragments.size[1] * fragments.size[2],), -1)
    ids[fragments.pixel] = fragments.triangle
    found = find_outlines(fragments, render.homogeneous(vertices)[None], render.surface)
    found = found[(found.edge[:, 0] >= 0).nonzero().squeeze(-1)]
    assert len(found.front)
    beside = torch.cat([found.front_sample, found.other_sample]), found.edge.repeat(2, 1)
    pattern = pattern_of_picture(
        ids.view(fragments.size[1:]), triangles, len(vertices), render.samples, beside
    )
    group = colour(pattern)
    assert int(group.max()) + 1 < 0.6 * vertices.numel()
    J = sparse_jacobian(render, vertices, pattern)
    g = torch.randn(32, 32, 3, generator=torch.Generator().manual_seed(0), dtype=D)
    pulled = vjp(render, vertices)[1](g).flatten()
    torch.testing.assert_close((J.t() @ g.flatten()[:, None]).squeeze(-1), pulled, atol=1e-9, rtol=1e-9)


def test_the_pictures_jacobian_from_its_terms_is_that_of_the_colouring() -> None:
    render, vertices = scene()
    J = picture_jacobian(render, vertices)
    assert J.shape == (32 * 32 * 3, vertices.numel()) and J.is_coalesced()
    for seed in range(2):
        d = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(seed), dtype=D)
        pushed = jvp(render, vertices, d)[1].flatten()
        torch.testing.assert_close((J @ d.flatten()[:, None]).squeeze(-1), pushed, atol=1e-9, rtol=1e-9)
    assert J._nnz() < 0.2 * J.shape[0] * J.shape[1]


def test_the_normals_jacobian_in_closed_form() -> None:
    render, vertices = scene()
    lost = torch.cat([vertices, vertices[:1]])  # a vertex without a face has no normal
    lost[3] = torch.nan
    J = normals_jacobian(render.surface, lost).to_dense()
    normals = FunctionLayer(render.surface.normals, ("vertex", "xyz"), ("vertex", "xyz"))
    known = lost.isfinite().all(-1).repeat_interleave(3)
    torch.testing.assert_close(J[:, known], jacobian(normals, lost).matrix[:, known])
    assert J[:, ~known].abs().max() == 0


def test_a_renderer_that_draws_otherwise_has_no_known_terms() -> None:
    class Other(Renderer):
        pass

    render, vertices = scene()
    other = Other(render.surface, render.material, render.camera, render.light)
    for renderer, points in ((other, vertices), (render, vertices[None])):
        with pytest.raises(ChainRigError, match="give sparse_jacobian a pattern"):
            picture_jacobian(renderer, points)
