"""Three hundred images, twelve of them broken, killed five times: is the end what an undisturbed run has?

    python benchmarks/batch_soak.py [--images 300] [--kills 5] [--photos DIR] [--folder DIR] [--write]
    python benchmarks/batch_soak.py --memory 500 [--write]     # one worker's memory, image after image
    python benchmarks/batch_soak.py --memory 20 --real --write # the same with the settings of a real fit

Images are renders (and photos, where a folder of them is given) in small copies of different light, some of
them the same to the byte, with spaces and accents in their names, in nested folders. Fits are cheap ones,
`CHEAP`: what is asked here is whether anything is lost, not how good it is. About 2.5 s of one core an image
and run. `chainrig batch` is started as users start it, in processes of its own, and killed with its workers
left behind, at moments drawn at random.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from pipeline import assets
from pipeline.batch.discovery import IMAGES
from pipeline.batch.manifest import read_manifests

RESULTS = Path(__file__).parent / "results"
CHEAP = ["fit.derivatives=embedding", "fit.iterations=2", "appearance.fit=false", "render.samples=1"]
SIDE = 288  # pixels
RENDERS = 8
PLACES = ("", "day 1/", "day 1/Ännchen & Bob/", "night #2/", "日本/")


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG that says it is huge."""
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    end = b"\0\0\0\0IEND\xaeB`\x82"
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big") + end


