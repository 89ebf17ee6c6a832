"""report.html: everything that an inspection found, for a reader who has never seen the code.

One file that needs no network: pictures are data URIs, styles and the two small scripts are inline.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from pipeline.controls import Control
from pipeline.inspection import report_figures as figures
from pipeline.inspection.cards import card_name
from pipeline.inspection.findings import Attribution, Findings, GradientStation, Recipe, TradeOff
from pipeline.inspection.wording import doubt_left, figure, listed, measured, step_of, told

AT_LIMIT = 1e-3  # of the range
BALANCE = "in balance"
VISIBLE_PART = 0.02  # of a bar
NOTICEABLE = 0.05  # of the largest pull
MOST_ATTRIBUTED = 24
TOP_LANDMARKS = 3
ALIKE = 0.9  # cosine of what two controls do to the landmarks
MOST_WISHES = 3
FIRST_GROUPS = ("expression", "pose")


@dataclass(frozen=True)
class Row:
    """One control as the table and its card show it."""

    control: Control
    anchor: str
    value: float
    measured: str
    sd: float
    bar: Markup
    told: str
    told_share: float
    full_range_px: float
    remarks: tuple[str, ...]
    card: str | None
    effect: str


def write_report(
    findings: Findings,
    animations: Mapping[int, bytes] | None = None,
    cards: Mapping[str, bytes] | None = None,
) -> str:
    """The report as HTML text.

    Args:
        animations: place in `findings.observability.weakest` → GIF, see `animation.animate`.
        cards: control → PNG, see `cards.CardPainter`.
    """
    pages = Environment(
        loader=PackageLoader("pipeline.inspection", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "figure": figure,
        "listed": listed,
        "percent": _percent,
        "typeset": _typeset,
        "key": _key,
    }
    view, observability = findings.view, findings.observability
    rows = _rows(findings, cards or {})
    return pages.get_template("report.html").render(
        findings=findings,
        version=_version(),
        photo=None if view.photo is None else figures.picture_uri(view.photo),
        picture=figures.picture_uri(view.picture),
        rows=rows,
        card_height=_card_height(cards or {}),
        anchors={row.control.name: row.anchor for row in rows},
        trust=_trust(findings),
        failed=sum(not badge.passed for badge in findings.badges),
        wants=_wants(findings),
        chart=figures.singular_values_chart(observability.singular_values),
        above=int((observability.singular_values >= 1).sum()),
        sentences=observability.sentences,
        trade_offs=[_trade_off(pair) for pair in observability.trade_offs],
        weakest=[
            _weak(recipe, (animations or {}).get(index)) for index, recipe in enumerate(observability.weakest)
        ],
        stations=[_station(station, findings) for station in findings.gradient],
        attributed=_attributed(findings.attribution, _natural_sizes(findings)),
        regions=figures.REGION_COLOURS,
        dead=_dead(findings),
    )


def _rows(findings: Findings, cards: Mapping[str, bytes]) -> list[Row]:
    observability, columns = findings.observability, findings.columns
    place = {name: index for index, name in enumerate(observability.names)}
    dead = {each.name: each.reason for each in findings.dead if each.where != "range"}
    held = {each.name for each in findings.dead if each.where == "range"}
    rows = []
    for control, value in zip(columns.controls, columns.values.tolist(), strict=True):
        at = place.get(control.name)
        sd = math.inf if at is None else float(observability.sd[at])
        prior_sd = math.inf if at is None else float(observability.prior_sd[at])
        remarks = []
        if control.name in observability.unobservable:
            remarks.append("not seen")
        low, high = value - control.low, control.high - value
        if control.name in dead:
            remarks.append(f"dead, because {dead[control.name].rstrip('.')}")
        elif min(low, high) <= AT_LIMIT * (control.high - control.low):
            limit = f"at its {'lower' if low < high else 'upper'} limit"
            remarks.append(f"held {limit}" if control.name in held else limit)
        card = cards.get(control.name)
        rows.append(
            Row(
                control,
                f"card-{card_name(control.name)}",
                value,
                measured(value, sd, control.unit),
                sd,
                figures.range_bar(control, value, sd),
                told(sd, prior_sd, control),
                doubt_left(sd, prior_sd, control),
                math.nan if at is None else float(observability.full_range_px[at]),
                tuple(remarks),
                None if card is None else figures.small_picture(card),
                _effect(findings, len(rows)),
            )
        )
    order = {group: index for index, group in enumerate(FIRST_GROUPS)}
    return sorted(rows, key=lambda row: order.get(row.control.group, len(order)))


def _effect(findings: Findings, index: int) -> str:
    """What one step of a control does, as a sentence."""
    columns, control = findings.columns, findings.columns.controls[index]
    step = findings.steps[control.name]
    moved = abs(step) * 1000 * float(columns.vertices[index].norm(dim=-1).max())
    shifted = abs(step) * float(columns.landmarks[index, :, :2].norm(dim=-1).max())
    return (
        f"{step_of(step, control.unit)} of {control.name} moves the mesh by up to {figure(moved)} mm and the "
        f"landmarks by up to {figure(shifted)} px."
    )


def _dead(findings: Findings) -> list[tuple[list[str], str, str]]:
    """(controls, where, reason): what shares its reason is said once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in findings.dead:
        groups.setdefault((each.where, each.reason.rstrip(".")), []).append(each.name)
    return [(names, where, reason) for (where, reason), names in groups.items()]


