"""A user's own landmark scheme, from a JSON file: names, and which point of a shipped scheme each one is.

    {"schema": "chainrig.scheme/1", "name": "studio3", "points": [
        {"name": "chin", "like": "ibug68:8"},
        {"name": "mouth_right", "like": "ibug68:mouth_right"},
        {"name": "cheek", "like": "mediapipe478:50+101", "agreement": "near"}]}

`like` names a point by its number or name; several, joined by +, mean the point half-way between them.
`agreement` is `exact` unless the file says `near` or `outline` (see docs/landmarks.md).
"""

from pathlib import Path
from typing import Any

from pipeline.errors import ChainRigError
from pipeline.target.labels.files import read_json, read_text
from pipeline.target.schemes import AGREEMENTS, SCHEMES, Match, Scheme, mirrored, scheme

SCHEMA = "chainrig.scheme/1"


def find_scheme(name: str, beside: Path | None = None) -> Scheme:
    """A shipped scheme by its name, or a user's by the path of its file, with or without `.json`.

    Args:
        beside: the folder from which the path counts, where it is not the working folder.

    Raises:
        ChainRigError: it is neither, or the file is of no use.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    for path in ((beside or Path()) / name, (beside or Path()) / f"{name}.json"):
        if path.is_file():
            return read_scheme(path)
    return scheme(name)


def read_scheme(path: str | Path) -> Scheme:
    """Reads a scheme file.

    Raises:
        ChainRigError: the file cannot be read, is no scheme, or names a point that does not exist.
    """
    path = Path(path)
    document = read_json(path, read_text(path))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ChainRigError(f'{path} is no landmark scheme: such a file begins with "schema": "{SCHEMA}".')
    _require_keys(path, document, {"schema", "name", "points"})
    name, points = document.get("name"), document.get("points")
    if not isinstance(name, str) or not name or name in SCHEMES:
        raise ChainRigError(f'{path} needs a "name" of its own for its scheme, not {name!r}.')
    if not isinstance(points, list) or not points:
        raise ChainRigError(
            f'{path} needs "points": a list such as [{{"name": "chin", "like": "ibug68:8"}}].'
        )
    names = tuple(_name(path, i, point) for i, point in enumerate(points))
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ChainRigError(f"{path} names two points '{twice}': give each point a name of its own.")
    like = tuple(_like(path, point) for point in points)
    regions = tuple(SCHEMES[match.scheme].regions[match.points[0]] for match in like)
    return Scheme(name, names, regions, mirrored(names), like)


def _name(path: Path, i: int, point: Any) -> str:
    if not isinstance(point, dict):
        raise ChainRigError(f'Point {i} in {path} must be an object with a "name" and a "like".')
    _require_keys(path, point, {"name", "like", "agreement"})
    name = point.get("name")
    if not isinstance(name, str) or not name or name.isdecimal():
        raise ChainRigError(f'Point {i} in {path} needs a "name" that is no number, not {name!r}.')
    return name


def _like(path: Path, point: dict[str, Any]) -> Match:
    like, agreement = point.get("like"), point.get("agreement", "exact")
    if agreement not in AGREEMENTS:
        raise ChainRigError(
            f"The agreement of '{point['name']}' in {path} is {agreement!r}: give {', '.join(AGREEMENTS)}."
        )
    if not isinstance(like, str) or ":" not in like:
        raise ChainRigError(
            f'\'{point["name"]}\' in {path} must say which point it is like, as in "like": "ibug68:8".'
        )
    name, _, chosen = like.partition(":")
    try:
        points = tuple(scheme(name).index(one.strip()) for one in chosen.split("+"))
    except ChainRigError as wrong:
        raise ChainRigError(f"'{point['name']}' in {path} is like no known point: {wrong}") from None
    return Match(name, points, agreement)


def _require_keys(path: Path, document: dict[str, Any], known: set[str]) -> None:
    for key in document:
        if key not in known:
            raise ChainRigError(f'{path} has an unknown key "{key}": there are {", ".join(sorted(known))}.')
