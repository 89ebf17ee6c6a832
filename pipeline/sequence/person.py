"""Whose face a sequence shows."""

from pipeline.batch.person import person_in
from pipeline.config import Config
from pipeline.errors import ChainRigError
from pipeline.sequence.frames import Footage, Frame
from pipeline.sequence.video import VideoReader
from pipeline.target.photo import Photo, read_photo


def person_of(footage: Footage, config: Config) -> str:
    """The document of the person, see `person_in`."""
    reader = VideoReader(footage.video) if footage.video else None

    def read(frame: Frame) -> Photo:
        if frame.missing:
            raise ChainRigError(f"There is no {frame.name}.")
        return (
            read_photo(frame.path) if reader is None else Photo(reader.read(frame.place)[0], frame.path, "")
        )

    return person_in(footage.frames, read, config)[0]