def _trust(findings: Findings) -> str:
    failed = [badge for badge in findings.badges if not badge.passed]
    count = len(findings.badges)
    if not count:
        return "Nothing was checked."
    if not failed:
        return f"Yes: all {count} checks passed."
    return f"Not all: {len(failed)} of {count} checks failed, in {listed([badge.told for badge in failed])}."


def _wants(findings: Findings) -> str:
    """What the landmarks still ask for."""
    if findings.attribution is None:
        return "Without a photo there is nothing for it to want."
    asked = _attributed(findings.attribution, _natural_sizes(findings))
    up = [each["name"] for each in asked if each["together"] == "more"][:MOST_WISHES]
    down = [each["name"] for each in asked if each["together"] == "less"][:MOST_WISHES]
    if not up and not down:
        return "Nothing: where landmarks pull at a control, as many pull the other way."
    wishes = [f"more {listed(up)}"] * bool(up) + [f"less {listed(down)}"] * bool(down)
    return (
        f"Most of all, the landmarks ask for {', and for '.join(wishes)}. A fit ends where what is known of "
        "faces balances this, at the ends of ranges, or after its last step."
    )


def _natural_sizes(findings: Findings) -> dict[str, float]:
    """Control → how far it may well be off: its standard deviation, or where there is none, its card's step.

    It makes pulls on a strength and on a shift in metres comparable.
    """
    sizes = dict(findings.steps)
    seen = findings.observability
    for name, sd in zip(seen.names, seen.sd.tolist(), strict=True):
        if math.isfinite(sd) and sd > 0:
            sizes[name] = sd
    return sizes


def _trade_off(pair: TradeOff) -> str:
    """What two controls have to do with each other."""
    if abs(pair.cosine) >= ALIKE:
        how = "alike" if pair.cosine > 0 else "the opposite way"
        return f"{pair.first} and {pair.second} move the landmarks {how} (cosine {pair.cosine:.2f})."
    other = "high" if pair.correlation > 0 else "low"
    return (
        f"If {pair.first} is too high, {pair.second} is probably too {other} (correlation of their errors "
        f"{pair.correlation:.2f})."
    )


def _weak(recipe: Recipe, animation: bytes | None) -> dict[str, Any]:
    longest = max((abs(change) for change in recipe.changes.values()), default=1.0) or 1.0
    return {
        "sliders": [(name, change, abs(change) / longest) for name, change in recipe.changes.items()],
        "recipe": recipe,
        "animation": None if animation is None else figures.data_uri(animation, "gif"),
    }


