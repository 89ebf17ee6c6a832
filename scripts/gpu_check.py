"""Checks and times the renderer on a CUDA GPU, and keeps what it found under benchmarks/results/.

    python scripts/gpu_check.py                  # needs a GPU, and nothing from the network
    python scripts/gpu_check.py --device cpu     # a rehearsal of the script itself: tiny, and writes nothing

- parity: the ids of every rasterizer that is there against the CPU's, on random meshes and on the head;
- gradients: values and derivatives of the plain path on the GPU against those on the CPU, parameter by
  parameter, and forward against reverse mode;
- antialias: how much of a silhouette's gradient nvdiffrast's own antialiasing finds on a dense mesh, and how
  much ours does, against central differences of a supersampled picture;
- timings: ids, forward and forward with backward, for batches of 1 to 256 (CUDA events, medians).

Exit code: 0 if every check passed, 1 if one failed, 2 without a GPU.
"""

import argparse
import datetime
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.render import fused, srgb
from pipeline.render.camera import Camera, clip_from_pixels
from pipeline.render.head_texture import HeadTexture
from pipeline.render.ids import BACKENDS, choose, obstacle, triangle_ids
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
SNAPPING_PX = {"cpu": 0.0, "triton": 0.0, "pytorch3d": 1 / 128, "nvdiffrast": 1 / 8}
Found = dict[str, Any]


