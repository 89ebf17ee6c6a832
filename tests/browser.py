"""A headless Chromium for tests of pages: `pytest_plugins = ["browser"]` gives the fixture `open_page`.

Pages get no network but this machine's own, and a test fails if its page asked for anything else, or wrote
a word to the console. Without a browser such tests are skipped (`conftest.py` says what CI makes of that).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

OpenPage = Callable[..., "Page"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000  # on a machine that does much else


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("There is no Chromium or Chrome here to open the page with.")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("Playwright is not installed: pip install 'chainrig[dev]'.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Opens a file or an address of this machine: `open_page(where, width=1280, height=900, dark=False)`."""
    contexts, complaints = [], []

    def local_only(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("file", "data", "blob") or address.hostname == "127.0.0.1":
            route.continue_()
        else:
            complaints.append(f"asked for {route.request.url}")
            route.abort()

    def open_page(where: Path | str, width: int = 1280, height: int = 900, **context: Any) -> Page:
        dark = context.pop("dark", False)
        opened = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **context,
        )
        contexts.append(opened)
        opened.route("**/*", local_only)
        opened.set_default_timeout(PATIENCE_MS)
        page = opened.new_page()
        page.on("console", lambda message: _heard(message.text, complaints))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.goto(where.as_uri() if isinstance(where, Path) else where)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _heard(words: str, complaints: list[str]) -> None:
    if "GL Driver Message" not in words:  # WebGL without a GPU is slow, and says so
        complaints.append(f"console: {words}")
