"""histogram.png: how residuals and errors are spread over the images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles

from PIL import Image, ImageDraw, ImageFont

from pipeline.evaluation.row import Row
from pipeline.evaluation.sentences import counted
from pipeline.inspection.wording import figure
from pipeline.outputs.overlay import GAP, INK, PAPER

WIDTH, HEIGHT = 640, 320  # pixels of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 64, 44  # around its bars
FINE = 2  # drawn larger, then scaled down: Pillow's shapes have hard edges
BARS = 24  # at most
FAR = 3.0  # times the 90th percentile: what lies beyond is in the last bar
BAR, LINE, FAINT, GRID = (205, 104, 34), (96, 190, 255), (158, 160, 166), (58, 60, 64)


@dataclass(frozen=True)
class Histogram:
    """Values from 0 in bars of a round width; `beyond` says that the last bar has larger ones, too."""

    width: float
    counts: tuple[int, ...]
    beyond: bool


def histogram(values: Sequence[float]) -> Histogram:
    """Of one value or more, none below 0."""
    most = max(values)
    if len(values) > 2:
        most = min(most, FAR * quantiles(values, n=10)[-1]) or most
    width = _round_up(most / BARS) if most > 0 else 1.0
    count = math.floor(most / width + 1e-9) + 1
    counts = [0] * count
    for value in values:
        counts[min(count - 1, math.floor(value / width + 1e-9))] += 1
    return Histogram(width, tuple(counts), max(values) >= width * count)


def panels(rows: Sequence[Row]) -> list[tuple[str, str, list[float]]]:
    """Title, unit and a value an image, of all that the rows tell."""
    fits = [row.found for row in rows if row.found is not None]
    labels = [row.labels for row in rows if row.labels is not None]
    truths = [row.truth for row in rows if row.truth is not None]
    found = [
        ("Residual", "% IOD", [fit.residual_final_percent for fit in fits]),
        ("68-point error against labels", "% IOD", [error.fitted for error in labels]),
        ("Mean error of controls that show", "", [t.observable for t in truths if t.observable is not None]),
        ("Error of the rotation", "°", [t.rotation_deg for t in truths if t.rotation_deg is not None]),
        ("Largest expression", "", [fit.largest_expression for fit in fits]),
    ]
    finite = [(title, unit, [v for v in values if math.isfinite(v)]) for title, unit, values in found]
    return [panel for panel in finite if panel[2]]


def draw(rows: Sequence[Row]) -> Image.Image:
    """A panel for everything that the rows tell, two beside each other.

    Raises:
        ValueError: no row has a fit.
    """
    shown = panels(rows)
    if not shown:
        raise ValueError("There is nothing to draw: no image was fitted.")
    columns = min(2, len(shown))
    size = (columns * (WIDTH + GAP) + GAP, -(-len(shown) // columns) * (HEIGHT + GAP) + GAP)
    page = Image.new("RGB", size, PAPER)
    for index, (title, unit, values) in enumerate(shown):
        corner = (GAP + index % columns * (WIDTH + GAP), GAP + index // columns * (HEIGHT + GAP))
        page.paste(_panel(title, unit, values), corner)
    return page


def _panel(title: str, unit: str, values: list[float]) -> Image.Image:
    found = histogram(values)
    picture = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), PAPER)
    draw = ImageDraw.Draw(picture)
    most = max(found.counts)
    across = (WIDTH - LEFT - RIGHT) / len(found.counts)

    def x(value: float) -> float:
        return FINE * (LEFT + min(value / found.width, len(found.counts)) * across)

    def y(count: float) -> float:
        return FINE * (HEIGHT - BOTTOM - count / most * (HEIGHT - TOP - BOTTOM))

    def write(
        at: tuple[float, float], words: str, colour: tuple[int, int, int], anchor: str, size: int
    ) -> None:
        font = ImageFont.load_default(size=size * FINE)
        draw.text(at, words, fill=colour, font=font, anchor=anchor)

    step = max(1, round(_round_up(most / 4)))
    for count in range(0, most + 1, step):
        draw.line((x(0), y(count), x(math.inf), y(count)), fill=GRID, width=FINE)
        write((x(0) - 6 * FINE, y(count)), str(count), FAINT, "rm", 13)
    for index, count in enumerate(found.counts):
        if count:
            box = (x(index * found.width) + FINE, y(count), x((index + 1) * found.width) - FINE, y(0))
            draw.rectangle(box, fill=BAR)
    every = max(1, -(-len(found.counts) // 8))
    for index in range(0, len(found.counts) + 1, every):
        at = x(index * found.width), y(0) + 14 * FINE
        write(at, f"{index * found.width:.6g}", FAINT, "mm", 13)
    middle = x(mean(values))
    draw.line((middle, y(most), middle, y(0)), fill=LINE, width=2 * FINE)
    words = f"mean {figure(mean(values))}, median {figure(median(values))}, most {figure(max(values))}"
    tail = "; the last bar holds all that is more" if found.beyond else ""
    write((FINE * LEFT, FINE * 20), f"{title}, {unit}" if unit else title, INK, "lm", 18)
    write((FINE * LEFT, FINE * 44), f"{counted(len(values), 'image')}: {words}{tail}", LINE, "lm", 14)
    return picture.reduce(FINE)


def _round_up(value: float) -> float:
    """To 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= value * (1 - 1e-9))
