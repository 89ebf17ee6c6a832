"""A sparse Jacobian in few passes: columns that share no row are pushed together.

A pixel depends on a few vertices only, but there are too many pixels for VJPs and too many vertices for JVPs.
If two inputs move different outputs, one JVP along both gives both columns, unmixed by the sparsity pattern
(Curtis, Powell and Reid, "On the estimation of sparse Jacobian matrices", 1974). Sharing inputs out among the
fewest such groups is a colouring of the graph of inputs that meet in an output; it is coloured greedily, the
inputs with the most neighbours first (Coleman and Moré, "Estimation of sparse Jacobian matrices and graph
coloring problems", 1983).
"""

import torch
from torch import Tensor

from pipeline.derivatives.automatic import CHUNK, jvp, push
from pipeline.errors import ChainRigError
from pipeline.layer import Layer


def colour(pattern: Tensor) -> Tensor:
    """Groups of columns no two of which have an entry in the same row.

    Args:
        pattern: `(M, N)` sparse COO; its values do not matter.

    Returns:
        `(N,)` int64, the group of each column; −1 for a column without entries.
    """
    m, n = pattern.shape
    rows, columns = pattern.coalesce().indices().cpu().unbind(0)
    by_row = columns[rows.argsort(stable=True)].tolist()
    row_end = torch.bincount(rows, minlength=m).cumsum(0).tolist()
    by_column = rows[columns.argsort(stable=True)].tolist()
    counts = torch.bincount(columns, minlength=n)
    column_end = counts.cumsum(0).tolist()
    # How many others a column meets, counted with repetition: cheap, and good enough for an order.
    meetings = torch.zeros(n, dtype=torch.int64).index_add(
        0, columns, torch.bincount(rows, minlength=m)[rows]
    )
    group = [-1] * n
    for c in meetings.argsort(descending=True, stable=True).tolist():
        mine = by_column[column_end[c - 1] if c else 0 : column_end[c]]
        taken = {group[other] for r in mine for other in by_row[row_end[r - 1] if r else 0 : row_end[r]]}
        if mine:
            group[c] = next(g for g in range(n) if g not in taken)
    return torch.tensor(group, dtype=torch.int64, device=pattern.device)


def sparse_jacobian(layer: Layer, x: Tensor, pattern: Tensor, chunk: int = CHUNK) -> Tensor:
    """∂Y/∂X at x `(*input)` as a sparse matrix.

    Args:
        pattern: `(M, N)` sparse COO over the flattened output and input: where entries may differ from 0.
        chunk: groups pushed in one pass.

    Returns:
        `(M, N)` sparse COO, coalesced, with the pattern's entries.

    Raises:
        ChainRigError: the pattern has the wrong shape, or a random direction shows that it lacks entries.
    """
    with torch.no_grad():
        size = layer(x).numel()
    if tuple(pattern.shape) != (size, x.numel()):
        raise ChainRigError(
            f"The sparsity pattern is {tuple(pattern.shape)}, "
            f"the Jacobian of {layer.name} is {(size, x.numel())}: make them agree."
        )
    rows, columns = pattern.coalesce().indices()
    group = colour(pattern)
    values = torch.zeros(len(rows), dtype=x.dtype, device=x.device)
    count = int(group.max()) + 1 if group.numel() else 0
    for some in torch.arange(count, device=x.device).split(chunk):
        seeds = (group == some[:, None]).to(x.dtype).reshape(len(some), *x.shape)
        pushed = push(layer, x, seeds, chunk).flatten(1)  # [n, M]
        mine = ((group[columns] >= some[0]) & (group[columns] <= some[-1])).nonzero().squeeze(-1)
        values[mine] = pushed[group[columns[mine]] - some[0], rows[mine]]
    result = _sparse(pattern.coalesce().indices(), values, tuple(pattern.shape))
    _check(layer, x, result)
    return result


