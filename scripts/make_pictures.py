"""Makes the pictures of the documentation: `python scripts/make_pictures.py`, about half a minute.

docs/pictures/overlay.png is the overlay of the example photo's fit, at half its size;
docs/pictures/controls.png shows what single controls do to the default head.
"""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from pipeline import assets
from pipeline.chain import build_renderer
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.fit import fit_photo
from pipeline.outputs.overlay import INK, PAPER, overlay
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
POSES: dict[str, dict[str, float]] = {
    "rest": {},
    "jawOpen 0.7": {"jawOpen": 0.7},
    "mouthSmile 0.8": {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8},
    "mouthPucker 0.8": {"mouthPucker": 0.8},
    "browInnerUp 0.9": {"browInnerUp": 0.9, "browOuterUpLeft": 0.5, "browOuterUpRight": 0.5},
    "eyeBlinkLeft 1": {"eyeBlinkLeft": 1.0},
    "eyeLookInLeft 0.8": {"eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8},
    "headRotationY 0.5": {"headRotationY": 0.5},
}
SIDE, TITLE, COLUMNS, GAP = 256, 28, 4, 4


def main() -> None:
    torch.set_num_threads(1)
    PICTURES.mkdir(parents=True, exist_ok=True)
    sheet = overlay(fit_photo(str(assets.path("example.png"))))
    sheet = sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)
    _save(sheet, PICTURES / "overlay.png")
    _save(controls(), PICTURES / "controls.png")


@torch.no_grad()
def controls() -> Image.Image:
    """The default head with one control (and its partner) at work in each panel."""
    rig = Rig.load()
    camera = Camera(torch.tensor(1250.0), torch.tensor([128.0, 108.0]), size=(SIDE, SIDE))
    render = build_renderer(rig, camera, Material(HeadTexture.load()()), samples=4)
    x = torch.stack([rig.controls.pack(pose | {"headTranslationZ": -1.0}) for pose in POSES.values()])
    pictures = render(Deformer(rig)(x))
    rows = -(-len(POSES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + TITLE) + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for index, (name, picture) in enumerate(zip(POSES, pictures, strict=True)):
        left = GAP + index % COLUMNS * (SIDE + GAP)
        top = index // COLUMNS * (SIDE + TITLE)
        draw.text((left + 4, top + TITLE / 2), name, fill=INK, font=font, anchor="lm")
        pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        sheet.paste(Image.fromarray(pixels), (left, top + TITLE))
    return sheet


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.width} × {picture.height}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
