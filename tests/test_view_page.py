"""The viewer's page in a browser: sliders move the mesh, fits go on from there, points are placed by hand."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from viewed_fit import quick_fit, served

from pipeline import assets
from pipeline.controls_file import read_controls
from pipeline.target.labels.read import read_labels
from pipeline.view.session import Session
from pipeline.view.viewed import Item, find_items

if TYPE_CHECKING:
    from browser import OpenPage
    from playwright.sync_api import Locator, Page

    from pipeline.view.server import ViewServer

pytest_plugins = ["browser"]

ODD = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one fit."""
    return quick_fit(tmp_path_factory.mktemp("view") / "face").parent


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ViewServer]:
    with served([Item("face", folder / "fit.json")]) as server:
        yield server


@pytest.fixture
def page(server: ViewServer, open_page: OpenPage) -> Page:
    page = open_page(server.address, width=900, height=600)
    ready(page)
    return page


def ready(page: Page) -> None:
    page.locator("#paper[aria-busy=false]").wait_for()
    page.locator("#told").filter(has_text=re.compile(r"Residual \d")).wait_for()


def residual(page: Page) -> float:
    ready(page)
    return float(page.locator("#told b").inner_text().split()[0])


def picture(page: Page) -> np.ndarray:
    content = page.locator("#paper").screenshot()
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"), dtype=np.int16)


def still(page: Page) -> np.ndarray:
    """The picture when it no longer changes."""
    last, now = None, picture(page)
    while last is None or (last != now).any():
        page.wait_for_timeout(100)
        last, now = now, picture(page)
    return now


def comes_back(page: Page, before: np.ndarray) -> bool:
    """Whether the picture becomes what it was, within a minute at the least."""
    page.mouse.move(0, 0)  # buttons look different under the mouse
    for _ in range(300):
        if (abs(picture(page) - before).max(-1) > 30).mean() < 1e-3:
            return True
        page.wait_for_timeout(200)
    return False


def slider(page: Page, name: str) -> Locator:
    return page.get_by_role("slider", name=name, exact=True)


def test_a_slider_moves_the_mesh_and_the_residual_and_reset_takes_it_back(page: Page) -> None:
    page.locator("#show-points").uncheck()  # the mesh itself is to move
    before, start = still(page), residual(page)
    slider(page, "jawOpen").press("End")
    page.locator("#told b").filter(has_not_text=f"{start:.2f}").wait_for()
    page.locator("#told b").filter(has_not_text="about").wait_for()
    changed = abs(still(page) - before).max(-1) > 30
    rows = np.flatnonzero(changed.any(1))
    assert changed.mean() > 0.01 and rows.mean() > 0.5 * len(before)  # the lower half: the mouth and the chin
    assert residual(page) > 1.5 * start
    assert "±" in page.locator(".control.moved").inner_text()
    page.get_by_role("button", name="Reset").click()
    page.locator("#told b").filter(has_text=f"{start:.2f}").wait_for()
    assert comes_back(page, before)


def test_a_column_is_a_heat_map_on_the_mesh(page: Page) -> None:
    page.locator("#show-points").uncheck()
    skin = still(page)
    page.get_by_role("button", name="What browInnerUp moves").click()
    page.locator("#legend-name", has_text="What browInnerUp moves, mm per unit").wait_for()
    heat = still(page)
    glowing = (heat[..., 0] > 200) & (heat[..., 2] < 140) & (heat[..., 0] - heat[..., 2] > 90)
    assert glowing.mean() > 0.002
    assert float(page.locator("#legend-most").inner_text()) > 5
    page.get_by_role("button", name="Skin").click()
    assert comes_back(page, skin)


def test_dragging_turns_the_rig_and_the_camera_comes_back(page: Page) -> None:
    page.locator("#show-points").uncheck()
    before = still(page)
    box = page.locator("#paper").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y, steps=4)
    page.mouse.up()
    assert (abs(still(page) - before).max(-1) > 30).mean() > 0.1
    page.get_by_role("button", name="Camera's view").click()
    assert comes_back(page, before)


def test_solving_again_from_moved_sliders_and_saving_what_was_found(page: Page, folder: Path) -> None:
    start = residual(page)
    slider(page, "jawOpen").press("End")
    page.locator("#told b").filter(has_not_text=re.compile(f"about|^{start:.2f}")).wait_for()
    spoilt = residual(page)
    page.get_by_role("button", name="Re-solve from here").click()
    page.locator("#said", has_text="Solved again").wait_for()
    solved = residual(page)
    assert solved < 0.7 * spoilt
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#said", has_text="Written").wait_for()
    written = folder / "by-hand"
    assert {path.name for path in written.iterdir()} >= {
        "overlay.png",
        "controls.csv",
        "config.yaml",
        "fit.json",
        "face.glb",
    }
    document = json.loads((written / "fit.json").read_text())
    assert document["residual"]["final_percent_iod"] == pytest.approx(solved, abs=0.01)
    shown = float(slider(page, "jawOpen").input_value())
    assert read_controls(written / "fit.json").values["jawOpen"] == pytest.approx(shown, abs=1e-6)


