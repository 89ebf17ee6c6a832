"""Pictures side by side, each under its title."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from pipeline.outputs.overlay import GAP, INK, PAPER


def sheet(cells: Sequence[tuple[str, Image.Image]], columns: int | None = None) -> Image.Image:
    """RGB, row by row.

    Args:
        cells: titles and pictures, all of one size.
        columns: how many pictures stand side by side; about as many as below each other if omitted.
    """
    columns = columns or round(math.sqrt(1.2 * len(cells)))
    width, height = cells[0][1].size
    title = max(18, min(32, width // 10))
    across, down = width + GAP, height + title + GAP
    size = (columns * across + GAP, -(-len(cells) // columns) * down)
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    for index, (words, picture) in enumerate(cells):
        left, top = GAP + index % columns * across, index // columns * down
        font = ImageFont.load_default(size=_fitting(draw, words, width - 4, title * 0.6))
        draw.text((left + 2, top + title / 2 + 1), words, fill=INK, font=font, anchor="lm")
        page.paste(laid_on(picture, PAPER), (left, top + title))
    return page


def laid_on(picture: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """RGB: what a transparent picture looks like before a colour."""
    page = Image.new("RGBA", picture.size, colour)
    page.alpha_composite(picture.convert("RGBA"))
    return page.convert("RGB")


def _fitting(draw: ImageDraw.ImageDraw, words: str, width: int, size: float) -> float:
    """The size of a font, at most `size`, in which the words are no wider than `width`, or hardly."""
    length = draw.textlength(words, font=ImageFont.load_default(size=size))
    return max(8.0, size * min(1.0, width / max(length, 1.0)))
