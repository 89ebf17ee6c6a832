"""Which point of one landmark scheme is which of another: the table of docs/landmarks.md.

    python -m pipeline.target.matches        # writes the page's tables anew

What two schemes call a jaw is not the same thing: iBUG's and WFLW's points slide along the outline that the
photo shows, wherever on the head that is; the mesh's are fixed points of the skin. Elsewhere they name the
same features, and differ in how they divide the curves between corners: there the nearest of the mesh's
points are taken, or the mean of the two next to the place.
"""

from functools import cache
from pathlib import Path

from pipeline.detect.embedding import IBUG68 as MESH_OF_IBUG
from pipeline.target.schemes import AGREEMENTS, IBUG68, MEDIAPIPE478, WFLW98, Agreement, Match, Scheme, scheme

Matches = tuple[Match | None, ...]

_CHIN, _NOSE_BASE = 8, 33
_EYE_CORNERS, _MOUTH = (36, 39, 42, 45), (48, 51, 54, 57, 60, 62, 64, 66)
_EXACT_IN_MESH = {_NOSE_BASE, *_EYE_CORNERS, *_MOUTH}

# Where the mesh's nearest single point is not the place: iBUG's brows begin on the brow, its nose is as wide
# as the nostrils, and it divides nose and outer lips into equal parts, which the mesh does not.
_BETTER_IN_MESH = {
    17: (70,), 26: (300,), 28: (6, 197), 29: (195, 5), 31: (98,), 35: (327,),
    49: (40, 39), 53: (270, 269), 55: (321,), 56: (405, 314), 58: (181, 84), 59: (91,),
}  # fmt: skip

# WFLW's lids are cut into four parts, iBUG's into three; its brows have two edges, iBUG's one line.
_BROWS_OF_WFLW = {
    33: 70, 34: 63, 35: 105, 36: 66, 37: 107, 38: 55, 39: 65, 40: 52, 41: 53,
    42: 336, 43: 296, 44: 334, 45: 293, 46: 300, 47: 283, 48: 282, 49: 295, 50: 285,
}  # fmt: skip
_LIDS_OF_WFLW = {
    61: (161, 160), 62: (159,), 63: (158, 157), 65: (153, 154), 66: (145,), 67: (144, 163),
    69: (384, 385), 70: (386,), 71: (387, 388), 73: (373, 390), 74: (374,), 75: (380, 381),
}  # fmt: skip
_CORNERS_OF_WFLW = {60: 36, 64: 39, 68: 42, 72: 45}
_PUPILS_OF_WFLW = {96: 468, 97: 473}


@cache
def shipped(source: str, target: str) -> Matches:
    """For every point of one shipped scheme its place in another, or None where that has none.

    Raises:
        ChainRigError: there is no such scheme.
    """
    scheme(target)
    if source == target:
        return tuple(Match(target, (i,), "exact") for i in range(len(scheme(source))))
    if (source, target) in _TABLES:
        found = _TABLES[source, target]()
    else:
        found = _inverse(shipped(target, source), target)
    return tuple(found.get(i) for i in range(len(scheme(source))))


def matches(source: Scheme, target: str) -> Matches:
    """For every point of a scheme, shipped or a user's, its place in a shipped one, or None.

    Raises:
        ChainRigError: there is no scheme `target`.
    """
    if not source.like:
        return shipped(source.name, target)
    return tuple(_follow(match, target) for match in source.like)


def _follow(match: Match, target: str) -> Match | None:
    """Where the point that `match` names lies in another scheme: as sure as its least sure part."""
    on = [shipped(match.scheme, target)[point] for point in match.points]
    ends = [one for one in on if one is not None]
    if len(ends) < len(on) or len({len(one.points) for one in ends}) > 1:
        return None  # a mean of means of different sizes is not a mean
    points = tuple(point for one in ends for point in one.points)
    return Match(target, points, _worst([match.agreement, *(one.agreement for one in ends)]))


def _worst(agreements: list[Agreement]) -> Agreement:
    return max(agreements, key=AGREEMENTS.index)