def _check(layer: Layer, x: Tensor, matrix: Tensor) -> None:
    """A column that the pattern hides from its group would show up in a random combination of all."""
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0)).to(x.device)
    expected = jvp(layer, x, direction)[1].flatten()
    gap = (matrix @ direction.flatten()[:, None]).squeeze(-1) - expected
    allowed = 1e4 * torch.finfo(x.dtype).eps * (1 + expected.abs().max())
    if gap.abs().max() > allowed:
        worst = int(gap.abs().argmax())
        raise ChainRigError(
            f"The sparsity pattern of {layer.name} lacks entries, first of all in row {worst}: complete it."
        )


def pattern_of_picture(
    ids: Tensor,
    triangles: Tensor,
    vertices: int,
    samples: int,
    outlines: tuple[Tensor, Tensor] | None = None,
    channels: int = 3,
) -> Tensor:
    """Which vertices a pixel of a rendered mesh may depend on: a pattern for the renderer's Jacobian.

    A sample depends on the corners of its triangle; through the corners' normals on the ring around each;
    next to an outline, on the triangles of the samples beside it and on the ends of the outline's edge.

    Args:
        ids: `(H·samples, W·samples)` int64 triangle of every sample, −1 for none.
        triangles: `(F, 3)` int64.
        vertices: V.
        samples: samples per pixel along each side.
        outlines: flat indices `(K,)` of samples, and `(K, n)` of the vertices of edges that cross nearby.

    Returns:
        `(H·W·channels, V·3)` sparse COO.
    """
    height, width = (size // samples for size in ids.shape)
    device = ids.device
    row = torch.arange(ids.shape[0], device=device)
    column = torch.arange(ids.shape[1], device=device)
    pairs = []
    for down, right in (
        (0, 0),
        (0, 1),
        (1, 0),
        (0, -1),
        (-1, 0),
    ):  # pixels that look at a sample or beside it
        pixel_row = ((row + down).clamp(0, ids.shape[0] - 1) // samples)[:, None]
        pixel_column = (column + right).clamp(0, ids.shape[1] - 1) // samples
        pixel = (pixel_row * width + pixel_column)[ids >= 0]
        pairs.append(torch.stack([pixel, ids[ids >= 0]]))
    pixel, triangle = torch.cat(pairs, 1).unique(dim=1)
    corners = triangles[triangle]  # [P, 3]
    pixel, vertex = _follow(pixel.repeat_interleave(3), corners.flatten(), triangles, vertices)
    if outlines is not None:
        sample, ends = outlines
        row, column = sample // ids.shape[1] // samples, sample % ids.shape[1] // samples
        beside = (row * width + column).repeat_interleave(ends.shape[1])
        pixel, vertex = torch.cat([pixel, beside]), torch.cat([vertex, ends.flatten()])
        pixel, vertex = torch.stack([pixel, vertex]).unique(dim=1)
    channel, axis = torch.arange(channels, device=device), torch.arange(3, device=device)
    rows = (pixel[:, None, None] * channels + channel[:, None]).expand(-1, -1, 3).flatten()
    columns = (vertex[:, None, None] * 3 + axis).expand(-1, channels, -1).flatten()
    size = (height * width * channels, vertices * 3)
    return _sparse(torch.stack([rows, columns]), torch.ones(len(rows), device=device), size)


def _follow(pixel: Tensor, vertex: Tensor, triangles: Tensor, vertices: int) -> tuple[Tensor, Tensor]:
    """Pairs of a pixel and a vertex, and of the pixel and those that share a triangle with it; each once."""
    edges = torch.stack([triangles.repeat_interleave(3, 1).flatten(), triangles.repeat(1, 3).flatten()])
    start, end = edges.unique(dim=1)  # sorted by the first; a vertex is its own neighbour, too
    counts = torch.bincount(start, minlength=vertices)
    first = counts.cumsum(0) - counts
    pixel, vertex = torch.stack([pixel, vertex]).unique(dim=1)
    many = counts[vertex]
    position = torch.arange(int(many.sum()), device=pixel.device) - (many.cumsum(0) - many).repeat_interleave(
        many
    )
    neighbour = end[first[vertex].repeat_interleave(many) + position]
    pairs = torch.stack([pixel.repeat_interleave(many), neighbour]).unique(dim=1)
    return pairs[0], pairs[1]


def _sparse(indices: Tensor, values: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=False).coalesce()
