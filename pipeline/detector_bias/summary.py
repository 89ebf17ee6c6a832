"""What was measured in a few words: the table of regions, the sentences, and bias.json, which has both."""

from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from pipeline.detector_bias.measure import Measured
from pipeline.detector_bias.report import Report
from pipeline.detector_bias.statistics import PARTS
from pipeline.inspection.wording import figure, listed
from pipeline.target.schemes import scheme


def table(report: Report) -> list[dict[str, Any]]:
    """A row for every region, the one of the largest spread first."""
    found, regions = report.measured.statistics, np.array(report.regions)
    rows = []
    for region in dict.fromkeys(report.regions):
        inside = torch.from_numpy(regions == region) & found.spread.isfinite()
        if not inside.any():
            continue
        indices = inside.nonzero().flatten()
        worst = int(indices[found.spread[indices].argmax()])
        rows.append(
            {
                "region": region,
                "landmarks": len(indices),
                "bias_percent_iod": float(found.bias[inside].norm(dim=-1).mean()),
                "spread_percent_iod": _rms(found.spread[inside]),
                "worst": worst,
                "worst_spread_percent_iod": float(found.spread[worst]),
                "comes_with": PARTS[int(found.parts[:, inside].mean(1).argmax())],
            }
        )
    return sorted(rows, key=lambda row: -row["spread_percent_iod"])


def printed(report: Report) -> Table:
    """The table for a screen."""
    shown = Table(box=None, pad_edge=False)
    for title in ("region", "landmarks", "bias", "spread", "worst", "mostly with the"):
        shown.add_column(title, justify="left" if title in ("region", "mostly with the") else "right")
    for row in table(report):
        worst = f"{row['worst']} ({row['worst_spread_percent_iod']:.2f})"
        bias, spread = f"{row['bias_percent_iod']:.2f}", f"{row['spread_percent_iod']:.2f}"
        shown.add_row(row["region"], str(row["landmarks"]), bias, spread, worst, row["comes_with"])
    return shown


def document(report: Report) -> dict[str, Any]:
    """bias.json."""
    measured, found = report.measured, report.measured.statistics
    known = found.spread.isfinite()
    smooth = measured.smoothness
    shares = (found.parts[:, known] / found.parts[:, known].sum(0)).mean(1)
    return {
        "detector": report.observer.detector.title,
        "scheme": report.observer.detector.scheme,
        "rig": report.rig_name,
        "renders": len(measured.plan),
        "renders_with_a_face": found.renders,
        "seed": report.seed,
        "in_short": sentences(report),
        "mean_bias_is_independent": report.independent,
        "bias_percent_iod": float(found.bias[known].norm(dim=-1).mean()),
        "standard_error_percent_iod": float(found.standard_error[known].median()),
        "spread_percent_iod": _rms(found.spread[known]),
        "share_of_variance": dict(zip(PARTS, shares.tolist(), strict=True)),
        "bias_by_yaw_percent_iod": {
            f"{float(yaw):+.0f}": _mean_length(bias)
            for yaw, bias in zip(found.yaw_deg, found.bias_by_yaw, strict=True)
        },
        "bias_by_expression_percent_iod": {
            name: _mean_length(bias)
            for name, bias in zip(measured.plan.expressions, found.bias_by_expression, strict=True)
        },
        "asymmetry_percent_iod": _rms(asymmetry(report)),
        "correlation_with_landmark_spread": correlation(report),
        "regions": table(report),
        "derivative_change": {
            f"smoothing {width:g}": dict(zip(map(str, smooth.shifts_px), change.tolist(), strict=True))
            for width, change in zip(smooth.smoothings, smooth.change, strict=True)
        },
        "presence_limits_deg": measured.presence.limits(),
    }


def asymmetry(report: Report) -> Tensor:
    """`(M,)` % IOD: half the distance between a landmark's bias and its mirrored twin's."""
    bias, twins = report.measured.statistics.bias, scheme(report.observer.detector.scheme).twins
    mirrored = bias[list(twins)] * bias.new_tensor([-1.0, 1.0])
    half = (bias - mirrored).norm(dim=-1) / 2
    return half[half.isfinite()]


