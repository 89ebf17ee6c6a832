"""What was measured as files and sentences: bias.npz, bias.csv, bias.json, and a table to print."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from pipeline.detect.embedding import FACE_OVAL
from pipeline.detector_bias.file import fingerprint_of_detector, fingerprint_of_rig
from pipeline.detector_bias.looking import Observer, rig_scheme
from pipeline.detector_bias.measure import Measured
from pipeline.detector_bias.statistics import PARTS
from pipeline.inspection.face_regions import face_regions
from pipeline.inspection.wording import figure, listed
from pipeline.target.schemes import MEDIAPIPE478, scheme

OUTLINE = "outline"


@dataclass(frozen=True)
class Report:
    """What was measured, and of what.

    Attributes:
        rig_name: e.g. "head_rig".
        independent, independence: see `origin.independence`.
        seed: of the plan.
    """

    observer: Observer
    measured: Measured
    rig_name: str
    independent: bool
    independence: str
    seed: int

    @property
    def regions(self) -> tuple[str, ...]:
        """The part of the face of each of the L landmarks; those of FaceMesh's outline apart."""
        name = self.observer.detector.scheme
        if name != MEDIAPIPE478.name or rig_scheme(self.observer.rig) != name:
            return scheme(name).regions
        of_face = face_regions(self.observer.rig)
        return tuple(OUTLINE if i in FACE_OVAL else region for i, region in enumerate(of_face))

    def arrays(self) -> dict[str, np.ndarray]:
        """What bias.npz holds; see docs/detector_bias.md."""
        measured, found = self.measured, self.measured.statistics
        floats = {
            "bias": found.bias, "spread": found.spread, "covariance": found.covariance,
            "yaw_deg": found.yaw_deg, "bias_by_yaw": found.bias_by_yaw, "spread_by_yaw": found.spread_by_yaw,
            "bias_by_expression": found.bias_by_expression, "parts": found.parts,
            "standard_error": found.standard_error,
            "presence_yaw_deg": measured.presence.yaw_deg, "presence_pitch_deg": measured.presence.pitch_deg,
            "presence": measured.presence.presence,
            "smoothings": torch.tensor(measured.smoothness.smoothings),
            "shifts_px": torch.tensor(measured.smoothness.shifts_px),
            "derivative_change": measured.smoothness.change,
        }  # fmt: skip
        words = {
            "detector": self.observer.detector.title, "scheme": self.observer.detector.scheme,
            "detector_sha256": fingerprint_of_detector(self.observer.detector),
            "rig": self.rig_name, "rig_sha256": fingerprint_of_rig(self.observer.rig),
            "renders": found.renders, "independent": self.independent, "seed": self.seed,
            "part_names": PARTS, "expression_names": measured.plan.expressions,
        }  # fmt: skip
        return {name: value.numpy().astype(np.float32) for name, value in floats.items()} | {
            name: np.array(value) for name, value in words.items()
        }

    def csv(self) -> str:
        """A row for every landmark, all in % IOD."""
        found, own = self.measured.statistics, scheme(self.observer.detector.scheme)
        bins = [f"{float(yaw):+.0f}" for yaw in found.yaw_deg]
        head = ["index", "name", "region", "bias_x", "bias_y", "spread", "standard_error"]
        head += [f"spread_{part}" for part in PARTS]
        head += [f"bias_{axis}_yaw_{yaw}" for yaw in bins for axis in "xy"]
        columns = torch.cat(
            [
                found.bias,
                found.spread[:, None],
                found.standard_error[:, None],
                found.parts.sqrt().T,
                found.bias_by_yaw.permute(1, 0, 2).flatten(1),
            ],
            dim=1,
        )
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(head)
        for i, (region, values) in enumerate(zip(self.regions, columns.tolist(), strict=True)):
            writer.writerow([i, own.names[i], region, *("" if v != v else f"{v:.4f}" for v in values)])
        return text.getvalue()

    def table(self) -> list[dict[str, Any]]:
        """A row for every region, the one of the largest spread first."""
        found, regions = self.measured.statistics, np.array(self.regions)
        rows = []
        for region in dict.fromkeys(self.regions):
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

    def printed(self) -> Table:
        """The table for a screen."""
        table = Table(box=None, pad_edge=False)
        for title, side in (
            ("region", "left"),
            ("landmarks", "right"),
            ("bias", "right"),
            ("spread", "right"),
        ):
            table.add_column(title, justify=side)  # type: ignore[arg-type]
        table.add_column("worst", justify="right")
        table.add_column("mostly with the")
        for row in self.table():
            table.add_row(
                row["region"], str(row["landmarks"]), f"{row['bias_percent_iod']:.2f}",
                f"{row['spread_percent_iod']:.2f}", f"{row['worst']} ({row['worst_spread_percent_iod']:.2f})",
                row["comes_with"],
            )  # fmt: skip
        return table

    def document(self) -> dict[str, Any]:
        """bias.json."""
        measured, found = self.measured, self.measured.statistics
        known = found.spread.isfinite()
        smooth = measured.smoothness
        shares = (found.parts[:, known] / found.parts[:, known].sum(0)).mean(1)
        return {
            "detector": self.observer.detector.title,
            "scheme": self.observer.detector.scheme,
            "rig": self.rig_name,
            "renders": len(measured.plan),
            "renders_with_a_face": found.renders,
            "seed": self.seed,
            "in_short": self.sentences(),
            "mean_bias_is_independent": self.independent,
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
            "asymmetry_percent_iod": _rms(self.asymmetry()),
            "correlation_with_landmark_spread": self.correlation(),
            "regions": self.table(),
            "derivative_change": {
                f"smoothing {width:g}": dict(zip(map(str, smooth.shifts_px), change.tolist(), strict=True))
                for width, change in zip(smooth.smoothings, smooth.change, strict=True)
            },
            "presence_limits_deg": measured.presence.limits(),
        }

    def asymmetry(self) -> Tensor:
        """`(M,)` % IOD: half the distance between a landmark's bias and its mirrored twin's."""
        bias, twins = self.measured.statistics.bias, scheme(self.observer.detector.scheme).twins
        mirrored = bias[list(twins)] * bias.new_tensor([-1.0, 1.0])
        half = (bias - mirrored).norm(dim=-1) / 2
        return half[half.isfinite()]

    def correlation(self) -> float | None:
        """Of the logarithms of spread and of the rig's `landmark_spread`; None where they do not compare."""
        theirs, ours = self.observer.rig.landmark_spread, self.measured.statistics.spread
        if theirs is None or len(theirs) != len(ours):
            return None
        both = torch.stack([theirs.double().clamp(min=1e-9), ours])[:, ours.isfinite()].log()
        return float(torch.corrcoef(both)[0, 1])

    def sentences(self) -> list[str]:
        """What a person wants to know."""
        measured, found = self.measured, self.measured.statistics
        detector, known = self.observer.detector, found.spread.isfinite()
        parts = found.parts[:, known]
        shares = (100 * parts / parts.sum(0)).mean(1).tolist()
        by_share = sorted(zip(PARTS, shares, strict=True), key=lambda one: -one[1])
        where = listed([f"{figure(share)} % with the {part}" for part, share in by_share if share >= 1])
        where = where.replace("with the rest", "with none of them alone")
        lengths = [_mean_length(bias) for bias in found.bias_by_yaw]
        turned, ahead = max(lengths[0], lengths[-1]), lengths[len(lengths) // 2]
        angle = f"{float(found.yaw_deg[-1]):.0f}"
        said = [
            f"{detector.title} was asked about {len(measured.plan)} renders of {self.rig_name}, and sees a "
            f"face in {found.renders}.",
            f"Spread: a coordinate of a landmark strays by {figure(_rms(found.spread[known]))} % IOD (root "
            f"mean square) about its mean error. Of this variance come {where}.",
            f"Bias: the mean error is {figure(_mean_length(found.bias))} % IOD long, "
            f"± {figure(float(found.standard_error[known].median()))} a coordinate; "
            f"{figure(turned)} % where the head is turned by {angle}°, {figure(ahead)} % ahead.",
            self.independence,
            f"Its mirror image differs from it by {figure(_rms(self.asymmetry()))} % IOD: half of that "
            "distance, root mean square, is what is not symmetric.",
            _of_smoothness(measured),
            _of_presence(measured),
        ]
        correlation = self.correlation()
        if correlation is not None:
            said.append(f"Spread goes with the rig's landmark_spread: correlation {figure(correlation)}.")
        return said


def _of_smoothness(measured: Measured) -> str:
    smooth, first = measured.smoothness, measured.smoothness.change[:, 0].tolist()
    others = [
        f"{figure(100 * change)} % with smoothing {width:g}"
        for width, change in zip(smooth.smoothings[1:], first[1:], strict=True)
    ]
    more = f", {listed(others)}" if others else ""
    return (
        f"Smoothness: shifting the view by {smooth.shifts_px[0]:g} px changes directional derivatives of the "
        f"landmarks by {figure(100 * first[0])} % (median){more}."
    )


def _of_presence(measured: Measured) -> str:
    found = measured.presence
    ends = {"left": found.yaw_deg[-1], "right": -found.yaw_deg[0], "up": found.pitch_deg[-1]}
    ends["down"] = -found.pitch_deg[0]
    told = [
        f"{limit:.0f}° {way}" if limit is not None else f"{float(ends[way]):.0f}° {way} or more"
        for way, limit in found.limits().items()
    ]
    return f"Presence: FaceMesh sees a face up to {listed(told)}."


def _mean_length(bias: Tensor) -> float:
    lengths = bias.norm(dim=-1)
    return float(lengths[lengths.isfinite()].mean())


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
