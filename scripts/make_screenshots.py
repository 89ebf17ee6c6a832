"""Draws docs/pictures/{view,view_column,view_labels,batch_report}.jpg: the pages as a browser shows them.

    python scripts/make_screenshots.py            # all; fits the example and some renders first, minutes

Needs Chromium, and the packages of the extra `dev`. Faces are renders and assets/example.png only.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from pipeline import assets
from pipeline.batch.manifest import read_manifests
from pipeline.batch.report import write_report
from pipeline.view.server import ViewServer
from pipeline.view.session import Session
from pipeline.view.viewed import find_items

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
FLAGS = ("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-background-networking")
SKINS = ("light", "medium", "tan", "dark")
FACES = 6
PATIENCE_MS = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="keep fits here, and take those that are there already")
    folder = parser.parse_args().work or Path(tempfile.mkdtemp())
    run = fitted_run(folder)
    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))

        def opened(where: str, width: int, height: int) -> Page:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.set_default_timeout(PATIENCE_MS)
            page.goto(where)
            return page

        page = opened(write_report(run, read_manifests(run).values()).as_uri(), 1180, 860)
        page.locator(".picture img").first.wait_for()
        shoot(page, "batch_report")
        session = Session(find_items(run / "example" / "face-0"))
        with ViewServer(session) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            view(opened(server.address, 1280, 800))
            server.shutdown()
        session.close()
        browser.close()


def view(page: Page) -> None:
    page.locator("#told b").wait_for()
    shoot(page, "view")
    page.locator("#show-points").uncheck()
    page.get_by_role("button", name="What mouthSmileLeft moves").click()
    page.locator("#legend").wait_for()
    box = page.locator("#paper").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 90, y - 10, steps=5)
    page.mouse.up()
    shoot(page, "view_column")
    page.get_by_role("button", name="Label by hand").click()
    page.get_by_role("button", name="Begin with the detector's").click()
    page.locator("#which").select_option("48")
    shoot(page, "view_labels")


def shoot(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)  # until the last frame is drawn, without a GPU
    path = PICTURES / f"{name}.jpg"
    page.screenshot(path=path, type="jpeg", quality=90)
    print(path)


def fitted_run(folder: Path) -> Path:
    """A run over the example photo, renders of random faces, and a file that is no picture."""
    images, run = folder / "photos", folder / "screen test"
    chance = random.Random(4)
    images.mkdir(parents=True, exist_ok=True)
    shutil.copy(assets.path("example.png"), images / "example.png")
    (images / "unfinished.jpg").write_text("half of a download")
    for number in range(FACES):
        picture = images / f"render {number + 1:02d}.png"
        if picture.exists():
            continue
        values = {name: round(chance.uniform(0, high), 2) for name, high in RANGES.items()}
        values |= {f"mouthSmile{side}": values["mouthSmileLeft"] for side in ("Left", "Right")}
        values |= {"headTranslationZ": -1.0, "headRotationY": chance.uniform(-0.3, 0.3)}
        controls = folder / "controls.json"
        controls.write_text(json.dumps(values))
        skin = SKINS[number % len(SKINS)]
        chainrig("render", "--controls", controls, "--skin", skin, "--size", 512, "--out", picture, "--quiet")
    chainrig("batch", images, "--out", run, "--workers", 1, "--quiet")
    return run


RANGES = {
    "jawOpen": 0.5,
    "mouthSmileLeft": 0.8,
    "browInnerUp": 0.7,
    "eyeBlinkLeft": 0.4,
    "mouthPucker": 0.3,
    "gender": 0.8,
    "age": 0.5,
    "weight": 0.7,
}


def chainrig(*arguments: object) -> None:
    done = subprocess.run([sys.executable, "-m", "pipeline", *map(str, arguments)])
    if done.returncode not in (0, 1, 2):  # of a batch, some images may have failed: that is shown
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
