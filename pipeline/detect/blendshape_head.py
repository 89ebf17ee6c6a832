"""X4′, what the landmarks mean: 52 blendshape scores, as MediaPipe reads them from FaceMesh's points.

Weights from Google's face_landmarker_v2.task, Apache-2.0, converted by scripts/build_detector.py. The network
is an MLP-mixer (Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", 2021).

An objective that compares such semantic outputs of the render and the photo, besides points, is what Bao,
Wu, Yao, Fedkiw, "Deep Energies for Estimating Three-Dimensional Facial Pose and Expression" (2018), propose.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import assets
from pipeline.detect.facemesh import LANDMARKS
from pipeline.layer import Layer

# ARKit's names but for the first, which is no expression; ARKit's tongueOut is missing.
SCORES = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight"),
    *("eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft"),
    *("eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight"),
    *("eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel"),
    *("mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    *("mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)

# The landmarks that it reads, of 478.
READ = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67),
    *(70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146),
    *(148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181),
    *(185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293),
    *(295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361),
    *(362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398),
    *(400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477),
)

TOKENS, WIDTH = 96, 64
EPSILON = 1e-6  # of the layer norms


class MixerBlock(nn.Module):
    """Mixes the tokens, then the channels of each: (*B, tokens, channels) -> the same shape."""

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.token_norm = nn.Parameter(torch.ones(channels))
        self.token_mlp = nn.Sequential(nn.Linear(tokens, 384), nn.ReLU(), nn.Linear(384, tokens))
        self.channel_norm = nn.Parameter(torch.ones(channels))
        self.channel_mlp = nn.Sequential(nn.Linear(channels, 256), nn.ReLU(), nn.Linear(256, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.token_mlp(F.layer_norm(x, x.shape[-1:], self.token_norm, eps=EPSILON).mT).mT
        return x + self.channel_mlp(F.layer_norm(x, x.shape[-1:], self.channel_norm, eps=EPSILON))


class BlendshapeHead(Layer):
    """Landmarks to scores in (0, 1), in the order of `SCORES`: `(*B, 478, 2 or 3) -> (*B, 52)`.

    Input: pixels, y down; z is not read. Where the face is and how large does not matter, how it is turned
    does. MediaPipe hands over pixels of the photo, so its scores depend on the photo's tilt; landmarks of a
    crop (X4) are those of an upright face. Piecewise smooth; forward- and reverse-mode AD.

    After a detector it makes a layer from pixels to scores: `Pipeline([FaceMesh.load(),
    BlendshapeHead.load()])`, whose `stations` are pixels, landmarks X4 and scores X4′.
    """

    name = "scores"
    input_axes = ("landmark", "xyz")
    output_axes = ("score",)
    read: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0))
        self.tokens = nn.Linear(len(READ), TOKENS)
        self.embed = nn.Linear(2, WIDTH)
        self.class_token = nn.Parameter(torch.zeros(WIDTH))  # of which the scores are read in the end
        self.blocks = nn.ModuleList(MixerBlock(1 + TOKENS, WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, len(SCORES))
        self.requires_grad_(False)
        self.register_buffer("read", torch.tensor(READ), persistent=False)

    @classmethod
    def load(cls, path: Path | None = None) -> "BlendshapeHead":
        """The trained network, float32, from a safetensors file (default: the one in assets)."""
        network = cls()
        network.load_state_dict(load_file(path or assets.path("face_blendshapes.safetensors")))
        return network

    def forward(self, x: Tensor) -> Tensor:
        """Scores (*B, 52) of landmarks (*B, 478, 2 or 3).

        Raises:
            ValueError: the landmarks have another shape.
        """
        if x.ndim < 2 or x.shape[-2] != LANDMARKS or x.shape[-1] not in (2, 3):
            raise ValueError(f"BlendshapeHead takes (*B, {LANDMARKS}, 2 or 3), got {tuple(x.shape)}.")
        points = x[..., :2].index_select(-2, self.read)  # [*B, 146, 2]
        points = points - points.mean(-2, keepdim=True)
        points = points / torch.linalg.vector_norm(points, dim=-1, keepdim=True).mean(-2, keepdim=True)
        tokens = self.embed(self.tokens(self.scale * points.mT).mT)  # [*B, 96, 64]
        y = torch.cat([self.class_token.expand(*tokens.shape[:-2], 1, WIDTH), tokens], dim=-2)
        for block in self.blocks:
            y = block(y)
        return torch.sigmoid(self.head(y[..., 0, :]))
