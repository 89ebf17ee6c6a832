"""What does a ray meet? Mitsuba 3 answers: Embree on a CPU, OptiX on a GPU.

As with the rasterizer, the answer is an integer and has no derivative; all that is computed from it is plain
torch.
"""

import importlib
import os
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import ChainRigError
from pipeline.render import llvm

HOW_TO_INSTALL = "pip install -c constraints.txt -e '.[raytrace]'"
_VARIANTS = {"cpu": "llvm_ad_rgb", "cuda": "cuda_ad_rgb"}


def load_mitsuba(device: str) -> Any:
    """The module `mitsuba`, set up for a type of device, "cpu" or "cuda".

    Raises:
        ChainRigError: Mitsuba or its LLVM library is missing, or the device is of another type.
    """
    if device not in _VARIANTS:
        raise ChainRigError(
            f"The ray tracer runs on cpu and cuda, not on {device}: move the renderer to one of them."
        )
    if find_spec("mitsuba") is None:
        raise ChainRigError(f"The ray tracer needs Mitsuba, which is not installed: {HOW_TO_INSTALL}.")
    if device == "cpu":
        library = llvm.find()
        if library is None:
            raise ChainRigError(
                f"The ray tracer needs an LLVM library that works with Mitsuba: {llvm.HOW_TO_GET_ONE}."
            )
        os.environ[llvm.VARIABLE] = str(library)  # read when Dr.Jit is first used
    mitsuba: Any = importlib.import_module("mitsuba")
    if mitsuba.variant() != _VARIANTS[device]:
        mitsuba.set_variant(_VARIANTS[device])
    if device == "cpu":
        threads: Any = importlib.import_module("drjit")
        threads.set_thread_count(torch.get_num_threads())
    return mitsuba


def first_triangles(
    vertices: Tensor, triangles: Tensor, item: Tensor, origin: Tensor, direction: Tensor
) -> Tensor:
    """The triangles that rays meet first.

    Args:
        vertices: `(B, V, 3)` of the meshes; triangles with a corner that is not finite are not met.
        triangles: `(F, 3)` int64.
        item: `(N,)` int64: the mesh that each ray is cast at.
        origin, direction: `(N, 3)`.

    Returns:
        `(N,)` int64, −1 where a ray meets nothing.

    Raises:
        ChainRigError: Mitsuba or its LLVM library is missing.
    """
    return _cast(*(x.detach() for x in (vertices, triangles, item, origin, direction)), False)


def meets_any(vertices: Tensor, triangles: Tensor, item: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
    """`(N,)` bool: whether rays meet anything. Arguments as for `first_triangles`; faster."""
    return _cast(*(x.detach() for x in (vertices, triangles, item, origin, direction)), True) > 0


@torch.library.custom_op("chainrig::cast", mutates_args=())
def _cast(
    vertices: Tensor, triangles: Tensor, item: Tensor, origin: Tensor, direction: Tensor, any_hit: bool
) -> Tensor:
    """A custom operation sees plain tensors whatever derivative is being taken."""
    found = torch.zeros_like(item)
    for number, caster in enumerate(_casters(vertices, triangles)):
        own = (item == number).nonzero().squeeze(-1) if len(vertices) > 1 else slice(None)
        found[own] = caster.cast(origin[own], direction[own], any_hit)
    return found


@_cast.register_fake
def _(vertices, triangles, item, origin, direction, any_hit):
    return torch.empty_like(item)


_latest: tuple[Tensor, Tensor, list["Caster"]] | None = None


def _casters(vertices: Tensor, triangles: Tensor) -> list["Caster"]:
    """A picture casts many rays at the same meshes: those of the latest are kept."""
    global _latest
    if _latest is None or not (_same(_latest[0], vertices) and _same(_latest[1], triangles)):
        casters = [Caster(mesh, triangles) for mesh in vertices]
        _latest = (vertices.clone(), triangles.clone(), casters)
    return _latest[2]


def _same(a: Tensor, b: Tensor) -> bool:
    return (
        a.dtype == b.dtype
        and a.device == b.device
        and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a.nan_to_num(), b.nan_to_num())
    )


class Caster:
    """One mesh in Mitsuba: `(V, 3)` vertices, `(F, 3)` int64 triangles."""

    def __init__(self, vertices: Tensor, triangles: Tensor) -> None:
        self._mi = mi = load_mitsuba(vertices.device.type)
        self._drjit: Any = importlib.import_module("drjit")
        whole = vertices.isfinite().all(-1)[triangles].all(-1, keepdim=True)
        faces = torch.where(whole, triangles, 0).to(torch.int32).flatten()  # without area where not finite
        mesh = mi.Mesh("mesh", len(vertices), len(triangles))
        values = mi.traverse(mesh)
        values["faces"] = mi.UInt32(mi.Int32(faces.contiguous()))
        values["vertex_positions"] = mi.Float(vertices.nan_to_num(0, 0, 0).float().flatten().contiguous())
        values.update()
        self._scene = mi.load_dict({"type": "scene", "mesh": mesh})

    def cast(self, origin: Tensor, direction: Tensor, any_hit: bool) -> Tensor:
        """`(N,)` int64 for `(N, 3)` and `(N, 3)`: 1 or 0 if `any_hit`, else the first triangle or −1."""
        if len(origin) == 0:
            return torch.zeros(0, dtype=torch.int64, device=origin.device)
        mi, select = self._mi, self._drjit.select
        columns = [[mi.Float(x.float().contiguous()) for x in v.unbind(-1)] for v in (origin, direction)]
        ray = mi.Ray3f(mi.Point3f(*columns[0]), mi.Vector3f(*columns[1]))
        if any_hit:
            found = select(self._scene.ray_test(ray), mi.Int32(1), mi.Int32(0))
        else:
            hit = self._scene.ray_intersect_preliminary(ray, coherent=False)
            found = select(hit.is_valid(), mi.Int32(hit.prim_index), mi.Int32(-1))
        return found.torch().to(torch.int64)
