"""Whether FAN works on this machine: its weights, and its points on the example photo beside FaceMesh's."""

import time
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pipeline import assets
from pipeline.detect import blazeface, fan_weights
from pipeline.detect.embedding import IBUG68
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.fan import FAN, fan_region
from pipeline.detect.fan_weights import Variant
from pipeline.detect.region import MARGIN, Region
from pipeline.errors import ChainRigError

JAW = 17  # the first points: they mean something else in the two schemes
OUTER_EYES = (36, 45)
FAR = 10.0  # % of the distance between the outer eye corners: FAN does not see this face


class Verdict(NamedTuple):
    """What to tell.

    Attributes:
        usable: whether a fit with FAN would work.
        note: one sentence: what was found, or what is wrong and what to do.
    """

    usable: bool
    note: str


def doctor_check(variant: Variant = "2d") -> Verdict:
    """For `chainrig doctor --detector fan`: downloads nothing, takes a few seconds."""
    try:
        path = fan_weights.place(variant)
        if not path.is_file():
            return Verdict(
                False,
                f"its weights are not in {path.parent}: the first fit with it downloads them (about 100 MB), "
                f"or put {fan_weights.ADDRESS}{path.name} there yourself",
            )
        fan = FAN.load(variant)
        apart, confidence, seconds = compare_on_example(fan)
    except ChainRigError as error:
        return Verdict(False, str(error))
    told = f"its points lie {apart:.1f} % of the eye distance from FaceMesh's on the example photo"
    if not apart < FAR:
        return Verdict(False, f"the weights {path} load, but {told}: get them again, and report this")
    return Verdict(
        True,
        f"68 points ({variant}), weights in {path}; {told} (mean confidence {confidence:.2f}, "
        f"{seconds:.1f} s a face)",
    )


@torch.no_grad()
def compare_on_example(fan: FAN) -> tuple[float, float, float]:
    """FAN on the example photo: mean distance of brows, nose, eyes and mouth from FaceMesh's in % of the
    distance between the outer eye corners, mean confidence, and seconds that it took."""
    photo = torch.from_numpy(np.array(Image.open(assets.path("example.png")).convert("RGB"))) / 255
    box = _face(photo)
    region = fan_region(box)
    began = time.perf_counter()
    reading = fan.forward_full(region.crop(photo))
    seconds = time.perf_counter() - began
    points, theirs = region.map_to_photo(reading.landmarks), _mesh(photo, box)
    eyes = (theirs[OUTER_EYES[0]] - theirs[OUTER_EYES[1]]).norm()
    apart = 100 * (points - theirs)[JAW:].norm(dim=-1).mean() / eyes
    return float(apart), float(reading.confidence.mean()), seconds


def _face(photo: Tensor) -> Tensor:
    """The box (4,) of the one face that the example photo (H, W, 3) shows."""
    side = (blazeface.INPUT_SIZE, blazeface.INPUT_SIZE)
    small = F.interpolate(photo.permute(2, 0, 1)[None], side, mode="bilinear", antialias=True)
    (found,) = blazeface.BlazeFace.load().detect(small.permute(0, 2, 3, 1))
    height, width = photo.shape[:2]
    return blazeface.merge(found).box[0] * torch.tensor([width, height, width, height])


def _mesh(photo: Tensor, box: Tensor) -> Tensor:
    """FaceMesh's points (68, 2) of an upright face."""
    mesh = FaceMesh.load()
    side = MARGIN * (box[2:] - box[:2]).amax()
    region = Region((box[:2] + box[2:]) / 2, side, torch.zeros_like(side))
    for _ in range(3):
        landmarks = region.map_to_photo(mesh(region.crop(photo)))
        region = Region.around(landmarks)
    return landmarks[list(IBUG68), :2]