def _station(station: GradientStation, findings: Findings) -> dict[str, Any]:
    picture = None
    if station.map is not None and station.map.ndim == 2:
        picture = figures.pixel_map_uri(station.map, findings.view)
    elif station.map is not None:
        picture = figures.vertex_map_uri(station.map, findings.view)
    shares = sorted(station.shares.items(), key=lambda share: -share[1])[:6]
    unit = re.sub(r"^(?:per )?(?:an? )?", "per ", station.unit) if station.unit else ""
    return {"station": station, "unit": unit, "picture": picture, "shares": shares}


def _attributed(attribution: Attribution | None, sizes: Mapping[str, float]) -> list[dict[str, Any]]:
    """Controls that landmarks pull at, the hardest pulled first; a pull is that on `sizes` of it."""
    if attribution is None:
        return []
    pulls = []
    for index, name in enumerate(attribution.names):
        terms = (attribution.terms[:, index] * sizes.get(name, 1.0)).tolist()
        by_region: dict[str, list[float]] = {}
        for region, term in zip(attribution.regions, terms, strict=True):
            sums = by_region.setdefault(region, [0.0, 0.0])
            sums[term < 0] += abs(term)
        up, down = (sum(sums[side] for sums in by_region.values()) for side in (0, 1))
        top = sorted(range(len(terms)), key=lambda landmark: -abs(terms[landmark]))[:TOP_LANDMARKS]
        pulls.append(
            {
                "name": name,
                "up": up,
                "down": down,
                "net": up - down,
                "regions": by_region,
                "top": [(i, attribution.regions[i], terms[i]) for i in top if terms[i]],
            }
        )
    most = max((pull["up"] + pull["down"] for pull in pulls), default=0.0)
    if not most > 0:
        return []
    strongest = max(abs(pull["net"]) for pull in pulls)
    for pull in pulls:
        pull["together"] = _together(pull["net"], strongest)
    seen = [pull for pull in pulls if pull["up"] + pull["down"] >= NOTICEABLE * most]
    seen.sort(key=lambda pull: (pull["together"] == BALANCE, -abs(pull["net"])))
    for pull in seen:
        longest = max(pull["up"], pull["down"])
        for side, key in ((0, "up_parts"), (1, "down_parts")):
            shares = [(name, sums[side] / longest) for name, sums in pull["regions"].items()]
            pull[key] = [
                (name, share, figures.region_colour(name))
                for name, share in sorted(shares, key=lambda part: -part[1])
                if share >= VISIBLE_PART
            ]
    return seen[:MOST_ATTRIBUTED]


def _together(net: float, strongest: float) -> str:
    """What pulls up and pulls down come to, beside the strongest net pull at any control."""
    if abs(net) <= 0.1 * strongest:
        return BALANCE
    return "more" if net > 0 else "less"


def _typeset(text: str) -> Markup:
    """Figures as a printer sets them: a true minus, powers of ten raised."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", str(escape(text)))
    raised = re.sub(r"(?<=\d)e(-?)0*(\d+)", r"&nbsp;×&nbsp;10<sup>\1\2</sup>", text)
    return Markup(raised.replace("<sup>-", "<sup>−"))


def _key(value: float) -> float:
    """What a table is sorted by: unknown values come first."""
    return value if math.isfinite(value) else -1e9


def _percent(share: float) -> str:
    return f"{figure(100 * share)} %" if share < 0.995 else "100 %"  # two digits would make it 99 or 1.0e2


def _card_height(cards: Mapping[str, bytes]) -> int:
    """Of all cards: pages that know it do not jump while pictures load."""
    return next((Image.open(BytesIO(card)).height for card in cards.values()), 0)


def _version() -> str:
    try:
        return version("chainrig")
    except PackageNotFoundError:
        return "from a source tree"
