"""Landmark schemes: which points of a face a set of landmarks has, in which order, under which names.

Left and right are the subject's. iBUG's 68 points: Sagonas et al., "300 Faces in-the-Wild Challenge" (2013);
WFLW's 98: Wu et al., "Look at Boundary" (2018); the mesh's 478: Kartynnik et al., "Real-time Facial Surface
Geometry from Monocular Video on Mobile GPUs" (2019), with the irises' ten points behind the 468.
"""

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from pipeline.errors import ChainRigError

Agreement = Literal["exact", "near", "outline"]
AGREEMENTS: tuple[Agreement, ...] = get_args(Agreement)


class Match(NamedTuple):
    """Where another scheme has a point.

    Attributes:
        scheme: name of the other scheme.
        points: indices in it; of several, their mean is meant.
        agreement: `exact`: both define the same place; `near`: both define a place on the same feature, a
            little apart; `outline`: one slides along the outline that a photo shows, the other is fixed to
            the skin.
    """

    scheme: str
    points: tuple[int, ...]
    agreement: Agreement


@dataclass(frozen=True)
class Scheme:
    """N landmarks in their order.

    Attributes:
        name: e.g. "ibug68".
        names: N different names; a right point's name becomes its left twin's by exchanging right and left.
        regions: N, the part of the face that each point belongs to.
        twins: N, the index of each point's mirror image: its own, on the midline.
        like: N, which point of a shipped scheme each point is, for schemes of users; empty for shipped ones.
    """

    name: str
    names: tuple[str, ...]
    regions: tuple[str, ...]
    twins: tuple[int, ...]
    like: tuple[Match, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def outer_eyes(self) -> tuple[int, int] | None:
        """The outer corners of the subject's right and left eye; None in a scheme that has not both."""
        if self.name == MEDIAPIPE478.name:
            return 33, 263
        if not self.like:
            return self.names.index("eye_right_outer"), self.names.index("eye_left_outer")
        found = {}
        for i, match in enumerate(self.like):
            corners = scheme(match.scheme).outer_eyes
            if (
                corners
                and match.agreement == "exact"
                and len(match.points) == 1
                and match.points[0] in corners
            ):
                found[corners.index(match.points[0])] = i
        return (found[0], found[1]) if len(found) == 2 else None

    def index(self, point: str) -> int:
        """The index of a point, of its name or its number.

        Raises:
            ChainRigError: the scheme has no such point.
        """
        if re.fullmatch(r"[0-9]{1,6}", point):
            if int(point) < len(self):
                return int(point)
            raise ChainRigError(
                f"There is no point {point} in the scheme {self.name}: it counts from 0 to {len(self) - 1}."
            )
        if point in self.names:
            return self.names.index(point)
        near = difflib.get_close_matches(point.lower(), self.names, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "docs/landmarks.md lists the names."
        raise ChainRigError(f"There is no point '{point}' in the scheme {self.name}: {hint}")


def scheme(name: str) -> Scheme:
    """The shipped scheme of a name.

    Raises:
        ChainRigError: there is none.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    raise ChainRigError(
        f"There is no landmark scheme '{name}': there are {', '.join(SCHEMES)}, or the path of a scheme file."
    )


def mirrored(names: tuple[str, ...]) -> tuple[int, ...]:
    """The twins of points whose names say right and left; a point without a twin is its own."""
    swap = {"right": "left", "left": "right"}
    twins = [re.sub("right|left", lambda side: swap[side[0]], name) for name in names]
    return tuple(names.index(twin) if twin in names else i for i, twin in enumerate(twins))


def _named(name: str, regions: list[tuple[str, list[str]]]) -> Scheme:
    names = tuple(point for _, points in regions for point in points)
    return Scheme(name, names, tuple(region for region, points in regions for _ in points), mirrored(names))


def _numbered(pattern: str, *numbers: int) -> list[str]:
    return [pattern.format(number) for number in numbers]


def _jaw(half: int) -> list[str]:
    """From ear to ear, counted from the chin."""
    sides = range(half, 0, -1), range(1, half + 1)
    return _numbered("jaw_right_{}", *sides[0]) + ["chin"] + _numbered("jaw_left_{}", *sides[1])


# From the nose's root to its tip, then along its base.
_NOSE = _numbered("nose_bridge_{}", 1, 2, 3) + ["nose_tip"]
_NOSE += ["nostril_right_2", "nostril_right_1", "nose_base", "nostril_left_1", "nostril_left_2"]

# Around the outer edge, from the right corner over the upper lip; then the inner edge. 1 is next to the
# middle.
_LIPS = ["mouth_right", "upper_lip_right_2", "upper_lip_right_1", "upper_lip", "upper_lip_left_1"]
_LIPS += ["upper_lip_left_2", "mouth_left", "lower_lip_left_2", "lower_lip_left_1", "lower_lip"]
_LIPS += ["lower_lip_right_1", "lower_lip_right_2"]
_INNER_LIPS = ["inner_mouth_right", "inner_upper_right", "inner_upper", "inner_upper_left"]
_INNER_LIPS += ["inner_mouth_left", "inner_lower_left", "inner_lower", "inner_lower_right"]

IBUG68 = _named(
    "ibug68",
    [
        ("jaw", _jaw(8)),
        ("brow", _numbered("brow_right_{}", 1, 2, 3, 4, 5)),  # 1 is the outer end
        ("brow", _numbered("brow_left_{}", 5, 4, 3, 2, 1)),
        ("nose", _NOSE),
        ("eye", ["eye_right_outer", "upper_lid_right_1", "upper_lid_right_2"]),
        ("eye", ["eye_right_inner", "lower_lid_right_2", "lower_lid_right_1"]),
        ("eye", ["eye_left_inner", "upper_lid_left_2", "upper_lid_left_1"]),
        ("eye", ["eye_left_outer", "lower_lid_left_1", "lower_lid_left_2"]),
        ("lip", _LIPS),
        ("inner lip", _INNER_LIPS),
    ],
)

WFLW98 = _named(
    "wflw98",
    [
        ("jaw", _jaw(16)),
        ("brow", _numbered("upper_brow_right_{}", 1, 2, 3, 4, 5)),
        ("brow", _numbered("lower_brow_right_{}", 5, 4, 3, 2)),
        ("brow", _numbered("upper_brow_left_{}", 5, 4, 3, 2, 1)),
        ("brow", _numbered("lower_brow_left_{}", 2, 3, 4, 5)),
        ("nose", _NOSE),
        ("eye", ["eye_right_outer", *_numbered("upper_lid_right_{}", 1, 2, 3)]),
        ("eye", ["eye_right_inner", *_numbered("lower_lid_right_{}", 3, 2, 1)]),
        ("eye", ["eye_left_inner", *_numbered("upper_lid_left_{}", 3, 2, 1)]),
        ("eye", ["eye_left_outer", *_numbered("lower_lid_left_{}", 1, 2, 3)]),
        ("lip", _LIPS),
        ("inner lip", _INNER_LIPS),
        ("pupil", ["pupil_right", "pupil_left"]),
    ],
)

# The mesh counts its midline and right half up to 247, then the left half in the right one's order.
_MIDLINE = (
    0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 94, 151, 152, 164, 168, 175, 195,
    197, 199, 200,
)  # fmt: skip
_IRISES = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)  # twins of 468 … 477


def _mesh() -> Scheme:
    right = [i for i in range(248) if i not in _MIDLINE]
    left_of = {point: 248 + place for place, point in enumerate(right)}
    right_of = {left: point for point, left in left_of.items()}
    twins = tuple(left_of.get(i, right_of.get(i, i)) for i in range(468)) + _IRISES
    names = tuple(f"mesh_{i}" for i in range(478))
    return Scheme("mediapipe478", names, ("mesh",) * 468 + ("iris",) * 10, twins)


MEDIAPIPE478 = _mesh()

SCHEMES = {one.name: one for one in (IBUG68, WFLW98, MEDIAPIPE478)}
