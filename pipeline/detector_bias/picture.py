"""bias.png: every landmark's bias and spread, on the face."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pipeline.detector_bias.looking import Observer
from pipeline.detector_bias.measure import Measured
from pipeline.detector_bias.presence import DISTANCE_M
from pipeline.detector_bias.scenes import EYES_UP_M, rotation_vector
from pipeline.inspection.cards import LUMA
from pipeline.inspection.colours import HEAT
from pipeline.inspection.wording import figure
from pipeline.outputs.overlay import GAP, INK, PAPER
from pipeline.render.lighting import Light

LARGE, SMALL = 620, 242  # pixels of a panel
FINE = 3  # panels are drawn larger, then scaled down: Pillow's lines have hard edges
DIM = 0.4  # of the face behind, in grey
ZOOM = 0.85  # of the detector's region
FAINT = (158, 160, 166)  # ink of what is said beside
TITLE, LEGEND = 40, 44
TIMES_BIAS, TIMES_SPREAD = 5, 1  # how much larger than they are
CEILING = 0.98  # of the values: the colour scale ends there


@dataclass(frozen=True)
class Panel:
    """A face, and where its landmarks are embedded.

    Attributes:
        picture: RGB.
        points: `(L, 2)` pixels of the picture.
        percent: pixels of 1 % IOD.
    """

    picture: Image.Image
    points: Tensor
    percent: float


def draw_bias(observer: Observer, measured: Measured) -> Image.Image:
    """Arrows of the mean bias and ellipses of the spread side by side, below them the bias by yaw."""
    found = measured.statistics
    ahead = _panel(observer, measured, 0.0, LARGE)
    lengths, spread = found.bias.norm(dim=-1), found.spread
    most_bias = _ceiling(torch.cat([lengths, found.bias_by_yaw.norm(dim=-1).flatten()]))
    most_spread = _ceiling(spread)
    large = [
        (
            "Bias: where the detector sees a landmark, from where it lies",
            _arrows(ahead, found.bias, most_bias),
        ),
        ("Spread: one standard deviation about the mean", _ellipses(ahead, found.covariance, most_spread)),
    ]
    small = []
    for yaw, bias in zip(found.yaw_deg.tolist(), found.bias_by_yaw, strict=True):
        panel = _panel(observer, measured, yaw, SMALL)
        small.append(
            (f"Bias, yaw {yaw:+.0f}°" if round(yaw) else "Bias, ahead", _arrows(panel, bias, most_bias))
        )

    width = 2 * LARGE + 3 * GAP
    step = (width - 2 * GAP - SMALL) / max(1, len(small) - 1)
    page = Image.new("RGB", (width, 2 * TITLE + LARGE + LEGEND + SMALL + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    legends = (
        (most_bias, f"% IOD; arrows {TIMES_BIAS} times as long as the bias"),
        (most_spread, "% IOD of one coordinate; ellipses in their true size"),
    )
    for column, ((title, picture), (most, words)) in enumerate(zip(large, legends, strict=True)):
        left = GAP + column * (LARGE + GAP)
        draw.text((left, TITLE / 2), title, fill=INK, font=_font(20), anchor="lm")
        page.paste(picture, (left, TITLE))
        page.paste(_legend(most, words), (left, TITLE + LARGE))
    top = TITLE + LARGE + LEGEND
    for column, (title, picture) in enumerate(small):
        left = round(GAP + column * step)
        draw.text((left, top + TITLE / 2), title, fill=INK, font=_font(16), anchor="lm")
        page.paste(picture, (left, top + TITLE))
    return page


def _panel(observer: Observer, measured: Measured, yaw: float, size: int) -> Panel:
    """The default head, neutral, turned by `yaw` degrees, as the detector sees it."""
    space = observer.rig.controls
    x = space.pack({"headTranslationY": EYES_UP_M, "headTranslationZ": -DISTANCE_M})
    turn = space.groups["pose"].start
    x[turn : turn + 3] = rotation_vector(torch.tensor(yaw), torch.tensor(0.0), torch.tensor(0.0))
    material, light = observer.material(measured.plan.colours[0]), Light.default()
    with torch.no_grad():
        vertices = observer.deform(x[None])
        region = observer.region(vertices, material, light)
        region = replace(region, side=region.side * ZOOM, size=size * FINE)
        picture = observer.renderer(material, light, region, samples=1)(vertices)[0]
        points, eyes = observer.places(vertices)
    grey = (picture.clamp(0, 1) @ torch.tensor(LUMA) * DIM * 255).to(torch.uint8).numpy()
    percent = float(eyes[0].norm() / region.side[0]) * region.size / 100
    return Panel(Image.fromarray(grey).convert("RGB"), region.map_to_crop(points)[0], percent)


def _arrows(panel: Panel, bias: Tensor, most: float) -> Image.Image:
    picture = panel.picture.copy()
    draw = ImageDraw.Draw(picture)
    ends = panel.points + bias * (TIMES_BIAS * panel.percent)
    order = bias.norm(dim=-1).nan_to_num(-1).argsort()
    for i in order.tolist():  # the longest on top
        tail, tip = panel.points[i].numpy(), ends[i].numpy()
        if np.isfinite(tip).all():
            colour = _colour(float(bias[i].norm()), most)
            thick = FINE * panel.picture.width // (LARGE * 2) + 1
            _arrow(draw, tail, tip, thick, colour)
    return picture.reduce(FINE)


def _arrow(draw: ImageDraw.ImageDraw, tail: np.ndarray, tip: np.ndarray, thick: int, colour: "Rgb") -> None:
    along = tip - tail
    length = max(float(np.linalg.norm(along)), 1e-6)
    back = along / length * min(4.5 * thick, length)
    across = 0.45 * np.array([-back[1], back[0]])
    dot = 0.9 * thick
    draw.ellipse((*(tail - dot), *(tail + dot)), fill=colour)
    draw.line((*tail, *(tip - 0.7 * back)), fill=colour, width=thick)
    draw.polygon([tuple(tip), tuple(tip - back + across), tuple(tip - back - across)], fill=colour)


def _ellipses(panel: Panel, covariance: Tensor, most: float) -> Image.Image:
    layer = Image.new("RGBA", panel.picture.size)
    draw = ImageDraw.Draw(layer)
    circle = torch.linspace(0, 2 * torch.pi, 49, dtype=torch.float64)
    unit = torch.stack([circle.cos(), circle.sin()], -1)
    spread = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
    for i in spread.nan_to_num(-1).argsort(descending=True).tolist():  # the smallest on top
        if not bool(spread[i].isfinite()):
            continue
        axes = torch.linalg.cholesky(covariance[i] + 1e-9 * torch.eye(2, dtype=torch.float64))
        rim = panel.points[i] + unit @ axes.T * (TIMES_SPREAD * panel.percent)
        colour = _colour(float(spread[i]), most)
        corners = [(x, y) for x, y in rim.tolist()]
        draw.polygon(corners, fill=(*colour, 40))
        draw.line(corners, fill=(*colour, 255), width=FINE)
    picture = panel.picture.convert("RGBA")
    picture.alpha_composite(layer)
    return picture.convert("RGB").reduce(FINE)


Rgb = tuple[int, int, int]


def _colour(value: float, most: float) -> Rgb:
    red, green, blue = HEAT[int(np.clip(value / most, 0, 1) * 255)].astype(int).tolist()
    return red, green, blue


def _ceiling(values: Tensor) -> float:
    return float(values[values.isfinite()].quantile(CEILING).clamp(min=1e-3))


def _legend(most: float, words: str) -> Image.Image:
    strip = Image.new("RGB", (LARGE, LEGEND), PAPER)
    bar = Image.fromarray(HEAT[None].astype(np.uint8)).resize((220, 10), Image.Resampling.BILINEAR)
    strip.paste(bar, (30, 14))
    draw = ImageDraw.Draw(strip)
    draw.text((18, 19), "0", fill=FAINT, font=_font(15), anchor="mm")
    draw.text((258, 19), f"{figure(most)} {words}", fill=FAINT, font=_font(15), anchor="lm")
    return strip


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(size=size)
