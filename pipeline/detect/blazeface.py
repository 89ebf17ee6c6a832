"""Finding faces in a picture: MediaPipe's short-range BlazeFace.

Bazarevsky, Kartynnik, Vakunov, Raveendran, Grundmann, "BlazeFace: Sub-millisecond Neural Face Detection on
Mobile GPUs" (2019); weights from Google's face_landmarker_v2.task, Apache-2.0, converted by
scripts/build_detector.py. Not a layer of the chain: it only says where the crop of `region.Region` begins.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import assets

INPUT_SIZE = 128
KEYPOINTS = 6  # the subject's right eye, left eye, nose tip, mouth centre, right ear, left ear
MIN_OVERLAP = 0.3  # of intersection and union: above it, two boxes show the same face
MOSTLY_INSIDE = 0.6  # of the smaller box: above it, that box shows a part of the larger one's face


class Boxes(NamedTuple):
    """N faces, or what may be faces.

    Attributes:
        box: (N, 4) left, top, right, bottom.
        keypoints: (N, 6, 2) x, y: the subject's right eye, left eye, nose tip, mouth centre, right, left ear.
        score: (N,) probability of a face.
    """

    box: Tensor
    keypoints: Tensor
    score: Tensor

    def pick(self, which: Tensor) -> "Boxes":
        """Those that a mask (N,) or indices pick."""
        return Boxes(self.box[which], self.keypoints[which], self.score[which])


class BlazeBlock(nn.Module):
    """Residual block: depthwise 3×3, then 1×1.

    The shortcut is max-pooled at stride 2; the channels that it lacks are zero.
    """

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            before, before, 3, stride=stride, padding=1 if stride == 1 else 0, groups=before
        )
        self.pointwise = nn.Conv2d(before, width, 1)
        self.stride, self.missing = stride, width - before

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.stride == 1 else F.max_pool2d(x, 2)
        if self.stride == 2:
            x = F.pad(x, (0, 1, 0, 1))
        return F.relu(F.pad(shortcut, (0, 0, 0, 0, 0, self.missing)) + self.pointwise(self.depthwise(x)))


class BlazeFace(nn.Module):
    """Face detector for faces wider than about a sixth of the picture.

    `forward`: (B, 128, 128, 3) sRGB in [0, 1] -> logits (B, 896), boxes (B, 896, 16) relative to `anchors()`:
    x and y of the centre, width, height, then the six keypoints, in pixels of the input.
    """

    # (channels before, after, stride) of each block
    FINE = ((24, 24), (24, 28), (28, 32, 2), (32, 36), (36, 42), (42, 48, 2), (48, 56), (56, 64), (64, 72),
            (72, 80), (80, 88))  # fmt: skip
    COARSE = ((88, 96, 2), (96, 96), (96, 96), (96, 96), (96, 96))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=2)
        self.fine = nn.Sequential(*(BlazeBlock(*sizes) for sizes in self.FINE))  # to 16×16 pixels
        self.coarse = nn.Sequential(*(BlazeBlock(*sizes) for sizes in self.COARSE))  # to 8×8 pixels
        self.fine_score = nn.Conv2d(88, 2, 1)
        self.coarse_score = nn.Conv2d(96, 6, 1)
        self.fine_box = nn.Conv2d(88, 2 * 16, 1)
        self.coarse_box = nn.Conv2d(96, 6 * 16, 1)
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: Path | None = None) -> "BlazeFace":
        """The trained network, float32, from a safetensors file (default: the one in assets)."""
        network = cls()
        network.load_state_dict(load_file(path or assets.path("face_detector.safetensors")))
        return network

    @staticmethod
    def anchors() -> Tensor:
        """(896, 2) centres in [0, 1]²: two at each of 16×16 cells, then six at each of 8×8."""
        grids = []
        for cells, repeat in ((16, 2), (8, 6)):
            centre = (torch.arange(cells) + 0.5) / cells
            y, x = torch.meshgrid(centre, centre, indexing="ij")
            grids.append(torch.stack([x, y], dim=-1).reshape(-1, 2).repeat_interleave(repeat, dim=0))
        return torch.cat(grids)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = 2 * x.permute(0, 3, 1, 2) - 1
        x = F.pad(x, (1, 2, 1, 2))
        fine = self.fine(F.relu(self.stem(x)))
        coarse = self.coarse(fine)

        def by_anchor(maps: Tensor, size: int) -> Tensor:  # [B, A·size, H, W] -> [B, H·W·A, size]
            return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, size)

        logits = torch.cat(
            [by_anchor(self.fine_score(fine), 1), by_anchor(self.coarse_score(coarse), 1)], dim=1
        )
        boxes = torch.cat([by_anchor(self.fine_box(fine), 16), by_anchor(self.coarse_box(coarse), 16)], dim=1)
        return logits.squeeze(-1), boxes

    @torch.no_grad()
    def detect(self, x: Tensor, min_score: float = 0.5) -> list[Boxes]:
        """Every anchor that sees a face, image by image, overlapping ones not yet merged (see `merge`).

        Args:
            x: (B, 128, 128, 3) sRGB in [0, 1].
            min_score: smallest probability.

        Returns:
            B times `Boxes` in units of the picture's side: [0, 1] is inside.
        """
        logits, values = self(x)
        scores = torch.sigmoid(logits)
        anchors = self.anchors().to(values)
        found = []
        for score, value in zip(scores, values, strict=True):
            seen = score >= min_score
            centre, size, keypoints = (value[seen] / INPUT_SIZE).split([2, 2, 2 * KEYPOINTS], dim=-1)
            anchor = anchors[seen]
            centre = centre + anchor
            found.append(
                Boxes(
                    box=torch.cat([centre - size / 2, centre + size / 2], dim=-1),
                    keypoints=keypoints.reshape(-1, KEYPOINTS, 2) + anchor[:, None],
                    score=score[seen],
                )
            )
        return found


def overlap(box: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and over the smaller area, of a box (4,) with N boxes (N, 4): two (N,)."""
    extent = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])
    common = extent.clamp_min(0).prod(-1)
    area, areas = (box[2:] - box[:2]).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return common / (area + areas - common), common / torch.minimum(area, areas)


def same_face(box: Tensor, boxes: Tensor) -> Tensor:
    """Whether a box (4,) shows the face of each of N boxes (N, 4), or a part of it: (N,) bool."""
    union, inside = overlap(box, boxes)
    return (union > MIN_OVERLAP) | (inside > MOSTLY_INSIDE)


def merge(boxes: Boxes) -> Boxes:
    """One box a face: the mean, weighted by score, of each best box and those that overlap it. Best first."""
    left = boxes.pick(torch.argsort(boxes.score, descending=True))
    kept: list[Boxes] = []
    while len(left.score):
        same = overlap(left.box[0], left.box)[0] > MIN_OVERLAP
        weight = left.score[same] / left.score[same].sum()
        kept.append(
            Boxes(
                box=(weight[:, None] * left.box[same]).sum(0, keepdim=True),
                keypoints=(weight[:, None, None] * left.keypoints[same]).sum(0, keepdim=True),
                score=left.score[:1],
            )
        )
        left = left.pick(~same_face(left.box[0], left.box))
    if not kept:
        return boxes
    return Boxes(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
