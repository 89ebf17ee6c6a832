"""The text of a labels file, and JSON from it, with one sentence for everything that can be wrong."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError

MAX_BYTES = 512 * 2**20  # the annotations of the largest public sets are this long


def read_text(path: Path) -> str:
    """The file's text, without a byte-order mark.

    Raises:
        ChainRigError: the file is missing, a folder, empty, too long, or no UTF-8 text.
    """
    try:
        if path.is_dir():
            raise ChainRigError(f"{path} is a folder: name one file of labels in it.")
        if path.stat().st_size > MAX_BYTES:
            raise ChainRigError(
                f"{path} is {path.stat().st_size / 2**20:.0f} MB long: no file of labels is, check the path."
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise ChainRigError(f"There is no file of labels {path}: check the path.") from None
    except OSError as refused:
        raise ChainRigError(f"The labels {path} cannot be read: {refused.strerror}.") from None
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # what spreadsheets call Unicode text
            text = content.decode("utf-16")
        else:
            text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _no_text(path) from None
    if "\0" in text:
        raise _no_text(path)
    if not text.strip():
        raise ChainRigError(f"{path} is empty: save the labels again.")
    return text


def _no_text(path: Path) -> ChainRigError:
    return ChainRigError(f"{path} is not text in UTF-8: give labels as .pts, .json, .ljson or .csv.")


def read_json(path: Path, text: str) -> Any:
    """The document in a text; numbers may be NaN, keys must not repeat.

    Raises:
        ChainRigError: it is not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except _Repeated as twice:
        raise ChainRigError(f"{path} gives {twice} twice: keep one of them.") from None
    except (ValueError, RecursionError) as broken:
        reason = "nested too deeply" if isinstance(broken, RecursionError) else str(broken)
        raise ChainRigError(f"{path} is not JSON ({reason}): save the labels again.") from None


class _Repeated(Exception):
    pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Repeated(repr(next(key for key in keys if keys.count(key) > 1)))
    return document
