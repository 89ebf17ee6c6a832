# pyright: reportMissingImports=false
"""Triangle ids by pytorch3d (BSD licence), on the CPU and on CUDA: `rasterize_meshes` without blur.

It does not snap vertices, and leaves out pixel centres that lie exactly on an edge: holes of a pixel are
possible, and its ids differ from the other backends' by what float32 makes of an edge. Its screen has x to
the left, the shorter side from −1 to 1 and only positive depths, and it draws nothing that crosses the
camera's plane: triangles are clipped here.
"""

import torch
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor


def ids(clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """`(B, H, W)` int64: the interface of `pipeline.render.ids`."""
    batch, count = clip.shape[0], len(triangles)
    pieces = clip_near(clip.double()[:, triangles])  # [B, N, F, 3, 4]
    finite = pieces.isfinite().flatten(-2).all(-1) & (pieces[..., 3] > 0).all(-1)  # [B, N, F]
    pieces = torch.where(finite[..., None, None], pieces, pieces.new_tensor([0.0, 0, 0, 1]))
    height, width = size
    shorter = min(size)
    x, y, z, w = pieces.unbind(-1)
    corners = torch.stack([-x / w * (width / shorter), y / w * (height / shorter), 1 / (3 - z / w)], -1)
    corner_of = torch.arange(corners[0].numel() // 3, device=clip.device).view(-1, 3)  # [N·F, 3]
    meshes = Meshes(corners.reshape(batch, -1, 3).float(), corner_of.expand(batch, -1, -1))
    # With perspective correction the reciprocal of its depth is affine on the screen, as z/w is. Without, its
    # weights sum to less than 1 in small triangles, which then come too near.
    faces, *_ = rasterize_meshes(meshes, size, 0.0, faces_per_pixel=1, perspective_correct=True)
    return torch.where(faces[..., 0] < 0, -1, faces[..., 0] % count)


def clip_near(corners: Tensor) -> Tensor:
    """The seen side of triangles at the near plane z = −w: `(*B, F, 3, 4)` clip → `(*B, N, F, 3, 4)`.

    N is 1, or 2 if two corners of any triangle are seen: then two for each, without area or not finite where
    fewer are left.
    """
    depth = corners[..., 2] + corners[..., 3]  # [*B, F, 3]
    inside = depth >= 0
    # Turned so that the corners in front come first.
    count = inside.sum(-1)
    first = torch.where(count == 2, (inside.long().argmin(-1) + 1) % 3, inside.long().argmax(-1))
    order = (first[..., None] + torch.arange(3, device=corners.device)) % 3
    a, b, c = corners.gather(-2, order[..., None].expand_as(corners)).unbind(-2)  # each [*B, F, 4]
    one, two = (count == 1)[..., None], (count == 2)[..., None]
    third = torch.where(two, _cut(b, c), torch.where(one, _cut(a, c), c))
    second = torch.where(one, _cut(a, b), b)
    fourth = torch.where(two, _cut(a, c), third)
    pieces = [torch.stack([a, second, third], -2), torch.stack([a, third, fourth], -2)]
    pieces = torch.stack(pieces[: 2 if two.any() else 1], -4)
    return torch.where((count == 0)[..., None, :, None, None], torch.nan, pieces)


def _cut(inside: Tensor, outside: Tensor) -> Tensor:
    """Where edges `(*B, 4)` meet the near plane."""
    near, far = inside[..., 2:3] + inside[..., 3:], outside[..., 2:3] + outside[..., 3:]
    return inside + near / (near - far) * (outside - inside)
