"""Small pictures of the faces of a run: the photo and the rig, out of overlay.png."""

import base64
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from pipeline.batch.disk import PRIVATE
from pipeline.batch.pool import cores
from pipeline.outputs.overlay import GAP, PAPER, TITLE

SIDE = 112  # pixels; two of them, side by side, take about 2.5 kB
QUALITY = 70
KEPT = "thumbnails"  # in the run's private folder: a large run's take minutes to make, a report seconds


def thumbnails(run: Path, faces: Sequence[str]) -> list[str]:
    """Base64 of a WebP of `2 · SIDE × SIDE` pixels for every face; "" where there is no overlay.

    Those of an earlier report are taken again where the overlay has not changed since.

    Args:
        run: the run's folder.
        faces: their folders, from the run's folder on.

    Raises:
        OSError: the run's folder takes no files.
    """
    kept = run / PRIVATE / KEPT
    kept.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(cores()) as pool:  # Pillow lets others work while it decodes
        found = list(pool.map(lambda face: _thumbnail(run / face / "overlay.png", kept), faces))
    for old in set(kept.iterdir()) - {path for path, _ in found}:
        old.unlink(missing_ok=True)
    return [base64.b64encode(content).decode() for _, content in found]


def _thumbnail(overlay: Path, kept: Path) -> tuple[Path, bytes]:
    try:
        stat = overlay.stat()
    except OSError:
        return overlay, b""
    key = f"{SIDE} {QUALITY} {overlay} {stat.st_mtime_ns} {stat.st_size}"
    path = kept / (hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32] + ".webp")
    if not path.is_file():
        content = _drawn(overlay)
        if not content:
            return overlay, b""
        path.write_bytes(content)
    return path, path.read_bytes()


def _drawn(overlay: Path) -> bytes:
    """Photo and rig: the first two of the overlay's three panels."""
    try:
        with Image.open(overlay) as picture:
            whole = picture.convert("RGB")
    except (OSError, SyntaxError):  # as Pillow says that a PNG is broken
        return b""
    width = (whole.width - 4 * GAP) // 3
    pair = Image.new("RGB", (2 * SIDE, SIDE), PAPER)
    for column in range(2):
        left = GAP + column * (width + GAP)
        panel = whole.crop((left, TITLE, left + width, whole.height - GAP))
        pair.paste(ImageOps.pad(panel, (SIDE, SIDE), Image.Resampling.BOX, PAPER), (column * SIDE, 0))
    file = BytesIO()
    pair.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()
