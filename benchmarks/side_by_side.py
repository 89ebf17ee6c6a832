"""What a face costs when several go through the chain at once.

    python benchmarks/side_by_side.py                    # passes of the chain by the size of the batch
    python benchmarks/side_by_side.py --photos DIR       # and whole fits of these photos
    python benchmarks/side_by_side.py --device cuda --sizes 1 4 16 64 256 --write

The passes are forward and backward, 256 × 256 pixels of 2 × 2 samples, every face with its own camera, light
and texture, float32, as in a fit. Sizes take turns, so that a busy machine is unfair to none.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.config import Config, load_config
from pipeline.fit import FaceFitter
from pipeline.lockstep import SharedChain, run_together
from pipeline.portrait import Look
from pipeline.render.camera import Camera
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

RESULT = Path(__file__).parent / "results" / "side_by_side.json"
ROUNDS, TIMES = 5, 4


def faces(fitter: FaceFitter, count: int) -> list[tuple[SharedChain, Tensor]]:
    """Chains and controls `(K,)` of faces, none like another."""
    space, texture = fitter.rig.controls, fitter.studio.texture()
    found = []
    for i in range(count):
        camera = Camera(torch.tensor(1230.0 + i), torch.full((2,), 128.0))
        light = Light(torch.full((3,), 0.3 + 0.001 * i), torch.ones(3), torch.tensor([0.1, 0.4, 1.0]))
        look = Look(Material(texture * (1 - 0.001 * i)), light)
        pose = {"headTranslationY": 0.035, "headTranslationZ": -1.2, "headRotationY": 0.002 * i}
        x = space.pack(pose, space.rest).float()
        found.append((fitter.studio.chain(camera, fitter.detector, look), x))
    return found


def look_and_pull(chain: SharedChain, x: Tensor) -> None:
    for _ in range(TIMES):
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(chain(leaf).sum(), leaf)


def passes(config: Config, sizes: Sequence[int]) -> dict[str, Any]:
    """Milliseconds a face, by the size of the batch: medians."""
    fitter = FaceFitter(config)
    all_faces = faces(fitter, max(sizes))
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(ROUNDS + 1):
        for size in sizes:
            programs = [partial(look_and_pull, chain, x) for chain, x in all_faces[:size]]
            seconds = timed(partial(run_together, programs), config)
            if number:  # the first warms up
                took[size].append(1000 * seconds / size / TIMES)
    return {str(size): round(statistics.median(times), 1) for size, times in took.items()}


def fits(config: Config, photos: Sequence[Path], sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds a photo and mean residual, by the number of fits side by side."""
    fitter = FaceFitter(config)
    read = [read_photo(path) for path in photos]
    programs = [
        partial(fitter.fit, photo, max(find_faces(photo.pixels), key=lambda face: face.area))
        for photo in read
    ]
    programs[0]()
    told: dict[str, Any] = {}
    for size in sizes:
        groups = [programs[first : first + size] for first in range(0, len(programs), size)]
        results = []
        began = time.perf_counter()
        for group in groups:
            results += run_together(group)
        told[str(size)] = {
            "seconds_a_photo": round((time.perf_counter() - began) / len(programs), 2),
            "residual_mean_percent": round(statistics.mean(one.residual_final for one in results), 4),
        }
        print("side by side", size, told[str(size)], flush=True)
    return told


def timed(job: Callable[[], object], config: Config) -> float:
    began = time.perf_counter()
    job()
    if config.fit.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--photos", type=Path, help="a folder of portraits")
    parser.add_argument("--fits", type=int, default=16, help="photos of the folder, at most")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}, or one with the device")
    arguments = parser.parse_args()
    config = load_config(None, [*arguments.set, f"fit.device={arguments.device}"])
    torch.set_num_threads(config.fit.threads)
    on_gpu = arguments.device == "cuda"
    told: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "CPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "milliseconds_a_face_forward_and_backward": passes(config, arguments.sizes),
    }
    print(json.dumps(told, indent=1), flush=True)
    if arguments.photos:
        photos = sorted(path for path in arguments.photos.iterdir() if path.suffix in (".jpg", ".png"))
        told["fits"] = fits(config, photos[: arguments.fits], arguments.sizes)
    if arguments.write:
        path = RESULT.with_stem("side_by_side_cuda") if on_gpu else RESULT
        path.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
