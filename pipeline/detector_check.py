"""Whether a detector works here: its weights, and its points on the example photo beside FaceMesh's."""

import time
from typing import NamedTuple

import torch

from pipeline import assets
from pipeline.detect import fan_weights
from pipeline.detect.detectors import load_detector
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.fan import FAN
from pipeline.detect.landmark_detector import LandmarkDetector
from pipeline.errors import ChainRigError
from pipeline.target.comparison import own_points
from pipeline.target.faces import find_faces, settle
from pipeline.target.photo import read_photo

FAR = 10.0  # % of the distance between the outer eye corners: the detector does not see this face


class Verdict(NamedTuple):
    """What to tell.

    Attributes:
        usable: whether a fit with the detector would work.
        note: one sentence: what was found, or what is wrong and what to do.
    """

    usable: bool
    note: str


def check_detector(choice: str) -> Verdict:
    """For `chainrig doctor --detector CHOICE`: downloads nothing, takes a few seconds."""
    try:
        if choice in ("fan", "fan-3d"):
            path = fan_weights.place("2d" if choice == "fan" else "3d")
            if not path.is_file():
                return Verdict(
                    False,
                    f"its weights are not in {path.parent}: the first fit with it downloads them (about 100 "
                    f"MB), or put {fan_weights.ADDRESS}{path.name} there yourself",
                )
        detector = load_detector(choice)
        apart, told = compare_on_example(detector)
    except ChainRigError as error:
        return Verdict(False, str(error))
    if not apart < FAR:
        return Verdict(
            False,
            f"its weights load, but its points lie {apart:.1f} % of the eye distance from FaceMesh's on the "
            "example photo: get them again, and report this if that does not help",
        )
    return Verdict(True, told)


@torch.no_grad()
def compare_on_example(detector: LandmarkDetector) -> tuple[float, str]:
    """Mean distance of a detector's points, without the jaw's, from FaceMesh's on the example photo, in % of
    the distance between the outer eye corners; and all that there is to say."""
    photo = read_photo(assets.path("example.png"))
    (face,) = find_faces(photo.pixels)
    mesh = settle(photo.pixels, face, FaceMesh.load())
    region = detector.region(face.box, mesh.region)
    crop = region.crop(photo.pixels)
    began = time.perf_counter()
    landmarks = detector(crop)
    seconds = time.perf_counter() - began
    compared = own_points(detector.scheme)
    difference = compared.detected(region.map_to_photo(landmarks)) - compared.embedded(mesh.landmarks)
    eyes = (mesh.landmarks[33, :2] - mesh.landmarks[263, :2]).norm()
    apart = float(100 * difference.norm(dim=-1).mean() / eyes)
    told = (
        f"{len(landmarks)} points, {apart:.1f} % of the eye distance from FaceMesh's on the example photo, "
        f"{seconds:.2f} s a face"
    )
    if isinstance(detector, FAN):
        told += f"; mean confidence {float(detector.forward_full(crop).confidence.mean()):.2f}"
    return apart, told
