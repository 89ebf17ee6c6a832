"""Pictures and small charts of the report, as data URIs and inline SVG: it needs no other file."""

import base64
import math
from io import BytesIO

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from pipeline.controls import Control
from pipeline.derivatives.drawing import Curve, chart
from pipeline.inspection.colours import HEAT
from pipeline.inspection.findings import View
from pipeline.inspection.stage import Stage

SIDE = 320  # pixels of a map's longer side
QUALITY = 90
BAR_WIDTH, BAR_HEIGHT = 120, 16
# Okabe and Ito, "Color Universal Design", 2008; left and right share a colour, the words tell them apart.
REGION_COLOURS = {
    "mouth": "#d55e00",
    "jaw": "#cc79a7",
    "chin": "#9a5b80",
    "cheek": "#e69f00",
    "nose": "#56b4e9",
    "eye": "#0072b2",
    "brow": "#009e73",
    "forehead": "#8a8f98",
}
OTHER_COLOUR = "#6b6f76"


def data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def small_picture(content: bytes) -> str:
    """A picture file as a data URI of a quarter of its size."""
    return _webp(Image.open(BytesIO(content)).convert("RGB"))


def picture_uri(pixels: Tensor) -> str:
    """`(H, W, 3)` sRGB in [0, 1]."""
    levels = (pixels.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return _webp(Image.fromarray(levels.numpy()))


def pixel_map_uri(values: Tensor, view: View) -> str:
    """`(H, W)` values from 0, in colour over the dimmed picture."""
    grey = view.picture.detach().cpu().float().mean(-1).clamp(0, 1).numpy()[..., None]
    level = values.detach().cpu().float().abs().numpy()
    share = np.clip(level / _bright(level), 0, 1)
    dim = np.repeat(24 + 74 * grey, 3, axis=-1)
    strength = np.minimum(1, 2 * share)[..., None]
    picture = dim + strength * (HEAT[(share * 255).round().astype(np.uint8)] - dim)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    scale = SIDE / max(image.size)
    return _webp(image.resize((round(image.width * scale), round(image.height * scale))))


def vertex_map_uri(values: Tensor, view: View) -> str:
    """`(V,)` values from 0, in colour on the mesh."""
    size = values.detach().cpu().float().abs()
    return _webp(Image.fromarray(Stage(view, SIDE).draw(size, _bright(size.numpy()))))


def range_bar(control: Control, value: float, sd: float) -> Markup:
    """The control's range as a line, its value as a tick, one standard deviation each way as a band."""
    span = (control.high - control.low) or 1.0

    def x(at: float) -> float:
        return 4 + (BAR_WIDTH - 8) * min(1.0, max(0.0, (at - control.low) / span))

    band = ""
    if math.isfinite(sd):
        left, right = x(value - sd), x(value + sd)
        band = f'<rect class="band" x="{left:.1f}" y="5" width="{max(right - left, 1):.1f}" height="6"/>'
    size = f'viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}"'
    return Markup(
        f'<svg class="range" {size} aria-hidden="true"><path class="track" d="M4 8H{BAR_WIDTH - 4}"/>{band}'
        f'<path class="tick" d="M{x(value):.1f} 2V14"/></svg>'
    )


def region_colour(region: str) -> str:
    return REGION_COLOURS.get(region.split()[-1] if region else "", OTHER_COLOUR)


def singular_values_chart(values: Tensor) -> Markup:
    """Falling singular values, and where the landmarks' noise lies."""
    heights = [float(value) for value in values]
    across = [index + 1.0 for index in range(len(heights))]
    curves = [
        Curve("directions", across, heights),
        Curve("as large as the noise", [across[0], across[-1]] if across else [], [1.0, 1.0]),
    ]
    # The chart escapes its words itself.
    return Markup(
        chart(
            curves, "What the landmarks see", "direction, the best seen first", "singular value", log_x=False
        )
    )


def _bright(values: np.ndarray) -> float:
    """What is drawn brightest: a few extreme places must not darken all others."""
    positive = values[values > 0]
    return float(np.quantile(positive, 0.99)) if positive.size else 1.0


def _webp(image: Image.Image) -> str:
    file = BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=0)
    return data_uri(file.getvalue(), "webp")
