"""∂pixels/∂vertices of the rasterizer as a sparse matrix, from the terms that it is a sum of.

A pixel depends on the corners of the triangles that its samples see, on the normals there, and through them
on the ring around each corner: a thousandth of the matrix. `PictureDerivative` knows the terms by position
and by normal; the normals' own derivative is a closed form, and sparse.
"""

import warnings

import torch
from torch import Tensor

from pipeline.derivatives.closed_form import cross_matrix
from pipeline.errors import ChainRigError
from pipeline.render.picture_derivative import PictureDerivative
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface


@torch.no_grad()
def picture_jacobian(renderer: Renderer, vertices: Tensor) -> Tensor:
    """∂pixels/∂vertices of a `Renderer` at `(V, 3)`, after no more than three backward passes.

    Returns:
        `(H·W·3, V·3)` sparse COO, coalesced.

    Raises:
        ChainRigError: several meshes at once, or a renderer that draws otherwise.
    """
    if type(renderer) is not Renderer or vertices.ndim != 2:
        raise ChainRigError(
            "Only the rasterizer's derivative by the vertices of one mesh, (V, 3), is known term by term: "
            "give sparse_jacobian a pattern."
        )
    terms = PictureDerivative(renderer, vertices).terms
    channels, columns = terms.values.shape[-1], vertices.numel()
    rows = renderer.camera.size[0] * renderer.camera.size[1] * channels
    axis = torch.arange(3, device=vertices.device)
    channel = torch.arange(channels, device=vertices.device)
    indices = torch.broadcast_tensors(
        terms.place[:, None, None, None] * channels + channel,
        terms.corner[..., None, None] * 3 + axis[:, None],
    )
    indices = torch.stack([one.flatten() for one in indices])  # [2, E·3·3·C]
    by_position, by_normal = (
        _matrix(indices, values, rows, columns) for values in terms.values.split(3, dim=2)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls such products beta
        by_vertex = by_normal @ normals_jacobian(renderer.surface, vertices)
    return (by_position + by_vertex).coalesce()


def normals_jacobian(surface: Surface, vertices: Tensor) -> Tensor:
    """∂normals/∂vertices of `Surface.normals` at `(V, 3)`: `(V·3, V·3)` sparse COO, in closed form.

    A face's normal by its area, (b − a) × (c − a), changes by (c − b) × da when a moves, and so on around.
    What the sum at a vertex, of length s and direction n, changes by turns the unit normal by (1 − n nᵀ)/s.
    """
    finite = vertices.isfinite().all(-1)
    triangles = surface.triangles[finite[surface.triangles].all(-1)]
    corners = vertices[triangles]  # [F, 3, 3]
    opposite = corners.roll(1, 1) - corners.roll(-1, 1)
    turned = cross_matrix(opposite)  # [F, 3, 3, 3]: of the face's normal, by each corner
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(vertices).index_add(0, triangles.flatten(), area.repeat_interleave(3, 0))
    length = total.norm(dim=-1, keepdim=True)
    unit = total / length.clamp(min=1e-20)
    across = torch.eye(3, dtype=unit.dtype, device=unit.device) - unit[:, :, None] * unit[:, None, :]
    across = torch.where(length > 1e-20, 1 / length, 0)[..., None] * across  # [V, 3, 3]
    at = triangles[:, :, None].expand(-1, 3, 3)  # the normal of this corner …
    by = triangles[:, None, :].expand(-1, 3, 3)  # … by the motion of that one
    values = across[at] @ turned[:, None]  # [F, 3, 3, 3, 3]
    axis = torch.arange(3, device=vertices.device)
    indices = torch.broadcast_tensors(at[..., None, None] * 3 + axis[:, None], by[..., None, None] * 3 + axis)
    indices = torch.stack([one.flatten() for one in indices])
    return _matrix(indices, values, vertices.numel(), vertices.numel())


def _matrix(indices: Tensor, values: Tensor, rows: int, columns: int) -> Tensor:
    """Entries at the same place add up."""
    return torch.sparse_coo_tensor(
        indices, values.flatten(), (rows, columns), check_invariants=False
    ).coalesce()
