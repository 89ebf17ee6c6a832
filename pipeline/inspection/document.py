"""What was found, as a JSON document: schema chainrig.jacobian/1."""

import math
from typing import Any

from torch import Tensor

from pipeline.inspection.findings import Findings

SCHEMA = "chainrig.jacobian/1"


def document(findings: Findings) -> dict[str, Any]:
    """For `json.dumps`; numbers that are not finite become null."""
    seen, columns = findings.observability, findings.columns
    mm = columns.vertices.norm(dim=-1).amax(-1) * 1000
    px = columns.landmarks[..., :2].norm(dim=-1).amax(-1)
    controls = {
        control.name: {
            "group": control.group,
            "value": _number(columns.values[k]),
            "sd": _number(seen.sd[k]),
            "sd_without_photo": _number(seen.prior_sd[k]),
            "vertex_mm_per_unit": _number(mm[k]),
            "landmark_px_per_unit": _number(px[k]),
            "full_range_px": _number(seen.full_range_px[k]),
        }
        for k, control in enumerate(columns.controls)
    }
    return {
        "schema": SCHEMA,
        "title": findings.title,
        "at": findings.at,
        "residual_percent_iod": findings.view.residual_percent,
        "in_short": in_short(findings),
        "controls": controls,
        "least_determined": [{"control": name, "reason": why} for name, why in seen.least_determined],
        "unobservable": list(seen.unobservable),
        "trade_offs": [
            {
                "controls": [one.first, one.second],
                "correlation": _number(one.correlation),
                "cosine": _number(one.cosine),
            }
            for one in seen.trade_offs
        ],
        "weakest": [
            {
                "changes": {name: _number(change) for name, change in one.changes.items()},
                "landmark_px": _number(one.landmark_px),
                "vertex_mm": _number(one.vertex_mm),
            }
            for one in seen.weakest
        ],
        "singular_values": [_number(value) for value in seen.singular_values],
        "gradient": [
            {
                "station": one.station,
                "through": one.through,
                "norm": _number(one.norm),
                "per": one.unit,
                "reach": _number(one.reach),
                "shares": {name: _number(share) for name, share in one.shares.items()},
            }
            for one in findings.gradient
        ],
        "dead": [{"control": one.name, "where": one.where, "reason": one.reason} for one in findings.dead],
        "trust": [
            {
                "layer": one.layer,
                "question": one.question,
                "error": _number(one.value),
                "limit": _number(one.limit),
                "passed": one.passed,
                "note": one.note,
            }
            for one in findings.badges
        ],
        "cost": findings.cost,
    }


def in_short(findings: Findings) -> list[str]:
    """What to know first: the controls that are determined worst, and whether derivatives can be trusted."""
    reasons = [why for _, why in findings.observability.least_determined[:3]]
    sentences = [f"{why.rstrip('.')}." for why in reasons]  # names of controls keep their first letter
    failed = [one.told for one in findings.badges if not one.passed]
    if failed:
        sentences.append(f"Not all derivatives are as exact as they should be: {', '.join(failed)}.")
    elif findings.badges:
        sentences.append("The derivatives of all layers passed their checks.")
    return sentences


def _number(value: float | Tensor) -> float | None:
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None
