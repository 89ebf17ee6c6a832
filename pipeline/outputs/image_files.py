"""Pictures as the bytes of a file."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from pipeline.outputs.overlay import PAPER
from pipeline.outputs.sheet import laid_on

TURN_MS = 4000  # a whole turn


def png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def gif(frames: Sequence[Image.Image]) -> bytes:
    """An endless animation, its colours those of all frames together, so that they do not flicker."""
    opaque = [laid_on(frame, PAPER) for frame in frames]
    width, height = opaque[0].size
    some = opaque[:: -(-len(opaque) // 8)]
    together = Image.new("RGB", (width * len(some), height))
    for index, frame in enumerate(some):
        together.paste(frame, (index * width, 0))
    palette = together.quantize(256, Image.Quantize.MAXCOVERAGE)  # else teeth and eyes turn skin-coloured
    first, *others = (frame.quantize(palette=palette) for frame in opaque)
    file = BytesIO()
    duration = max(20, round(TURN_MS / len(opaque) / 10) * 10)  # the format counts hundredths of a second
    first.save(file, "GIF", save_all=True, append_images=others, duration=duration, loop=0)
    return file.getvalue()