def _mesh_of_ibug() -> dict[int, Match]:
    found = {}
    for i, (point, region) in enumerate(zip(MESH_OF_IBUG, IBUG68.regions, strict=True)):
        agreement: Agreement = "exact" if i in _EXACT_IN_MESH else "near"
        if region == "jaw" and i != _CHIN:
            agreement = "outline"
        found[i] = Match(MEDIAPIPE478.name, _BETTER_IN_MESH.get(i, (point,)), agreement)
    return found


def _ibug_of_wflw() -> dict[int, Match]:
    def match(agreement: Agreement, *points: int) -> Match:
        return Match(IBUG68.name, points, agreement)

    found = {i: match("near", *sorted({i // 2, (i + 1) // 2})) for i in range(33)}
    found |= {wflw: match("near", ibug) for wflw, ibug in zip(range(33, 38), range(17, 22), strict=True)}
    found |= {wflw: match("near", ibug) for wflw, ibug in zip(range(42, 47), range(22, 27), strict=True)}
    found |= {wflw: match("exact", ibug) for wflw, ibug in zip(range(51, 60), range(27, 36), strict=True)}
    found |= {wflw: match("exact", ibug) for wflw, ibug in _CORNERS_OF_WFLW.items()}
    lids = {61: (37,), 62: (37, 38), 63: (38,), 65: (40,), 66: (40, 41), 67: (41,)}
    lids |= {69: (43,), 70: (43, 44), 71: (44,), 73: (46,), 74: (46, 47), 75: (47,)}
    found |= {wflw: match("near", *ibug) for wflw, ibug in lids.items()}
    return found | {
        wflw: match("exact", ibug) for wflw, ibug in zip(range(76, 96), range(48, 68), strict=True)
    }


def _mesh_of_wflw() -> dict[int, Match]:
    ibug = _mesh_of_ibug()
    found = {}
    for wflw, match in _ibug_of_wflw().items():
        ends = [ibug[point] for point in match.points]
        if len(ends) == 1 or wflw < 33:  # same place as iBUG's; on the jaw, or half-way between two
            points = tuple(point for end in ends for point in end.points)
            found[wflw] = Match(MEDIAPIPE478.name, points, _worst([end.agreement for end in ends]))
    found |= {wflw: Match(MEDIAPIPE478.name, (mesh,), "near") for wflw, mesh in _BROWS_OF_WFLW.items()}
    found |= {wflw: Match(MEDIAPIPE478.name, mesh, "near") for wflw, mesh in _LIDS_OF_WFLW.items()}
    return found | {
        wflw: Match(MEDIAPIPE478.name, (mesh,), "exact") for wflw, mesh in _PUPILS_OF_WFLW.items()
    }


_TABLES = {
    (IBUG68.name, MEDIAPIPE478.name): _mesh_of_ibug,
    (WFLW98.name, MEDIAPIPE478.name): _mesh_of_wflw,
    (WFLW98.name, IBUG68.name): _ibug_of_wflw,
}


def _inverse(forward: Matches, source: str) -> dict[int, Match]:
    """The way back, for points that are one point on both sides."""
    back: dict[int, Match] = {}
    for i, match in enumerate(forward):
        if match is not None and len(match.points) == 1:
            back.setdefault(match.points[0], Match(source, (i,), match.agreement))
    return back


def tables() -> str:
    """The tables of docs/landmarks.md, as Markdown."""
    mesh = MEDIAPIPE478.name
    return "\n\n".join(
        f"### {one.name}\n\n{_table(one, others)}"
        for one, others in ((IBUG68, (WFLW98.name, mesh)), (WFLW98, (IBUG68.name, mesh)))
    )


def _table(source: Scheme, targets: tuple[str, ...]) -> str:
    lines = [f"| # | name | region | {' | '.join(targets)} |", "|--:|---|---|" + "---|" * len(targets)]
    columns = [matches(source, target) for target in targets]
    for i, row in enumerate(zip(*columns, strict=True)):
        cells = ["missing" if one is None else f"{_mean(one)} {one.agreement}" for one in row]
        lines.append(f"| {i} | `{source.names[i]}` | {source.regions[i]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(match: Match) -> str:
    return " + ".join(map(str, match.points))


MARK = "<!-- the tables below are written by python -m pipeline.target.matches -->"

if __name__ == "__main__":
    page = Path(__file__).parent.parent.parent / "docs" / "landmarks.md"
    text, _, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(f"{text}{MARK}\n\n{tables()}\n", encoding="utf-8")