def correlation(report: Report) -> float | None:
    """Of the logarithms of spread and of the rig's `landmark_spread`; None where they do not compare."""
    theirs, ours = report.observer.rig.landmark_spread, report.measured.statistics.spread
    if theirs is None or len(theirs) != len(ours):
        return None
    both = torch.stack([theirs.double().clamp(min=1e-9), ours])[:, ours.isfinite()].log()
    return float(torch.corrcoef(both)[0, 1])


def sentences(report: Report) -> list[str]:
    """What a person wants to know."""
    measured, found = report.measured, report.measured.statistics
    known = found.spread.isfinite()
    said = [
        f"{report.observer.detector.title} was asked about {len(measured.plan)} renders of "
        f"{report.rig_name}; there is a face in {found.renders} of them.",
        f"Spread: a coordinate of a landmark strays by {figure(_rms(found.spread[known]))} % IOD about its "
        f"mean error (root mean square); {_where_from(found.parts[:, known])}.",
        _of_bias(report),
        report.independence,
        f"Left and right: half the distance between a landmark's bias and its mirrored twin's is "
        f"{figure(_rms(asymmetry(report)))} % IOD (root mean square); chance would bring about "
        f"{figure(_rms(found.standard_error[known]))} in so many renders.",
        _of_smoothness(measured),
        _of_presence(measured),
    ]
    alike = correlation(report)
    if alike is not None:
        said.append(f"The spread goes with the rig's landmark_spread: correlation {figure(alike)}.")
    return said


def _where_from(parts: Tensor) -> str:
    """Of variances `(5, M)`."""
    shares = (100 * parts / parts.sum(0)).mean(1).tolist()
    ordered = sorted(zip(PARTS, shares, strict=True), key=lambda one: -one[1])
    told = [(f"{figure(share)} %", f"with {_WITH.get(part, f'the {part}')}") for part, share in ordered]
    first, *others = told
    return f"of this variance {listed([' goes '.join(first), *map(' '.join, others)])}"


_WITH = {"rest": "none of them alone"}


def _of_bias(report: Report) -> str:
    found = report.measured.statistics
    lengths = [_mean_length(bias) for bias in found.bias_by_yaw]
    ends = [f"{figure(lengths[i])} % at a yaw of {float(found.yaw_deg[i]):.0f}°" for i in (0, -1)]
    doubt = figure(float(found.standard_error[found.spread.isfinite()].median()))
    return (
        f"Bias: the mean error is {figure(_mean_length(found.bias))} % IOD long (± {doubt} a coordinate); by "
        f"yaw, {ends[0]}, {figure(lengths[len(lengths) // 2])} % ahead, {ends[1]}."
    )


def _of_smoothness(measured: Measured) -> str:
    smooth, first = measured.smoothness, measured.smoothness.change[:, 0].tolist()
    others = [
        f"{figure(100 * change)} % with smoothing {width:g}"
        for width, change in zip(smooth.smoothings[1:], first[1:], strict=True)
    ]
    more = f"; {listed(others)}" if others else ""
    return (
        f"Smoothness: shifting the view by {smooth.shifts_px[0]:g} px changes directional derivatives of the "
        f"landmarks by {figure(100 * first[0])} % (median){more}."
    )


def _of_presence(measured: Measured) -> str:
    found = measured.presence
    ends = {"left": found.yaw_deg[-1], "right": -found.yaw_deg[0], "up": found.pitch_deg[-1]}
    ends["down"] = -found.pitch_deg[0]
    told = [
        f"{limit:.0f}° {way}" if limit is not None else f"{float(ends[way]):.0f}° {way} (and more)"
        for way, limit in found.limits().items()
    ]
    return f"Presence: FaceMesh sees a face that turns up to {listed(told)}."


def _mean_length(bias: Tensor) -> float:
    lengths = bias.norm(dim=-1)
    return float(lengths[lengths.isfinite()].mean())


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