def test_sliders_as_they_are_can_be_saved_without_solving(page: Page, folder: Path) -> None:
    slider(page, "mouthSmileLeft").press("Home")
    page.locator("#told b").filter(has_not_text="about").wait_for()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#said", has_text="Written").wait_for()
    saved = read_controls(folder / "by-hand" / "fit.json").values
    own = read_controls(folder / "fit.json").values
    assert saved["mouthSmileLeft"] == 0 < own["mouthSmileLeft"]
    assert saved["jawOpen"] == pytest.approx(own["jawOpen"], abs=1e-6)


def test_points_are_placed_dragged_saved_and_fitted_to(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Label by hand").click()
    page.locator("#current", has_text="0 of 68").wait_for()
    page.get_by_role("button", name="Begin with the detector's").click()
    page.locator("#current", has_text="68 of 68").wait_for()
    page.locator("#which").select_option("30")
    page.locator("#current", has_text="30 nose tip").wait_for()
    page.locator("#paper").focus()
    page.keyboard.press("Delete")
    page.locator("#current", has_text="67 of 68").wait_for()
    box = page.locator("#paper").bounding_box()
    assert box is not None
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.55 * box["height"]
    page.mouse.click(x, y)
    page.locator("#current", has_text="68 of 68").wait_for()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y - 20, steps=3)
    page.mouse.up()
    page.get_by_role("button", name="Save points").click()
    page.locator("#said", has_text="labels.pts").wait_for()
    labels = read_labels(folder / "by-hand" / "labels.pts")
    assert bool(labels.labelled.all())
    told = json.loads((folder / "fit.json").read_text())["region"]
    scale = min(box["width"], box["height"]) / (1.25 * told["side_px"])
    wanted = [told["centre_px"][0] + 30 / scale, told["centre_px"][1] + (0.05 * box["height"] - 20) / scale]
    assert labels.points[30].tolist() == pytest.approx(wanted, abs=1.5)
    page.get_by_role("button", name="Fit to these points").click()
    page.locator("#said", has_text="Fitted to your points").wait_for()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#said", has_text="Written").wait_for()
    with contextlib.closing(Session(find_items(folder / "by-hand"))) as session:
        told = session.answer("open", {"face": 0})["fit"]  # what was fitted to labels is shown beside them
    used = json.loads((folder / "by-hand" / "fit.json").read_text())["labels"]["target"]
    assert np.array(told["target"]) == pytest.approx(np.array(used), abs=1e-2) and len(used) > 50
    page.reload()
    ready(page)
    page.get_by_role("button", name="Label by hand").click()
    page.locator("#current", has_text="68 of 68").wait_for()  # they are there again


def test_arrow_keys_move_a_point_by_a_pixel(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Label by hand").click()
    page.get_by_role("button", name="Begin with the detector's").click()
    page.get_by_role("button", name="Save points").click()
    page.locator("#said", has_text="Written").wait_for()
    file = folder / "by-hand" / "labels.json"
    before = read_labels(file).points
    page.locator("#which").select_option("8")
    page.locator("#paper").focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "n"):
        page.keyboard.press(key)
    page.locator("#current", has_text="9 jaw left 1").wait_for()
    page.get_by_role("button", name="Save points").click()  # takes away what was said before
    page.locator("#said", has_text="Written").wait_for()
    moved = read_labels(file).points - before
    assert moved[8].tolist() == pytest.approx([2, 0.1], abs=1e-9)
    assert float(moved.abs().sum()) == pytest.approx(2.1, abs=1e-9)


def test_an_item_is_chosen_from_a_list_whatever_it_is_called(open_page: OpenPage) -> None:
    names = [ODD, "one/face-0"]
    with served([Item(name, assets.path("head_rig.npz")) for name in names]) as server:
        page = open_page(server.address, width=900, height=600)
        page.locator("#title", has_text=ODD).wait_for()
        assert page.locator("#item option").all_inner_texts() == names
        page.locator("#item").select_option("one/face-0")
        page.locator("#title", has_text="one/face-0").wait_for()
        page.locator("#find").fill("ONE/")
        assert page.locator("#item option").all_inner_texts() == names[1:]
        assert page.get_by_role("button", name="Save controls").is_visible()
        assert not page.get_by_role("button", name="Re-solve").is_visible()
        page.locator("#search").fill("nose-width")
        shown = page.locator(".control:visible .of").all_inner_texts()
        assert shown == ["nose-width1-incr", "nose-width2-incr", "nose-width3-incr"]


def test_a_face_without_a_fit_says_why_and_what_is_open_stays(open_page: OpenPage) -> None:
    head = assets.path("head_rig.npz")
    items = [Item("a/face-0", head, why="It is too dark."), Item("b/face-0", head)]
    with served(items) as server:
        page = open_page(server.address, width=900, height=600)
        page.locator("#title", has_text="b/face-0").wait_for()
        assert page.locator("#item option").all_inner_texts() == ["a/face-0  (no fit)", "b/face-0"]
        page.locator("#item").select_option(index=0)
        page.locator("#said", has_text="There is no fit of a/face-0: It is too dark.").wait_for()
        assert page.locator("#item").input_value() == "1"
        assert page.locator("#title").inner_text() == "b/face-0"


def test_a_phone_shows_it_without_scrolling_sideways(server: ViewServer, open_page: OpenPage) -> None:
    page = open_page(server.address, width=390, height=844)
    ready(page)
    for node in page.locator("aside > *:visible, .tools:visible > *").all():
        box = node.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390)
