# pyright: reportMissingImports=false
"""Triangle ids by nvdiffrast on CUDA. Its licence allows research only: no default where there is another.

Its row 0 is the bottom one, its ids start at 1 and are floats, its vertices snap to 1/16 px, and it clips at
the far plane too. Works with NVIDIA's package and with `diffrp-nvdiffrast`, whose kernels are compiled on
first use (by nvcc and ninja, in about a minute).
"""

import functools
from pathlib import Path

import nvdiffrast.torch as dr
import torch
from torch import Tensor


def ids(clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """`(B, H, W)` int64: the interface of `pipeline.render.ids`."""
    batch, vertices, _ = clip.shape
    count = len(triangles)
    x, y, z, w = clip.unbind(-1)
    # The near plane z = −w stays, the far one moves from z = w to 3w; y is turned, for row 0 is its bottom.
    positions = torch.stack([x, -y, (z - w) / 2, w], -1).float().contiguous()
    finite = clip.isfinite().all(-1)[:, triangles].all(-1)  # [B, F]
    # Every picture has triangles of its own: one whose corners are out of range is skipped.
    first = torch.arange(batch, device=clip.device)[:, None, None]
    corners = torch.where(finite[..., None], triangles + first * vertices, -1).flatten(0, 1).int()
    ranges = torch.tensor([[item * count, count] for item in range(batch)], dtype=torch.int32)  # on the CPU
    found, _ = dr.rasterize(context(clip.device), positions.flatten(0, 1), corners, size, ranges)
    number = found[..., 3]
    # Beyond 2²⁴ the number is kept in the float's bits.
    number = torch.where(number <= 1 << 24, number.long(), number.view(torch.int32).long() - 0x4A800000)
    return torch.where(number == 0, -1, (number - 1) % count)


@functools.cache
def context(device: torch.device):
    """The `RasterizeCudaContext` of a GPU, made once."""
    _compile()
    return dr.RasterizeCudaContext(device)


def _compile() -> None:
    """Loads the kernels of `diffrp-nvdiffrast`, whose own way to do so fails from torch 2.9 on."""
    plugins = getattr(dr.ops, "_cached_plugin", None)
    if plugins is None or plugins.get(False) is not None:
        return  # NVIDIA's package comes compiled
    from torch.utils.cpp_extension import load

    folder = Path(dr.ops.__file__).parent
    patterns = ("*.cpp", "../common/*.cpp", "../common/*.cu", "../common/cudaraster/impl/*.c*")
    sources = [str(path) for pattern in patterns for path in sorted(folder.glob(pattern))]
    sources = [path for path in sources if "gl" not in Path(path).stem]  # OpenGL is another rasterizer
    flags = ["-DNVDR_TORCH"]
    plugins[False] = load("chainrig_nvdiffrast", sources, extra_cflags=flags, extra_cuda_cflags=flags)
