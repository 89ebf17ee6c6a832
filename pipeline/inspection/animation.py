"""Weak directions as animations: the rig goes there and back, and the landmarks stay where they are."""

import math
from collections.abc import Callable, Mapping
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pipeline.inspection.findings import Recipe
from pipeline.inspection.wording import figure, plain
from pipeline.outputs.overlay import INK, PAPER

WIDTH = 320  # of the picture, pixels
STEPS = 9  # pictures from one end to the other, both ends included
FRAME_MS, REST_MS = 70, 500
MOST_BYTES = 400_000
LINE, MARGIN = 20, 8

Draw = Callable[[dict[str, float]], Tensor]


def animate(recipe: Recipe, values: Mapping[str, float], draw: Draw) -> bytes:
    """An endless GIF of at most 400 kB: from the controls as they stand along the recipe, and back.

    Args:
        recipe: where to.
        values: the controls as they stand; those that are missing stand at 0.
        draw: controls → `(H, W, 3)` uint8.
    """
    frames = []
    for step in range(STEPS):
        share = (1 - math.cos(math.pi * step / (STEPS - 1))) / 2  # slow at both ends
        moved = {name: values.get(name, 0.0) + share * change for name, change in recipe.changes.items()}
        picture = Image.fromarray(draw({**values, **moved}).detach().cpu().numpy())
        frames.append(_captioned(picture, recipe, share))
    for shrink, colours in ((1.0, 256), (1.0, 128), (0.75, 128), (0.5, 64), (0.35, 32)):
        animation = _gif(frames, shrink, colours)
        if len(animation) <= MOST_BYTES:
            break
    return animation


def _captioned(picture: Image.Image, recipe: Recipe, share: float) -> Image.Image:
    """The picture over what the sliders do, how far they have gone, and what that does to the landmarks."""
    height = round(WIDTH * picture.height / picture.width)
    picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    lines = _wrapped(
        [f"{plain(name)} {change:+.2f}" for name, change in recipe.changes.items()], WIDTH - 2 * MARGIN
    )
    said = f"no landmark moves by more than {figure(recipe.landmark_px)} px"
    strip = 6 + LINE * (len(lines) + 1) + MARGIN
    page = Image.new("RGB", (WIDTH, height + strip), PAPER)
    page.paste(picture)
    write = ImageDraw.Draw(page)
    write.rectangle((0, height, round(WIDTH * share), height + 2), fill=(246, 160, 48))
    for row, line in enumerate(lines):
        write.text((MARGIN, height + 8 + LINE * row), line, fill=INK, font=_FONT)
    write.text((MARGIN, height + 8 + LINE * len(lines)), said, fill=(158, 160, 166), font=_FONT)
    return page


def _wrapped(items: list[str], width: int) -> list[str]:
    """Items with commas between them, as few lines as hold them; at most three."""
    lines = [""]
    for index, item in enumerate(items):
        item += "," if index < len(items) - 1 else ""
        longer = f"{lines[-1]} {item}".strip()
        if lines[-1] and _FONT.getlength(longer) > width:
            if len(lines) == 3:
                lines[-1] += " …"
                break
            lines.append(item)
        else:
            lines[-1] = longer
    return lines


def _gif(frames: list[Image.Image], shrink: float, colours: int) -> bytes:
    """There and back, in colours of the first and last frame; without dither, which would flicker."""
    size = round(frames[0].width * shrink), round(frames[0].height * shrink)
    small = [frame.resize(size, Image.Resampling.LANCZOS) if shrink < 1 else frame for frame in frames]
    both = Image.new("RGB", (2 * size[0], size[1]))
    both.paste(small[0])
    both.paste(small[-1], (size[0], 0))
    palette = both.quantize(colours, Image.Quantize.MEDIANCUT)
    there = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    first, *others = there + there[-2:0:-1]
    times = [REST_MS if index in (0, STEPS - 1) else FRAME_MS for index in range(len(others) + 1)]
    file = BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=False)
    return file.getvalue()


_FONT = ImageFont.load_default(size=14)