class Head:
    """The default head, a metre away, filling the view."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.rig = Rig.load()
        self.vertices = Deformer(self.rig)(
            self.rig.controls.pack({"headTranslationZ": -1.0, "jawOpen": 0.2})
        ).double()
        self.triangles = self.rig.triangles.to(device)
        self.material = Material(HeadTexture.load()().detach())

    def camera(self, size: int) -> Camera:
        middle = torch.tensor([0.5, 0.46], dtype=torch.float64) * size
        return Camera(torch.tensor(1000 / 256 * size, dtype=torch.float64), middle, size=(size, size))

    def renderer(self, size: int, device: str, dtype: torch.dtype, **options: Any) -> Renderer:
        return build_renderer(self.rig, self.camera(size), self.material, **options).to(device, dtype)

    def batch(self, count: int, dtype: torch.dtype) -> Tensor:
        """`(count, V, 3)`: each a few millimetres away from the others."""
        shift = 0.004 * torch.rand(
            count, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        return (self.vertices + shift).to(self.device, dtype)


def present(device: str) -> list[str]:
    return [name for name in BACKENDS if obstacle(name, device) is None]


# Parity


def random_mesh(seed: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Clip coordinates and triangles; some triangles cross the near plane, some vertices are not numbers."""
    draw = torch.rand(200, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    w = 0.5 + draw[:, 2:]
    pixels = (1.6 * draw[:, :2] - 0.3) * torch.tensor([size[1], size[0]])
    clip = clip_from_pixels(torch.cat([pixels * w, w], -1), size)
    clip[::9, 2] -= 1.01 * clip[::9, 3]
    clip[7, 1] = torch.nan
    return clip, torch.randint(200, (300, 3), generator=torch.Generator().manual_seed(seed))


def agreement(backend: str, device: str, clip: Tensor, triangles: Tensor, size: tuple[int, int]) -> Found:
    """Shares of the pixels: the CPU's id, and one that the CPU finds within the backend's snapping."""
    found = triangle_ids(clip.to(device), triangles.to(device), size, backend).cpu()
    expected = triangle_ids(clip, triangles, size, "cpu")
    within = SNAPPING_PX[backend]
    explained = found == expected
    for x in (-within, 0, within):
        for y in (-within, 0, within):
            move = torch.tensor([2 * x / size[1], -2 * y / size[0], 0, 0], dtype=clip.dtype)
            explained |= found == triangle_ids(clip + move * clip[..., 3:], triangles, size, "cpu")
    same = (found == expected).double().mean().item()
    share = explained.double().mean().item()
    return {
        "same": same,
        "explained": share,
        "passed": share > 0.9995 and same > (0.98 if within else 0.9999),
    }


def parity(head: Head, quick: bool) -> Found:
    found: Found = {}
    sizes = [(90, 120)] if quick else [(256, 256), (300, 500), (500, 300), (1, 1), (2048, 2048)]
    for backend in present(head.device):
        for number, size in enumerate(sizes):
            clip, triangles = random_mesh(number, size)
            where = f"random, {size[0]} × {size[1]}"
            found.setdefault(backend, {})[where] = agreement(backend, head.device, clip, triangles, size)
        for dtype in (torch.float32, torch.float64):
            size = (64, 64) if quick else (512, 512)
            clip = head.camera(size[0]).clip(head.vertices).to(dtype)
            where = f"head, {size[0]} × {size[1]}, {str(dtype)[6:]}"
            found[backend][where] = agreement(backend, head.device, clip, head.rig.triangles, size)
    return found


# Values and gradients


def picture_and_gradients(renderer: Renderer, vertices: Tensor) -> dict[str, Tensor]:
    """The picture, and the gradients of a weighted sum of it by every parameter, on the CPU."""
    parameters = {"vertices": vertices.clone().requires_grad_()}
    for name, buffer in renderer.named_buffers():
        if buffer.is_floating_point():
            parameters[name] = buffer.requires_grad_()
    picture = renderer(parameters["vertices"])
    height, width = renderer.camera.size
    ramp = torch.linspace(-1, 1, height)[:, None, None] + torch.linspace(0, 1, width)[:, None]
    ramp = ramp.to(picture)
    gradients = torch.autograd.grad((ramp * picture).sum(), list(parameters.values()), allow_unused=True)
    found = {"picture": picture.detach()}
    found |= {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}
    return {name: value.double().cpu() for name, value in found.items()}


def gradients(head: Head, quick: bool) -> Found:
    """Relative differences ‖GPU − CPU‖ / ‖CPU‖ of the plain path, which is all there is on a GPU."""
    found: Found = {}
    size = 48 if quick else 256
    for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 2e-2)):
        vertices = head.batch(2, dtype)
        with fused.plain():
            here = picture_and_gradients(head.renderer(size, "cpu", dtype, rasterizer="cpu"), vertices.cpu())
        there = picture_and_gradients(head.renderer(size, head.device, dtype), vertices)
        for name, expected in here.items():
            norm = expected.norm().clamp(min=1e-30)
            error = ((there[name] - expected).norm() / norm).item()
            found[f"{name}, {str(dtype)[6:]}"] = {"error": error, "passed": error < tolerance}
    renderer, vertices = head.renderer(size, head.device, torch.float64), head.batch(1, torch.float64)
    direction = torch.rand(vertices.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    direction = direction.to(vertices)
    picture, along = torch.func.jvp(renderer, (vertices,), (direction,))[:2]
    weights = torch.rand(picture.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = weights.to(picture)
    back = torch.func.vjp(renderer, vertices)[1](weights)[0]
    left, right = (weights * along).sum(), (back * direction).sum()
    error = ((left - right).abs() / left.abs()).item()
    found["forward against reverse mode, float64"] = {"error": error, "passed": error < 1e-9}
    return found


# nvdiffrast's antialiasing

FOREGROUND, BACKGROUND = 0.8, 0.1  # linear


def antialias(head: Head, quick: bool) -> Found:
    """Derivatives of weighted sums of a one-coloured silhouette against a supersampled reference."""
    size = 64 if quick else 256
    camera = head.camera(size).to(head.device)
    vertices = head.vertices.to(head.device)
    middle = vertices.mean(0)
    pixel = -middle[2].item() / camera.focal_px.item()  # metres
    moves = {
        "x": vertices.new_tensor([pixel, 0, 0]).expand_as(vertices),
        "y": vertices.new_tensor([0, pixel, 0]).expand_as(vertices),
        "scale": (vertices - middle) / 0.1 * pixel,
    }
    # Smooth random weights of the pixels: as many sums of the picture, so that no lucky position decides.
    coarse = torch.rand(8, 1, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    maps = functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)[:, 0]
    maps = maps.to(head.device)

    def ours(points: Tensor, samples: int, outlines: bool) -> Tensor:
        light = Light(torch.ones(3), torch.zeros(3), torch.tensor([0.0, 0, 1]))  # from everywhere
        renderer = Renderer(
            Surface(head.triangles.cpu()),
            Material.plain(torch.full((1, 1, 3), FOREGROUND)),
            camera,
            light,
            torch.full((3,), BACKGROUND),
            samples,
            outlines,
        )
        return renderer.to(points)(points)[..., 0]

    def nvdiffrast(points: Tensor, antialiased: bool = True) -> Tensor:
        import nvdiffrast.torch as dr  # pyright: ignore[reportMissingImports]

        from pipeline.render.backends.nvdiffrast import context

        clip = camera.clip(points)[None].float() * torch.tensor([1.0, -1, 1, 1], device=points.device)
        corners = head.triangles.int()
        seen, _ = dr.rasterize(context(points.device), clip.contiguous(), corners, (size, size))
        both = srgb.encode(torch.tensor([FOREGROUND, BACKGROUND]))
        color = torch.where(seen[..., 3:] > 0, both[0].item(), both[1].item()).contiguous()
        picture = dr.antialias(color, seen, clip.contiguous(), corners) if antialiased else color
        return picture[0, ..., 0].double()

    def slopes(render: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        point = vertices.clone().requires_grad_()
        sums = (maps * render(point)).sum((1, 2))
        gradients = torch.stack([torch.autograd.grad(s, point, retain_graph=True)[0] for s in sums])
        return {name: (gradients * move).sum((1, 2)) for name, move in moves.items()}

    def differences(step: float) -> dict[str, Tensor]:
        found = {}
        for name, move in moves.items():
            ahead = ours(vertices + step * move, 4 if quick else 16, outlines=False)
            back = ours(vertices - step * move, 4 if quick else 16, outlines=False)
            found[name] = (maps * (ahead - back)).sum((1, 2)) / (2 * step)
        return found

    reference = differences(0.5)
    found: Found = {"triangles": len(head.triangles), "size": size}
    candidates = {
        "the reference at twice the step": lambda: differences(1.0),
        "ours, 1 sample a pixel": lambda: slopes(lambda v: ours(v, 1, True)),
        "ours, 2 × 2 samples": lambda: slopes(lambda v: ours(v, 2, True)),
    }
    if "nvdiffrast" in present(head.device):
        candidates["nvdiffrast's antialias"] = lambda: slopes(nvdiffrast)
        with torch.no_grad():
            hard, soft = nvdiffrast(vertices, False), nvdiffrast(vertices)
        caught = (soft - hard).abs() > 1e-6
        pairs = [hard.diff(dim=0) != 0, hard.diff(dim=1) != 0]
        either = [caught[1:] | caught[:-1], caught[:, 1:] | caught[:, :-1]]
        share = sum((p & e).sum() for p, e in zip(pairs, either, strict=True)) / sum(p.sum() for p in pairs)
        found["share of the outline's pixel pairs that nvdiffrast blends"] = float(share)
    for name, derivatives in candidates.items():
        found[name] = {}
        for move, slope in derivatives().items():
            expected = reference[move]
            error = ((slope - expected).norm() / expected.norm()).item()
            share = ((slope * expected).sum() / expected.square().sum()).item()
            found[name][move] = {"share found": share, "error": error}
            if not name.startswith("nvdiffrast"):  # which is the question, not a check
                found[name][move]["passed"] = error < (0.2 if "1 sample" in name or quick else 0.1)
    return found


# Timings


def milliseconds(function: Callable[[], object], device: str, rounds: int, warm_up: int) -> float:
    """The median; CUDA events on a GPU."""
    times = []
    for number in range(warm_up + rounds):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            end.record()
            torch.cuda.synchronize()
            took = start.elapsed_time(end)
        else:
            before = time.perf_counter()
            function()
            took = 1000 * (time.perf_counter() - before)
        if number >= warm_up:
            times.append(took)
    return statistics.median(times)


def timings(head: Head, quick: bool) -> Found:
    """Milliseconds a batch, one sample a pixel, float32; "out of memory" where it is."""
    found: Found = {}
    rounds, warm_up = (1, 1) if quick else (20, 5)
    for size in (32,) if quick else (256, 512):
        for count in (1, 2) if quick else (1, 16, 64, 256):
            vertices = head.batch(count, torch.float32)
            renderer = head.renderer(size, head.device, torch.float32, samples=1)
            clip = renderer.camera.clip(vertices)

            def forward(renderer: Renderer = renderer, vertices: Tensor = vertices) -> None:
                with torch.no_grad():
                    renderer(vertices)

            def both(renderer: Renderer = renderer, vertices: Tensor = vertices) -> None:
                renderer(vertices.requires_grad_()).sum().backward()

            jobs: dict[str, Callable[[], object]] = {"forward": forward, "forward and backward": both}
            for name in present(head.device):
                jobs[f"ids, {name}"] = lambda n=name, c=clip, s=(size, size): triangle_ids(
                    c, head.triangles, s, n
                )
            row: Found = {}
            for name, job in jobs.items():
                try:
                    row[name] = milliseconds(job, head.device, rounds, warm_up)
                except torch.OutOfMemoryError:
                    row[name] = "out of memory"
                if head.device == "cuda":
                    torch.cuda.empty_cache()
            found[f"{size} × {size}, batch {count}"] = row
            print(f"  {size} × {size}, batch {count}: {row}", flush=True)
    return found


def machine(device: str) -> Found:
    found: Found = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "rasterizer": choose(device),
        "absent": {name: reason for name in BACKENDS if (reason := obstacle(name, device)) is not None},
    }
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        found["compute capability"] = f"{major}.{minor}"
    return found


def failures(found: Any, path: str = "") -> list[str]:
    """Where a check did not pass."""
    if not isinstance(found, dict):
        return []
    own = [path] if found.get("passed") is False else []
    return own + [line for key, value in found.items() for line in failures(value, f"{path}/{key}")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args().device
    if device == "cuda" and not torch.cuda.is_available():
        print(
            f"gpu_check: torch {torch.__version__} finds no CUDA GPU here: run it on a machine that has one "
            "(chainrig doctor says what is missing).",
            file=sys.stderr,
        )
        return 2
    rehearsal = device == "cpu"
    head = Head(device)
    found: Found = {"machine": machine(device)}
    print(json.dumps(found["machine"], indent=1))
    for name, check in {
        "parity": parity,
        "gradients": gradients,
        "antialias": antialias,
        "timings": timings,
    }.items():
        print(f"{name} …", flush=True)
        found[name] = check(head, rehearsal)
        if check is not timings:
            print(json.dumps(found[name], indent=1, ensure_ascii=False), flush=True)
    failed = failures(found)
    print(f"{len(failed)} checks failed" + "".join(f"\n  {path}" for path in failed))
    if rehearsal:
        print("A rehearsal on the CPU: nothing is written.")
    else:
        device_name = re.sub(r"\W+", "-", found["machine"]["device"]).strip("-").lower()
        path = RESULTS / f"gpu_check_{found['machine']['date'][:10]}_{device_name}.json"
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(f"Written to {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
