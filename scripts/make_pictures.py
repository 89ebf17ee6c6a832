"""Makes the pictures of the documentation: `python scripts/make_pictures.py`, about two minutes.

In docs/pictures: overlay.png is the overlay of the example photo's fit; appearance.png the photo, the rig as
it is shipped and the rig in the photo's light and colours; both at half their size. controls.png shows what
single controls do to the default head, passes.png the steps to a picture, and raytrace.png, where Mitsuba is
installed, the rasterizer beside the ray tracer. card.png is the card of one control at the fit of the example
photo, and detect.png shows where pixels matter to ten landmarks. (Those in docs/pictures/derivatives are made
by examples/lecture.)
"""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from pipeline import assets
from pipeline.config import load_config
from pipeline.errors import ChainRigError
from pipeline.fit import fit_photo
from pipeline.inspection.cards import CardPainter
from pipeline.inspection.inspection import inspect
from pipeline.inspection.layers import layer_jacobian, pictures
from pipeline.inspection.scene import read_scene
from pipeline.outputs.fit_json import fit_json
from pipeline.outputs.overlay import overlay
from pipeline.outputs.sheet import sheet
from pipeline.pictures import Studio
from pipeline.render.head_texture import SKIN_TONES
from pipeline.render.lighting import Light
from pipeline.result import FitResult

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


def main() -> None:
    torch.set_num_threads(1)
    PICTURES.mkdir(parents=True, exist_ok=True)
    result = fit_photo(str(assets.path("example.png")))
    inspected(result)
    page = overlay(result)
    _save(_halved(page), PICTURES / "overlay.png")
    plain = overlay(
        fit_photo(str(assets.path("example.png")), load_config(overrides=["appearance.fit=false"]))
    )
    third = page.width // 3
    plain.paste(page.crop((third, 0, 2 * third, page.height)), (2 * third, 0))
    _save(_halved(plain), PICTURES / "appearance.png")
    _save(controls(), PICTURES / "controls.png")
    _save(passes(), PICTURES / "passes.png")
    try:
        _save(raytrace(), PICTURES / "raytrace.png")
    except ChainRigError as missing:
        print(f"raytrace.png stays as it is: {missing}")


def _halved(page: Image.Image) -> Image.Image:
    return page.resize((page.width // 2, page.height // 2), Image.Resampling.LANCZOS)


def inspected(result: FitResult) -> None:
    """A card of the fit, and what the detector looks at."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fit.json"
        path.write_text(fit_json(result, 0))
        scene = read_scene(path, load_config())
    card = CardPainter(inspect(scene, ["jawOpen"], "the fitted controls")).draw(0)
    _save(Image.open(BytesIO(card)), PICTURES / "card.png")
    looked_at = pictures(layer_jacobian(scene, "detect"), "detect", scene.view().picture)
    page = sheet(looked_at, columns=5)
    _save(page.resize((page.width * 3 // 4, page.height * 3 // 4)), PICTURES / "detect.png")


def controls() -> Image.Image:
    """The default head with one control (and its partner) at work in each cell."""
    return sheet([(name, Studio(pose, size=256, samples=4).picture()) for name, pose in POSES.items()], 4)


def passes() -> Image.Image:
    """The renderer's steps on a face that laughs."""
    laugh = {"jawOpen": 0.4, "headRotationY": 0.5, "mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}
    studio = Studio(laugh, size=256, colours={"skin": SKIN_TONES["light"]})
    return sheet([(title, picture) for _, title, picture in studio.passes()])


def raytrace() -> Image.Image:
    """One head in light from the side, three times."""
    light = Light(torch.full((3,), 0.25), torch.full((3,), 1.3), torch.tensor([-0.9, 0.5, 0.6]))
    pose = {"jawOpen": 0.25, "headRotationY": 0.3, "browInnerUp": 0.5}
    ways = {
        "rasterizer": {},
        "ray tracer, camera rays alone": {"renderer": "raytrace", "bounces": 0},
        "with shadows and reflections": {"renderer": "raytrace", "softness": 0.1},
    }
    cells = [
        (name, Studio(pose, size=384, light=light, samples=4, **way).picture()) for name, way in ways.items()
    ]
    return sheet(cells, columns=3)


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.width} × {picture.height}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
