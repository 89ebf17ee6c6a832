"""Figures and sentences as a reader wants them: two digits that count, and units always."""

import math
import re
import unicodedata

from pipeline.controls import Control

STRENGTH = ""  # the unit of a control that is a strength


def figure(value: float, digits: int = 2) -> str:
    """Rounded to digits that count: 0.0123 → "0.012", 1234 → "1200"; tiny and huge ones as powers of ten."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else ("unlimited" if value > 0 else "-unlimited")
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    value = float(f"{value:.{digits - 1}e}")
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def measured(value: float, sd: float | None, unit: str = STRENGTH) -> str:
    """A value and its standard deviation to the same decimal, e.g. "0.324 ± 0.051 rad"."""
    if sd is None or not math.isfinite(sd) or sd <= 0:
        return with_unit(_fixed(value, 2 if unit == STRENGTH else 3), unit)
    decimals = min(5, max(2, 1 - math.floor(math.log10(sd))))
    return with_unit(f"{_fixed(value, decimals)} ± {_fixed(sd, decimals)}", unit)


def step_of(step: float, unit: str) -> str:
    """ "+0.1", "+0.1 rad (5.7°)" or "+0.01 m"."""
    text = f"{step:+g}"
    if unit == "rad":
        return f"{text} rad ({figure(math.degrees(step))}°)"
    return with_unit(text, unit)


def told(sd: float, prior_sd: float, control: Control) -> str:
    """How much the photo told of a control: "the photo tells", "partly" or "little"; "held" if known."""
    if sd == 0:
        return "held"
    left = doubt_left(sd, prior_sd, control)
    return "the photo tells" if left <= 1 / 3 else "partly" if left <= 0.9 else "little"


def doubt_left(sd: float, prior_sd: float, control: Control) -> float:
    """Share of the standard deviation before the photo that is left after it, in [0, 1].

    Where nothing was known before, any value of the range was as likely as any other.
    """
    if not math.isfinite(sd):
        return 1.0
    before = prior_sd if math.isfinite(prior_sd) else (control.high - control.low) / math.sqrt(12)
    return min(1.0, sd / before) if before > 0 else 1.0


def listed(words: list[str] | tuple[str, ...]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def plain(name: str) -> str:
    """What Pillow's own font can write: accents are dropped, other letters become question marks."""
    parts = unicodedata.normalize("NFKD", name)
    kept = "".join(part for part in parts if not unicodedata.combining(part))
    return re.sub(r"[^\x20-\x7e]", "?", kept)


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text[1:] if float(text) == 0 and text.startswith("-") else text
