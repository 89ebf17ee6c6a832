"""What was measured, and of what; as arrays (bias.npz) and as rows (bias.csv)."""

import csv
import io
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.detect.embedding import FACE_OVAL
from pipeline.detector_bias.file import fingerprint_of_detector, fingerprint_of_rig
from pipeline.detector_bias.looking import Observer, rig_scheme
from pipeline.detector_bias.measure import Measured
from pipeline.detector_bias.statistics import PARTS
from pipeline.inspection.face_regions import face_regions
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
