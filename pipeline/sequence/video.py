"""Frames of a video file, through OpenCV."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ChainRigError

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".wmv")


def count_frames(path: Path) -> tuple[int, float | None]:
    """How many frames can be decoded, and how many the file says there are in a second.

    Counted one by one: what files say of their length is often wrong.

    Raises:
        ChainRigError: OpenCV cannot read the file, or finds no frame in it.
    """
    with _opened(path) as (capture, cv2):
        fps, count = float(capture.get(cv2.CAP_PROP_FPS)), 0
        while capture.grab():
            count += 1
    if not count:
        raise ChainRigError(f"There is no frame in {path} that can be decoded: save it as H.264 in an .mp4.")
    return count, fps if 1 <= fps <= 1000 else None


class VideoReader:
    """Frames by number; forwards it goes on from where it is, and backwards it starts again.

    It never seeks: after a seek, OpenCV may stand a frame beside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._frames = self._from_start()
        self._last = -1

    def read(self, number: int) -> tuple[Tensor, str]:
        """Pixels `(H, W, 3)` uint8 sRGB, upright as the file says, and their sha256.

        Raises:
            ChainRigError: the video cannot be read, or has no such frame.
        """
        if number <= self._last:
            self._frames, self._last = self._from_start(), -1
        for capture in self._frames:
            self._last += 1
            if self._last < number:
                continue
            read, bgr = capture.retrieve()
            if not read:
                break
            pixels = np.ascontiguousarray(bgr[..., ::-1])
            return torch.from_numpy(pixels), hashlib.sha256(pixels.tobytes()).hexdigest()
        self._last = number
        raise ChainRigError(f"Frame {number} of {self.path} cannot be decoded.")

    def _from_start(self) -> Iterator[Any]:
        with _opened(self.path) as (capture, _):
            while capture.grab():
                yield capture


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what went wrong is said here
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ChainRigError(f"OpenCV cannot read the video {path}: save it as H.264 in an .mp4.")
        yield capture, cv2
    finally:
        capture.release()
