"""Network and postprocess as a layer of the chain."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.detect.training import checkpoint, heatmap
from pipeline.detect.training.network import CELLS, INPUT, POINTS, HeatmapNetwork
from pipeline.errors import ChainRigError

CROP_SIZE = 256
KIND = "heatmaps of 68 points"


class HeatmapDetector(LandmarkDetector):
    """A 256×256 crop of a face to 68 points: `(*B, 256, 256, 3) -> (*B, 68, 2)`.

    Input: sRGB-encoded colours in [0, 1], the region that `Region.around` asks for. Output: x, y in pixels of
    the crop (corner origin, centres at +0.5), in iBUG's order. Smooth in the pixels; float32 or float64;
    forward- and reverse-mode AD.

    Args:
        network: frozen and in evaluation mode from here on.
        temperature: of the soft arg max; 0 gives the hard one, without a derivative.
    """

    def __init__(self, network: HeatmapNetwork, temperature: float = 1.0) -> None:
        super().__init__()
        self.title = "heatmaps"
        self.network = network.eval().requires_grad_(False)
        self.temperature = temperature

    @classmethod
    def load(cls, path: Path, temperature: float = 1.0) -> "HeatmapDetector":
        """A trained network, float32, from the file that training wrote.

        Raises:
            ChainRigError: the file is missing or damaged, or its weights are of another architecture.
        """
        tensors, about = checkpoint.read(path)
        kind, widths = about.get("kind", "unknown"), about.get("widths")
        if kind != KIND:
            raise ChainRigError(
                f"{path} holds weights of another architecture: {kind}. Give a file that chainrig "
                "train-detector wrote."
            )
        widths = [width for width in widths if isinstance(width, int)] if isinstance(widths, list) else []
        finite = all(bool(one.isfinite().all()) for one in tensors.values())
        if len(widths) < 2 or min(widths) < 2 or not finite:
            raise ChainRigError(f"{path} is damaged: train anew or copy it again.")
        network = HeatmapNetwork(tuple(widths))
        try:
            network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except RuntimeError:
            raise ChainRigError(
                f"{path} holds weights of another version of this network: train it anew."
            ) from None
        detector = cls(network, temperature)
        detector.title = path.name
        return detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def save(self, path: Path, about: dict[str, Any] | None = None) -> None:
        """The weights in half precision, which moves points by less than a hundredth of a pixel."""
        kept = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in self.network.state_dict().items()
        }
        checkpoint.write(path, kept, {"kind": KIND, "widths": self.network.widths, **(about or {})})

    def scores(self, x: Tensor) -> Tensor:
        """Heatmaps `(*B, 68, 16, 16)` of crops `(*B, 256, 256, 3)`, before the soft arg max."""
        if x.shape[-3:] != (CROP_SIZE, CROP_SIZE, 3):
            raise ChainRigError(
                f"The detector takes (*B, {CROP_SIZE}, {CROP_SIZE}, 3), not {tuple(x.shape)}: "
                "crop the face first."
            )
        planes = x.reshape(-1, CROP_SIZE, CROP_SIZE, 3).permute(0, 3, 1, 2)
        small = functional.avg_pool2d(planes, CROP_SIZE // INPUT)
        return self.network(small).reshape(*x.shape[:-3], POINTS, CELLS, CELLS)

    def forward(self, x: Tensor) -> Tensor:
        return heatmap.decode(self.scores(x), self.temperature) * (CROP_SIZE / CELLS)
