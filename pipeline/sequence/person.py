"""Whose face it is: one head from a few frames, spread over the sequence."""

import torch

from pipeline.calibrate import calibrate
from pipeline.config import Config
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.sequence.frames import Footage, Frame
from pipeline.sequence.video import VideoReader
from pipeline.subject import subject_json
from pipeline.target.faces import Face, find_faces
from pipeline.target.photo import Photo, read_photo

FRAMES = 6  # more tell little more, and cost a fit each


def person_of(footage: Footage, config: Config) -> str:
    """The document of the person in the largest face, as `chainrig fit --share-identity` finds it.

    The sequence is cut into as many equal parts as there are to be frames; of each, the frame nearest to its
    middle in which the detector sees a face.

    Raises:
        ChainRigError: no frame shows a face, or the detector is not FaceMesh.
    """
    torch.set_num_threads(config.fit.threads)
    fitter = FaceFitter(config)
    reader = VideoReader(footage.video) if footage.video else None
    seen, why = [], ""
    for part in spread(footage.frames, FRAMES):
        for frame in part:
            try:
                seen.append(_look(fitter, frame, reader))
                break
            except ChainRigError as refused:
                why = why or str(refused)
    if not seen:
        raise ChainRigError(f"No frame shows a face that can be fitted; the first: {why}")
    return subject_json(calibrate(seen, config, at_rest=False))


def spread(frames: tuple[Frame, ...], parts: int) -> list[list[Frame]]:
    """The frames of each of so many equal parts, from its middle outward; of fewer frames, fewer parts."""
    parts = min(parts, len(frames))
    ends = [round(k * len(frames) / parts) for k in range(parts + 1)]
    cut = [frames[low:high] for low, high in zip(ends, ends[1:], strict=False)]
    return [sorted(part, key=lambda one: abs(one.place - part[len(part) // 2].place)) for part in cut]  # noqa: B023


def _look(fitter: FaceFitter, frame: Frame, reader: VideoReader | None) -> tuple[Photo, Face]:
    """Raises ChainRigError: it shows no face that the detector is sure of."""
    if frame.missing:
        raise ChainRigError(f"There is no {frame.name}.")
    photo = read_photo(frame.path) if reader is None else Photo(*reader.read(frame.place)[:1], frame.path, "")
    faces = find_faces(photo.pixels)
    if not faces:
        raise ChainRigError("There is no face in it.")
    face = max(faces, key=lambda face: face.area)
    fitter.target(photo, face)
    return photo, face
