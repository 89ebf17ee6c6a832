"""What a batch costs beside its fits, and how it compares with a process for every photo.

    python benchmarks/batch.py                       # the machinery alone: about a minute
    python benchmarks/batch.py --photos DIR --fits 8 # and real fits: one process each, then 1 and 2 workers
    python benchmarks/batch.py --write               # puts the figures into benchmarks/results/batch.json

Processor time is what other programs disturb least; the clock's figures need an idle machine.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.batch.discovery import IMAGES, find_images
from pipeline.batch.fitting import load
from pipeline.batch.manifest import FittedFace, Manifest, read_manifests
from pipeline.batch.plan import Task
from pipeline.batch.recipe import Recipe, recipe_of
from pipeline.batch.run import Batch
from pipeline.batch.work import failed
from pipeline.config import Config

RESULT = Path(__file__).parent / "results" / "batch.json"
SIZES = {"overlay.png": 1_100_000, "fit.json": 45_000, "controls.csv": 1_600, "config.yaml": 2_900}
Figures = dict[str, float]


@dataclass(frozen=True)
class Quick:
    """A fit that takes no time and leaves files as large as a real one's."""

    told = FittedFace(0, "converged", 0.5)

    def files(self) -> dict[str, bytes]:
        return {name: bytes(size) for name, size in SIZES.items()}


def no_fit(path: Path) -> Sequence[Quick]:
    return [Quick()]


def load_no_fit() -> Callable[[Path], Sequence[Quick]]:
    return no_fit


def machinery(images: int) -> Figures:
    """Seconds an image of everything but the fit, with one worker."""
    recipe = Recipe("", "", "")
    with tempfile.TemporaryDirectory() as temporary:
        source, out = Path(temporary, "photos"), Path(temporary, "out")
        source.mkdir()
        for number in range(images):
            (source / f"{number:06d}.jpg").write_bytes(os.urandom(100_000))
        found = find_images(str(source))
        ran = measured(partial(run, Batch(found, out, recipe, workers=1), load_no_fit))
        began = time.process_time()
        plan = Batch(found, out, recipe).plan()
        planned = time.process_time() - began
        assert plan.done == images
    return {
        "images": images,
        "clock_ms_an_image": ran["clock_s"] / images * 1e3,
        "processor_ms_an_image": ran["processor_s"] / images * 1e3,
        "plan_again_ms_an_image": planned / images * 1e3,
    }


def manifest(entries: int) -> Figures:
    """What a long manifest costs to read: processor seconds and memory."""
    recipe = Recipe(
        "c" * 64, "w" * 64, "chainrig 0.1.0, torch 2.13.0, numpy 2.4.6, numba 0.68.1, python 3.11.7"
    )
    one = replace(
        failed(Task("x", Path("/x"), "x"), recipe, ""),
        status="done",
        sha256="s" * 64,
        faces=(FittedFace(0, "converged", 0.5),),
        seconds={"hash": 0.001, "fit": 9.123, "write": 0.321},
    )
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "manifest.jsonl")
        with closing(Manifest(path)) as written:
            written.append(one)
        line = path.read_text()
        with path.open("w") as file:
            for number in range(entries):
                name = f"shoot/{number:08d}"
                file.write(
                    line.replace('"input": "x"', f'"input": "{name}.jpg"').replace("/x", f"/data/{name}.jpg")
                )
        size = path.stat().st_size
        began = time.process_time()
        read = read_manifests(path.parent)
        seconds = time.process_time() - began
        assert len(read) == entries
        del read
        tracemalloc.start()
        kept = read_manifests(path.parent)
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == entries
    return {
        "entries": entries,
        "bytes_an_entry": size / entries,
        "read_s": seconds,
        "memory_bytes_an_entry": memory / entries,
    }


def fits(photos: Path, count: int) -> dict[str, Figures]:
    """The same photos by a process each, by one worker, and by two."""
    found = find_images(str(photos))[:count]
    settings = Config()
    loading = partial(load, settings, "largest")
    recipe = recipe_of(settings, "largest")
    told: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as temporary:

        def alone() -> None:
            for image in found:
                command = [sys.executable, "-m", "pipeline", "fit", str(image.path), "--quiet"]
                subprocess.run([*command, "--out", str(Path(temporary, "alone"))], check=True)

        def together(workers: int) -> None:
            out = Path(temporary, f"{workers}")
            run(Batch(found, out, recipe, workers=workers), loading)
            shutil.rmtree(out)

        ways = {"a process each": alone} | {f"{n} workers": partial(together, n) for n in (1, 2)}
        for name, way in ways.items():
            told[name] = {"photos": len(found), **measured(way)}
            print(name, told[name], flush=True)
    return told


def run(batch: Batch, loading: Any) -> None:
    with batch.begun(loading) as (_, entries):
        for entry in entries:
            assert entry.status == "done", entry.error


def measured(way: Callable[[], object]) -> Figures:
    """Seconds by the clock and of all processors, and the largest process so far, MiB."""

    def processor() -> float:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    clock, began = time.perf_counter(), processor()
    way()
    return {
        "clock_s": time.perf_counter() - clock,
        "processor_s": processor() - began,
        "largest_process_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--photos", type=Path, help=f"a folder of {', '.join(IMAGES)} files")
    arguments.add_argument("--fits", type=int, default=8)
    arguments.add_argument("--images", type=int, default=300)
    arguments.add_argument("--entries", type=int, default=100_000)
    arguments.add_argument("--write", action="store_true")
    asked = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    figures: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "machinery": machinery(asked.images),
        "manifest": manifest(asked.entries),
    }
    if asked.photos is not None:
        figures["fits"] = fits(asked.photos, asked.fits)
    text = json.dumps(figures, indent=1)
    print(text)
    if asked.write:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
