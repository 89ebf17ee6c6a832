"""Numbers and lists of JSON labels, checked."""

from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels.labels import NOT_LABELLED, Mark


def number(path: Path, what: str, value: Any) -> float:
    """A JSON number, NaN among them.

    Raises:
        ChainRigError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ChainRigError(f"{what} in {path} is {str(value)[:40]!r}: give a number.")
    try:
        return float(value)
    except OverflowError:
        raise ChainRigError(f"{what} in {path} has too many digits: give a number of pixels.") from None


def pair(path: Path, what: str, value: Any) -> tuple[float, float]:
    """Two JSON numbers."""
    if not isinstance(value, list) or len(value) != 2:
        raise ChainRigError(f"{what} in {path} is {str(value)[:40]!r}: give two numbers in brackets.")
    return number(path, what, value[0]), number(path, what, value[1])


def mark(path: Path, what: str, value: Any) -> Mark:
    """`[x, y]`, `[x, y, weight]`, or null for a point that is not labelled."""
    if value is None:
        return NOT_LABELLED
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise ChainRigError(f"{what} in {path} is {str(value)[:40]!r}: give [x, y] or [x, y, weight].")
    if None in value[:2] and len(value) == 3 and value[2] == 0:
        return NOT_LABELLED
    return Mark(*(number(path, what, one) for one in value))


def size(path: Path, value: Any) -> tuple[int, int] | None:
    """`[width, height]` in pixels, or null."""
    if value is None:
        return None
    width, height = pair(path, "The size of the photo", value)
    if not (1 <= width < 1e6 and 1 <= height < 1e6 and width == int(width) and height == int(height)):
        raise ChainRigError(f"The size of the photo in {path} is {width:g} × {height:g}: give whole pixels.")
    return int(width), int(height)


def text(path: Path, what: str, value: Any) -> str | None:
    """A string, or null."""
    if value is not None and not isinstance(value, str):
        raise ChainRigError(f"{what} in {path} is {str(value)[:40]!r}: give it in quotes.")
    return value
