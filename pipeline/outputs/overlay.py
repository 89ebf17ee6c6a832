"""overlay.png: does the rig make the same face? Photo, render, and both sets of landmarks, side by side."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pipeline.result import BACKGROUND, PANEL, FitResult, Picture, frame

TITLE = 36  # height of the line above the panels
GAP = 8
PAPER, INK = (24, 25, 28), (235, 235, 235)
TARGET, RENDER = (70, 235, 120), (255, 70, 190)  # green: seen in the photo; magenta: seen in the render

Box = tuple[int, int, int, int]


def overlay(result: FitResult) -> Image.Image:
    """RGB, about 1900 × 680 whatever the size of the photo."""
    shown = result.labels or result
    target, render = shown.target.detach().cpu(), shown.render.detach().cpu()
    box = frame(result.photo, result.target.detach().cpu())
    scale = PANEL / max(box[2] - box[0], box[3] - box[1])
    width, height = round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale)

    seen = Image.fromarray(result.photo.pixels[box[1] : box[3], box[0] : box[2]].cpu().numpy())
    seen = seen.resize((width, height), Image.Resampling.LANCZOS)
    made = Image.new("RGBA", seen.size, BACKGROUND)
    made.alpha_composite(_warped(result.picture, box, scale, seen.size))
    corner = torch.tensor(box[:2], dtype=target.dtype)
    points = _dotted(seen, (target - corner) * scale, (render - corner) * scale)

    sheet = Image.new("RGB", (3 * width + 4 * GAP, height + TITLE + GAP), PAPER)
    for column, panel in enumerate((seen, made.convert("RGB"), points)):
        sheet.paste(panel, (GAP + column * (width + GAP), TITLE))
    titles = [
        [("Photo", INK)],
        [(f"Rig, {result.residual_final:.2f} % IOD", INK)],
        [
            ("Landmarks of", INK),
            ("photo" if result.labels is None else "labels", TARGET),
            ("render", RENDER),
        ],
    ]
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for column, words in enumerate(titles):
        x = float(GAP + column * (width + GAP) + 4)
        for word, colour in words:
            draw.text((x, TITLE / 2), word, fill=colour, font=font, anchor="lm")
            x += draw.textlength(word + "  ", font=font)
    return sheet


def _warped(picture: Picture, box: Box, scale: float, size: tuple[int, int]) -> Image.Image:
    """The picture as it appears in the panel, RGBA."""
    rgba = Image.fromarray(picture.rgba.detach().cpu().numpy())
    photo_from_panel = np.array([[1 / scale, 0, box[0]], [0, 1 / scale, box[1]], [0, 0, 1]])
    affine = picture.photo_from_picture.detach().cpu().double().numpy()
    picture_from_photo = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    data = (picture_from_photo @ photo_from_panel)[:2].reshape(-1).tolist()
    return rgba.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _dotted(panel: Image.Image, target: Tensor, render: Tensor) -> Image.Image:
    """The panel, dimmed, with a ring for each target, a dot for each render, and a line where they part."""
    fine = 3  # drawn larger, then scaled down: Pillow's shapes have hard edges
    canvas = Image.eval(panel, lambda value: value * 7 // 10)
    canvas = canvas.resize((panel.width * fine, panel.height * fine), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    rings, dots = (target * fine).tolist(), (render * fine).tolist()
    for ring, dot in zip(rings, dots, strict=True):
        draw.line([*ring, *dot], fill=INK, width=fine)
    for x, y in rings:
        draw.ellipse([x - 7, y - 7, x + 7, y + 7], outline=TARGET, width=4)
    for x, y in dots:
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=RENDER)
    return canvas.resize(panel.size, Image.Resampling.BOX)
