"""Control cards: what one step of a control does to the mesh, to the pixels and to the landmarks."""

import hashlib
import math
import re
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pipeline.inspection.colours import CHANGE, HEAT, Pixels
from pipeline.inspection.findings import Findings
from pipeline.inspection.stage import Stage
from pipeline.inspection.wording import figure, measured, plain, step_of
from pipeline.outputs.overlay import INK, PAPER

PANEL = 304  # pixels of a panel's longer side
GAP, TITLE, CAPTION, LEGEND = 12, 48, 26, 40
FAINT = (158, 160, 166)  # ink of what is said beside
ARROW, DOT = (255, 214, 70), (150, 205, 255)
LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, of encoded values
LONGEST_ARROW = 36.0  # pixels of the panel
MAGNIFICATIONS = (1, 2, 5, 10, 20, 50, 100)
UNMOVED_PX = 0.005  # of the view; what moves less is a dot
FINE = 3  # arrows are drawn larger, then scaled down: Pillow's lines have hard edges


def card_name(control: str) -> str:
    """A file's name without its suffix: the control's own where that is safe everywhere, else marked."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", control)[:60].strip("-")
    if control and safe == control:
        return control
    return f"{safe or 'control'}-{hashlib.sha256(control.encode()).hexdigest()[:8]}"


def draw_card(findings: Findings, index: int) -> bytes:
    """The card of one control, a PNG; for several, a `CardPainter` is quicker."""
    return CardPainter(findings).draw(index)


class CardPainter:
    """Draws cards: what they share is made once.

    Args:
        findings: whose controls the cards are about.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.view = findings.view
        self.stage = Stage(findings.view, PANEL)
        self._sd = dict(zip(findings.observability.names, findings.observability.sd.tolist(), strict=True))

    def draw(self, index: int) -> bytes:
        """The card of the control at `index` of the columns: a PNG of 960 pixels across."""
        columns, control = self.findings.columns, self.findings.columns.controls[index]
        step = self.findings.steps[control.name]
        panels = (
            self._mesh(columns.vertices[index] * step),
            self._pixels(columns.pixels[index] * step),
            self._landmarks(columns.landmarks[index] * step),
        )
        height, width = self.stage.size
        across = 3 * width + 4 * GAP
        card = Image.new("RGB", (across, TITLE + CAPTION + height + LEGEND), PAPER)
        draw = ImageDraw.Draw(card)
        value = measured(float(columns.values[index]), self._sd.get(control.name), control.unit)
        does = f"what {step_of(step, control.unit)} does"
        room = across - 2 * GAP - draw.textlength(value + does, font=_font(18)) - 3 * GAP
        title = _fitted(draw, plain(control.name), 24, room)
        draw.text((GAP, TITLE / 2), title[0], fill=INK, font=title[1], anchor="lm")
        left = GAP + draw.textlength(title[0], font=title[1]) + 16
        draw.text((left, TITLE / 2 + 2), value, fill=FAINT, font=_font(18), anchor="lm")
        draw.text((across - GAP, TITLE / 2 + 2), does, fill=FAINT, font=_font(18), anchor="rm")
        for column, (caption, picture, legend) in enumerate(panels):
            x, y = GAP + column * (width + GAP), TITLE
            draw.text((x, y + 2), caption, fill=INK, font=_font(15))
            card.paste(Image.fromarray(picture), (x, y + CAPTION))
            card.paste(legend(width), (x, y + CAPTION + height))
        file = BytesIO()
        card.save(file, "PNG", compress_level=2)  # the default takes thrice as long for a tenth of the size
        return file.getvalue()

    def _mesh(self, moved: Tensor) -> "Panel":
        """Of displacements `(V, 3)` in metres."""
        millimetres = moved.detach().cpu().norm(dim=-1) * 1000
        most = float(millimetres.max())
        if most < 1e-6:
            return "Mesh: no vertex moves", self.stage.draw(millimetres, 0.0), _blank
        ends = ("0", figure(most / 2), f"{figure(most)} mm")
        caption = f"Mesh: moves by up to {figure(most)} mm"
        return caption, self.stage.draw(millimetres, most), _Bar(HEAT, ends)

    def _pixels(self, change: Tensor) -> "Panel":
        """Of changes `(H, W, 3)` of encoded values."""
        levels = (change.detach().cpu().float() @ torch.tensor(LUMA)).numpy() * 255
        most = float(np.abs(levels).max())
        if most < 1e-3:
            return "Pixels: none changes", self._dim.astype(np.uint8), _blank
        changed = np.abs(levels[np.abs(levels) > 0.02 * most])
        end = _round_up(float(np.quantile(changed, 0.9)))  # a few thin lines must not darken all the others
        share = _resized((levels / end).clip(-1, 1).astype(np.float32), self.stage.size)
        colour = CHANGE[((share.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)]
        strength = np.minimum(1, 1.6 * np.abs(share))[..., None]
        picture = self._dim + strength * (colour - self._dim)
        more = "+" if most > end else ""
        ends = (f"{figure(end)}{more} levels darker", "0", f"{figure(end)}{more} brighter")
        far = f"up to {figure(most)} of 255 levels" if most < 255 else "255 levels or more at edges"
        caption = f"Pixels: by {far}"
        return caption, picture.clip(0, 255).astype(np.uint8), _Bar(CHANGE, ends)

    def _landmarks(self, moved: Tensor) -> "Panel":
        """Of displacements `(L, 3)` in pixels of the view."""
        arrows = moved[:, :2].detach().cpu().double().numpy()
        lengths = np.linalg.norm(arrows, axis=-1)
        most = float(lengths.max())
        times = magnification(most * self.stage.scale)
        shafts = self._landmarks_at + arrows * (times * self.stage.scale)
        seen = lengths > max(UNMOVED_PX, 0.03 * most)
        picture = _with_arrows(self._backdrop, self._landmarks_at, shafts, seen)
        if not seen.any():
            return "Landmarks: none moves", picture, _blank
        said = f"arrows {times} times as long" if times > 1 else "arrows as long as the way"
        return f"Landmarks: by up to {figure(most)} px", picture, _Note(said)

    @cached_property
    def _landmarks_at(self) -> Pixels:
        """`(L, 2)` in pixels of the panel."""
        return self.view.landmarks[:, :2].detach().cpu().double().numpy() * self.stage.scale

    @cached_property
    def _dim(self) -> Pixels:
        """`(h, w, 3)` the picture in dark grey."""
        grey = (self.view.picture.detach().cpu().float() @ torch.tensor(LUMA)).clamp(0, 1).numpy()
        grey = _resized(grey, self.stage.size)
        return np.repeat((24 + 74 * grey)[..., None], 3, axis=-1)

    @cached_property
    def _backdrop(self) -> Image.Image:
        """The photo, or the picture where there is none, darker than the arrows on it."""
        shown = self.view.picture if self.view.photo is None else self.view.photo
        pixels = (shown.detach().cpu().float().clamp(0, 1) * 0.6 * 255).to(torch.uint8).numpy()
        height, width = self.stage.size
        return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


class _Bar:
    """A colour scale with words at its ends and in its middle."""

    def __init__(self, ramp: Pixels, ends: Sequence[str]) -> None:
        self.ramp, self.ends = ramp, ends

    def __call__(self, width: int) -> Image.Image:
        strip = Image.new("RGB", (width, LEGEND), PAPER)
        bar = Image.fromarray(np.repeat(self.ramp[None].astype(np.uint8), 8, axis=0))
        strip.paste(bar.resize((width, 8), Image.Resampling.BILINEAR), (0, 7))
        draw = ImageDraw.Draw(strip)
        for x, anchor, words in zip((0, width / 2, width), ("lt", "mt", "rt"), self.ends, strict=True):
            draw.text((x, 20), words, fill=FAINT, font=_font(13), anchor=anchor)
        return strip


class _Note:
    """Words in place of a scale."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __call__(self, width: int) -> Image.Image:
        strip = Image.new("RGB", (width, LEGEND), PAPER)
        ImageDraw.Draw(strip).text((0, 8), self.words, fill=FAINT, font=_font(13))
        return strip


_blank = _Note("")
Panel = tuple[str, Pixels, "_Bar | _Note"]  # caption, picture, legend


def magnification(longest: float) -> int:
    """How many times as long arrows are drawn, the longest being `longest` pixels of the panel."""
    return max((times for times in MAGNIFICATIONS if times * longest <= LONGEST_ARROW), default=1)


def _with_arrows(backdrop: Image.Image, start: Pixels, end: Pixels, seen: Pixels) -> Pixels:
    """Arrows where `seen` `(L,)`, else dots; points `(L, 2)` in pixels of the backdrop."""
    large = backdrop.width * FINE, backdrop.height * FINE
    arrows, halo, dots = (Image.new("L", large) for _ in range(3))
    still, bright, dark = ImageDraw.Draw(dots), ImageDraw.Draw(arrows), ImageDraw.Draw(halo)
    for x, y in (start[~seen] * FINE).tolist():
        still.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=255)
    tails, tips = start[seen] * FINE, end[seen] * FINE
    shafts = np.concatenate([tails, tips], axis=-1).tolist()
    for shaft, head in zip(shafts, _heads(tails, tips).tolist(), strict=True):
        dark.line(shaft, fill=200, width=8)
        bright.line(shaft, fill=255, width=4)
        bright.polygon(head, fill=255)
    picture = backdrop.copy()
    for mask, colour in ((dots, DOT), (halo, (0, 0, 0)), (arrows, ARROW)):
        picture.paste(colour, mask=mask.reduce(FINE))
    return np.asarray(picture)


def _heads(tails: Pixels, tips: Pixels) -> Pixels:
    """Corners `(n, 6)` (x, y, x, y, …) of triangles that point where the arrows do, and are no longer."""
    along = tips - tails
    length = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    back = along / length * np.minimum(14.0, length)
    across = 0.42 * np.stack([-back[:, 1], back[:, 0]], axis=-1)
    return np.concatenate([tips, tips - back + across, tips - back - across], axis=-1)


def _resized(plane: Pixels, size: tuple[int, int]) -> Pixels:
    """A plane `(H, W)` at another size (height, width); bilinear: no lobes of the wrong sign at edges."""
    image = Image.fromarray(plane.astype(np.float32), mode="F")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7 and 10, times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(nice * power for nice in (1, 1.5, 2, 3, 5, 7, 10) if nice * power >= value * (1 - 1e-9))


def _font(size: int) -> ImageFont.FreeTypeFont:
    if size not in _FONTS:
        _FONTS[size] = ImageFont.load_default(size=size)  # type: ignore[assignment]
    return _FONTS[size]


_FONTS: dict[int, ImageFont.FreeTypeFont] = {}


def _fitted(
    draw: ImageDraw.ImageDraw, words: str, size: int, room: float
) -> tuple[str, ImageFont.FreeTypeFont]:
    """The words and a font in which they fit: smaller, then cut with an ellipsis."""
    while size > 14 and draw.textlength(words, font=_font(size)) > room:
        size -= 1
    short = words
    while len(short) > 1 and draw.textlength(short, font=_font(size)) > room:
        short = short[:-2].rstrip() + "…"
    return short, _font(size)