def broken(good: Image.Image) -> dict[str, bytes]:
    """Twelve files that cannot be fitted, each for a reason of its own."""
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    jpeg, png = encoded(good, "JPEG"), encoded(good, "PNG")
    gray = Image.new("RGB", (SIDE, SIDE), "gray")
    return {
        "empty.jpg": b"",
        "a text.png": b"not an image\n",
        "half.jpg": jpeg[: len(jpeg) // 3],
        "half.png": png[: len(png) // 2],
        "scratched.png": png[:2000] + bytes(500) + png[2500:],
        "tiny.png": encoded(good.resize((16, 16)), "PNG"),
        "a wall.jpg": encoded(gray, "JPEG"),
        "snow.png": encoded(Image.fromarray(noise), "PNG"),
        "bomb.png": bomb(60_000),
        "float.tif": encoded(Image.new("F", (64, 64), 0.5), "TIFF"),
        "zeros.jpg": bytes(300_000),
        "a page.jpeg": b"<!doctype html><title>404</title>",
    }


def faces(photos: Path | None) -> list[Image.Image]:
    """Renders of the rig, and photos."""
    from benchmarks.known_controls import draw, photograph

    found = [photograph(*draw(900 + seed)).pixels.numpy() for seed in range(RENDERS)]
    pictures = [Image.fromarray(pixels) for pixels in found]
    paths = sorted(photos.rglob("*")) if photos is not None else []
    for path in [assets.path("example.png"), *paths]:
        if path.suffix.lower() in IMAGES:
            with contextlib.suppress(OSError), Image.open(path) as image:
                pictures.append(image.convert("RGB"))
    return pictures


def make(folder: Path, count: int, photos: Path | None) -> None:
    """So many files; every ninth is one that was there before, to the byte."""
    if folder.exists():
        return
    pictures, draft = faces(photos), folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for place in PLACES:
        (draft / place).mkdir(parents=True, exist_ok=True)
    bad = broken(pictures[0].resize((SIDE, SIDE)))
    for number, (name, data) in enumerate(bad.items()):
        (draft / PLACES[number % len(PLACES)] / name).write_bytes(data)
    data = b""
    for number in range(count - len(bad)):
        if number % 9 or not data:
            image = pictures[number % len(pictures)].copy()
            image.thumbnail((SIDE, SIDE))
            data = encoded(ImageEnhance.Brightness(image).enhance(0.8 + 0.001 * number), "PNG")
        (draft / PLACES[number % len(PLACES)] / f"face é {number:03d}.png").write_bytes(data)
    draft.rename(folder)


def started(source: Path, out: Path, workers: int, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "batch", str(source), "--out", str(out), "--quiet"]
    command += ["--workers", str(workers), *(f"--set={setting}" for setting in settings)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def lines(out: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return (out / "manifest.jsonl").read_bytes().count(b"\n")
    return 0


def results(out: Path) -> dict[str, Any]:
    """Every file of every face, without the time that it took."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("face-*/*")):
        name = path.relative_to(out).as_posix()
        found[name] = path.read_bytes()
        if path.name == "fit.json":
            found[name] = {key: value for key, value in json.loads(found[name]).items() if key != "seconds"}
    return found


def soak(folder: Path, count: int, kills: int, workers: int, photos: Path | None) -> dict[str, Any]:
    """What became of an undisturbed run, and of one that was killed."""
    source = folder / "images"
    make(source, count, photos)
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    assert started(source, whole, workers, CHEAP).wait() == 0
    undisturbed = time.monotonic() - began
    chance = random.Random(8)
    moments = sorted(chance.sample(range(1, count - 1), kills))
    for moment in moments:
        with started(source, killed, workers, CHEAP) as process:
            while lines(killed) < moment and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 2))  # amid a fit, a write, or a line
            process.send_signal(signal.SIGKILL)
    assert started(source, killed, workers, CHEAP).wait() == 0
    ends = {name: read_manifests(out) for name, out in (("whole", whole), ("killed", killed))}
    one, other = results(whole), results(killed)
    failed = {name: entry.error for name, entry in ends["killed"].items() if entry.status == "failed"}
    hidden = [path for path in (killed / ".chainrig" / "drafts").rglob("*") if path.is_file()]
    return {
        "images": count,
        "inputs_in_the_manifest": len(ends["killed"]),
        "lines_of_the_manifest": lines(killed),
        "killed_after_lines": moments,
        "same_files": one.keys() == other.keys(),
        "files": len(one),
        "files_that_differ": sorted(name for name in one.keys() & other.keys() if one[name] != other[name]),
        "same_statuses": {name: entry.status for name, entry in ends["whole"].items()}
        == {name: entry.status for name, entry in ends["killed"].items()},
        "failed": failed,
        "left_behind": len(hidden),
        "seconds_undisturbed": round(undisturbed, 1),
    }


def workers_of(process: int) -> Iterator[tuple[int, float]]:
    """The largest process below it, and its memory in MiB."""
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, KeyError, ValueError):
            told = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
            if int(told["PPid"]) == process and "VmRSS" in told:
                yield int(told["Pid"]), int(told["VmRSS"].split()[0]) / 1024


def memory(folder: Path, count: int, settings: Sequence[str], photos: Path | None) -> dict[str, Any]:
    """Of the one worker, whenever another image is done."""
    source, out = folder / f"memory-{count}", folder / f"memory-{count}-out"
    make(source, count, photos)
    shutil.rmtree(out, ignore_errors=True)
    seen: list[float] = []
    highest = 0.0
    with started(source, out, 1, settings) as process:
        while process.poll() is None:
            now = max((mib for _, mib in workers_of(process.pid)), default=0.0)
            highest = max(highest, now)
            if lines(out) > len(seen):
                seen.append(now)
            time.sleep(0.02)
    tenth = max(1, len(seen) // 10)
    pieces = [seen[k : k + tenth] for k in range(0, len(seen), tenth)]
    return {
        "images": count,
        "settings": list(settings),
        "highest_mib": round(highest),
        "mean_mib_of_each_tenth": [round(sum(piece) / len(piece)) for piece in pieces],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("out/benchmark-soak"))
    parser.add_argument("--photos", type=Path, help="photographs to take along")
    parser.add_argument("--memory", type=int, help="watch one worker over so many images")
    parser.add_argument("--real", action="store_true", help="with --memory: a fit's own settings")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.memory is None:
        name = "batch_soak.json"
        figures = soak(asked.folder, asked.images, asked.kills, asked.workers, asked.photos)
    else:
        name = f"batch_memory{'_real' * asked.real}.json"
        figures = memory(asked.folder, asked.memory, [] if asked.real else CHEAP, asked.photos)
    about = {
        "command": " ".join(["benchmarks/batch_soak.py", *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    text = json.dumps(about | figures, indent=1, ensure_ascii=False)
    print(text)
    if asked.write:
        (RESULTS / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
