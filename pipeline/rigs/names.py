"""What other tools call ARKit's 52 shapes, and the way back.

    browDown_L, BrowDownLeft, brow_down.l, head.browDown_left  →  browDownLeft
    browInnerUp_L (ARKit has one shape for both sides)         →  browInnerUpLeft
    mouthSmile (ARKit has two)                                 →  mouthSmile
    Fcl_ALL_Joy                                                →  Fcl_ALL_Joy

The source's own name is kept beside the new one (`Rig.expression_sources`), so nothing is lost.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

ARKIT: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft",
    "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip

_SYNONYMS = {"blink": "eyeblink", "eyeclosed": "eyeblink", "eyeclose": "eyeblink"}
_SIDES = {"l": "Left", "left": "Left", "r": "Right", "right": "Right"}
_KNOWN = {name.lower(): name for name in ARKIT}
# eyeblink → eyeBlink, of names with two sides; jawLeft and mouthLeft are no halves of anything.
_BASES = {
    name[:-4].lower(): name[:-4]
    for name in ARKIT
    if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")
}


def normalised(names: Sequence[str]) -> list[str]:
    """The names with ARKit's spelling where that is what they mean; others only get `Left` or `Right` for
    their side. A name that would come out twice stays as it is.
    """
    wanted = [_normal(name) for name in names]
    found: list[str] = []
    for name, better in zip(names, wanted, strict=True):
        clash = wanted.count(better) > 1 and better != name
        found.append(name if clash or better in found else better)
    return found


def _normal(name: str) -> str:
    short = re.split(r"[.:|/](?=[A-Za-z]{2})", name)[-1]  # blendShape1.jawOpen, rig:jawOpen
    if _key(short) in _KNOWN:
        return _KNOWN[_key(short)]
    stem, side = _sided(short)
    key = _SYNONYMS.get(_key(stem), _key(stem))
    if not side:
        return _BASES.get(key, name)
    if key + side.lower() in _KNOWN:
        return _KNOWN[key + side.lower()]
    base = _KNOWN.get(key)
    return (base or stem.strip("_-. ")) + side


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _sided(name: str) -> tuple[str, str]:
    """(stem, "Left", "Right" or "")."""
    for pattern in (
        r"(?P<stem>.+?)[_\-. ](?P<side>l|r|left|right)$",
        r"(?P<side>l|r|left|right)[_\-. ](?P<stem>.+)$",
    ):
        match = re.match(pattern, name, re.IGNORECASE)
        if match:
            return match["stem"], _SIDES[match["side"].lower()]
    match = re.match(r"(?P<stem>.*[a-z0-9])(?P<side>Left|Right|L|R)$", name)
    match = match or re.match(r"(?P<side>Left|Right)(?P<stem>[A-Z].*)$", name)
    return (match["stem"], _SIDES[match["side"].lower()]) if match else (name, "")


def arkit_of(name: str) -> tuple[str, ...]:
    """The ARKit shapes that a (normalised) control brings about, wholly or in half; () if none.

    mouthSmile → both mouthSmiles; browInnerUpLeft → browInnerUp.
    """
    if name in ARKIT:
        return (name,)
    if name in _BASES.values():
        return name + "Left", name + "Right"
    stem, side = _sided(name)
    return (stem,) if side and stem in ARKIT else ()


def to_arkit(values: Mapping[str, float]) -> dict[str, float]:
    """Values of a rig's controls as ARKit's; the two halves of one shape give their mean, those of no ARKit
    meaning are left out.
    """
    gathered: dict[str, list[float]] = {}
    for name, value in values.items():
        for arkit in arkit_of(name):
            gathered.setdefault(arkit, []).append(value)
    return {name: sum(parts) / len(parts) for name, parts in gathered.items()}


def from_arkit(values: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """ARKit's values as those of controls that have such a meaning; of a control for both sides, their
    mean."""
    found = {}
    for name in names:
        parts = [values[arkit] for arkit in arkit_of(name) if arkit in values]
        if parts:
            found[name] = sum(parts) / len(parts)
    return found


def joint_name(name: str) -> str:
    """What ChainRig calls a joint of the head (head, neck, jaw, eye_left, eye_right); others as they are."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    side = next((_SIDES[word] for word in words if word in _SIDES), "")
    if "brow" in words or "lid" in words or "eyelid" in words or "end" in words or "tip" in words:
        return name
    if "eye" in words or "eyeball" in words:
        return f"eye_{side.lower()}" if side else name
    return next((joint for joint in ("jaw", "head", "neck") if joint in words), name)


def joint_names(names: Sequence[str]) -> list[str]:
    """`joint_name` of each, where no other joint has that name already."""
    found: list[str] = []
    for name in names:
        better = joint_name(name)
        found.append(name if better in found else better)
    return found
