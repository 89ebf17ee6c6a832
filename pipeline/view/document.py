"""The viewer's page: one HTML document with its styles and scripts inline."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipeline.inspection.colours import HEAT
from pipeline.view.guide import guide


def page(secret: str, nonce: str) -> str:
    """The page's text.

    Args:
        secret: what its questions carry.
        nonce: of its own scripts and styles; the browser runs no others.
    """
    loaders = [PackageLoader("pipeline.view", "page"), PackageLoader("pipeline.inspection", "page")]
    pages = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known: dict[str, Any] = {"secret": secret, "heat": HEAT[::8].round().astype(int).flatten().tolist()}
    return pages.get_template("view.html").render(nonce=nonce, known=known, guide=guide(), version=_version())


def _version() -> str:
    try:
        return version("chainrig")
    except PackageNotFoundError:
        return "from a source tree"
