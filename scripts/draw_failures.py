"""Draws docs/pictures/failures.jpg: the renders of known controls that fits read worst, and the example.

    python scripts/draw_failures.py [--renders 3]

The renders are the worst of benchmarks/results/known_controls_known.json, fitted again.
"""

import argparse
import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipeline import assets
from pipeline.calibrate import largest_face
from pipeline.config import Config, load_config
from pipeline.fit import FaceFitter, fit_photo
from pipeline.outputs.overlay import INK, PAPER, overlay
from pipeline.result import FitResult

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from known_controls import draw, photograph, truth_of  # noqa: E402  # pyright: ignore[reportMissingImports]

WIDTH, CAPTION, SHOWN = 1200, 30, 5


def worst(count: int) -> list[int]:
    """Seeds of the renders with the largest mean error of expressions."""
    rows = json.loads((ROOT / "benchmarks/results/known_controls_known.json").read_text())["rows"]
    rows = [row for row in rows if "found" in row]

    def error(row: dict) -> float:
        return sum(abs(row["found"][name] - value) for name, value in row["truth"].items())

    return [row["render"] for row in sorted(rows, key=error, reverse=True)[:count]]


def misread(seed: int) -> Image.Image:
    """A render, what was found, and the controls that it was most wrong about."""
    x, light, material, focal = draw(seed)
    truth = truth_of(x)
    photo = photograph(x, light, material, focal)
    config = load_config(None, [f"camera.focal_px={focal}"])
    config = config.model_copy(update={"controls": truth.identity})
    found = FaceFitter(config).fit(photo, largest_face(photo)[1])
    apart = sorted(truth.expressions, key=lambda name: -abs(found.controls[name] - truth.expressions[name]))
    told = [f"{name} {found.controls[name]:.2f} for {truth.expressions[name]:.2f}" for name in apart[:SHOWN]]
    return captioned(found, f"Render {seed}:  " + ",  ".join(told))


def captioned(found: FitResult, words: str) -> Image.Image:
    picture = overlay(found)
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (WIDTH, picture.height + CAPTION), PAPER)
    sheet.paste(picture, (0, CAPTION))
    font = ImageFont.load_default(size=15)
    ImageDraw.Draw(sheet).text((8, CAPTION / 2), words, fill=INK, font=font, anchor="lm")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renders", type=int, default=3)
    example = fit_photo(str(assets.path("example.png")), Config())
    strongest = sorted(example.controls, key=lambda name: -example.controls[name])[:SHOWN]
    told = ",  ".join(f"{name} {example.controls[name]:.2f}" for name in strongest)
    rows = [misread(seed) for seed in worst(parser.parse_args().renders)]
    rows.append(captioned(example, f"The example photo:  {told}"))
    sheet = Image.new("RGB", (WIDTH, sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(ROOT / "docs/pictures/failures.jpg", quality=85)


if __name__ == "__main__":
    main()
