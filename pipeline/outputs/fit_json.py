"""fit.json: everything a fit found, schema chainrig.fit/1.

Every coordinate is in pixels of the photo, (0, 0) at the top-left corner, pixel centres at +0.5.
"""

import json
import math
from dataclasses import asdict
from typing import Any

from torch import Tensor

from pipeline.head_angles import yaw_pitch_roll
from pipeline.result import FitFailure, FitResult, LabelledPoints

SCHEMA = "chainrig.fit/1"


def fit_json(result: FitResult | FitFailure, face_index: int) -> str:
    """The document as text; a failure has `photo`, `face`, `status` and `error` only.

    Args:
        face_index: which face of the photo, counted from 0, left to right.
    """
    photo, face = result.photo, result.face
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "photo": {
            "path": str(photo.path),
            "sha256": photo.sha256,
            "width": photo.width,
            "height": photo.height,
        },
        "face": {"index": face_index, "box": _numbers(face.box), "score": face.score},
    }
    if isinstance(result, FitFailure):
        return _layout(document | {"status": "failed", "error": result.error})
    found = {} if result.appearance is None else {"appearance": asdict(result.appearance)}
    document["face"]["presence"] = result.presence
    angles = [math.degrees(angle) for angle in yaw_pitch_roll(result.rotation_vector)]
    return _layout(
        document
        | {
            "rig": result.rig,
            "deformer": result.deformer,
            "detector": result.detector,
            "rasterizer": result.rasterizer,
            "solver": result.solver,
            "controls": result.controls,
            "identity": result.identity,
            "pose": {
                "rotation_vector_rad": list(result.rotation_vector),
                "head_yaw_pitch_roll_deg": angles,
                "translation_m": list(result.translation),
            },
            "camera": {"focal_px": result.focal_px, "principal_point_px": list(result.principal_point)},
            "uncertainty": result.uncertainty,
            "unobservable": list(result.unobservable),
            **found,
            "region": {
                "centre_px": _numbers(result.region.centre),
                "side_px": float(result.region.side),
                "rotation_rad": float(result.region.rotation),
            },
            "landmarks": {
                "scheme": result.scheme,
                "target": _numbers(result.target),
                "render": _numbers(result.render),
            },
            **_labels(result.labels),
            **({"subject": result.subject} if result.subject else {}),
            "landmarks68": {"projected": _numbers(result.projected68)},
            "residual": {
                "start_percent_iod": result.residual_start,
                "final_percent_iod": result.residual_final,
            },
            "gradient_norm": {"start": result.gradient_norm_start, "final": result.gradient_norm_final},
            "evaluations": result.evaluations,
            "gradients": result.gradients,
            "seconds": result.seconds,
            "status": result.status,
        }
    )


def _labels(labels: LabelledPoints | None) -> dict[str, Any]:
    if labels is None:
        return {}
    return {
        "labels": {
            "path": labels.path,
            "scheme": labels.scheme,
            "index": list(labels.index),
            "weight": list(labels.weight),
            **({"like": [match._asdict() for match in labels.like]} if labels.like else {}),
            "target": _numbers(labels.target),
            "render": _numbers(labels.render),
            "report": labels.report,
        }
    }


def _numbers(values: Tensor) -> Any:
    return values.detach().cpu().double().tolist()


def _short(value: Any) -> Any:
    """Nine significant digits: all that a float32 holds."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _layout(document: dict[str, Any]) -> str:
    """JSON with a line for every control, and one for a whole list of landmarks."""
    lines = []
    for key, value in _short(document).items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, dict) and value:
            inner = [
                f"    {json.dumps(name)}: {json.dumps(item, allow_nan=False)}" for name, item in value.items()
            ]
            text = "{\n" + ",\n".join(inner) + "\n  }"
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
