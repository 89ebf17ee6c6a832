"""Draws docs/pictures/quasistatics.png: expressions by blendshapes, and as the equilibrium of flesh.

python scripts/draw_quasistatics.py
"""

from pathlib import Path

from PIL import Image

from pipeline.deform.quasistatic.deformer import QuasistaticDeformer
from pipeline.deform.rig import Rig
from pipeline.pictures import Studio

PICTURE = Path("docs/pictures/quasistatics.png")
EXPRESSIONS = (
    {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    {"jawOpen": 0.7},
    {"jawOpen": 0.3, "mouthClose": 0.7},
)
SIZE = 480
FACE = (0.22, 0.28, 0.78, 0.95)  # of the picture's width and height


def main() -> None:
    flesh = QuasistaticDeformer(Rig.load())
    pictures = []
    for values in EXPRESSIONS:
        plain, soft = Studio(values, size=SIZE), Studio(values, size=SIZE)
        soft.deform = flesh  # type: ignore[assignment]  # the same interface
        pictures += [studio.picture().convert("RGB") for studio in (plain, soft)]
    width, height = pictures[0].size
    left, top, right, bottom = (
        round(share * side) for share, side in zip(FACE, (width, height) * 2, strict=True)
    )
    sheet = Image.new("RGB", ((right - left) * len(pictures), bottom - top))
    for i, picture in enumerate(pictures):
        sheet.paste(picture.crop((left, top, right, bottom)), ((right - left) * i, 0))
    sheet.quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
