"""Curves on logarithmic axes as SVG: small, sharp at any size, and readable in a report without a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pipeline.derivatives.finite_differences import Sweep

WIDTH, HEIGHT = 800, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 50  # the legend stands on the right
MOST_ERROR = 10.0  # of a difference that is worth drawing
COLOURS = ("#0b6e99", "#c1440e", "#3a7d44", "#7b4fa0", "#8a6d00", "#444444")


@dataclass(frozen=True)
class Curve:
    """One line of a chart: points (x, y), and what it shows."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def chart(
    curves: Sequence[Curve],
    title: str,
    x_name: str,
    y_name: str,
    log_y: bool = True,
    log_x: bool = True,
    marks: bool = True,
) -> str:
    """An SVG document: one line a curve, legend, axes. Points without a logarithm are left out.

    Args:
        log_x, log_y: which axes are logarithmic.
        marks: whether every point gets a dot.
    """
    points = [
        [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if _drawable(x, log_x) and _drawable(y, log_y)]
        for curve in curves
    ]
    flat = [point for line in points for point in line] or [(1.0, 1.0)]
    across = _Scale([x for x, _ in flat], LEFT, WIDTH - RIGHT, log_x)
    up = _Scale([y for _, y in flat], HEIGHT - BOTTOM, TOP, log_y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="15">{escape(title)}</text>',
    ]
    for value, at in across.ticks():
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_number(value)}</text>'
        )
    for value, at in up.ticks():
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    middle, centre = (TOP + HEIGHT - BOTTOM) / 2, (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{centre}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>')
    turned = f'text-anchor="middle" transform="rotate(-90 16 {middle})"'
    parts.append(f'<text x="16" y="{middle}" {turned}>{escape(y_name)}</text>')
    for i, (curve, line) in enumerate(zip(curves, points, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        dots = line if marks else []
        parts.extend(
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in dots
        )
        at = f'x="{WIDTH - RIGHT + 12}" y="{TOP + 12 + 18 * i}"'
        parts.append(f'<text {at} fill="{colour}">{escape(curve.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def v_curve(sweeps: Sequence[tuple[str, Sweep]], title: str = "Truncation against roundoff") -> str:
    """The V-curves of named sweeps as an SVG document."""
    curves = []
    for name, sweep in sweeps:
        worth = [
            (h, error) for h, error in zip(sweep.steps, sweep.errors, strict=True) if error <= MOST_ERROR
        ]
        label = f"{name} (best {sweep.best_step:.0e})"
        curves.append(Curve(label, [h for h, _ in worth], [e for _, e in worth]))
    error = "estimated relative error" if any(sweep.estimated for _, sweep in sweeps) else "relative error"
    return chart(curves, title, "step h", error)


class _Scale:
    """From values to places on the page, with about eight round values to label."""

    def __init__(self, values: Sequence[float], start: float, end: float, log: bool) -> None:
        self.log, self.start, self.end = log, start, end
        low, high = min(map(self._of, values)), max(map(self._of, values))
        if log:
            low, high = math.floor(low), math.ceil(high)
        self.low, self.high = low, high if high > low else low + 1

    def _of(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def __call__(self, value: float) -> float:
        return self.start + (self._of(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, float]]:
        if self.log:
            stride = max(1, math.ceil((self.high - self.low) / 8))
            values = [10.0**k for k in range(int(self.low), int(self.high) + 1, stride)]
        else:
            stride = 10.0 ** math.floor(math.log10(self.high - self.low))
            stride *= next(k for k in (0.1, 0.2, 0.5, 1.0, 2.0) if (self.high - self.low) / (stride * k) <= 8)
            first = math.ceil(self.low / stride - 1e-9)
            values = [stride * k for k in range(first, math.floor(self.high / stride + 1e-9) + 1)]
        return [(value, self(value)) for value in values]


def _drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _number(value: float) -> str:
    return f"{value:.0e}" if value and not 1e-3 <= abs(value) < 1e5 else f"{value:g}"
