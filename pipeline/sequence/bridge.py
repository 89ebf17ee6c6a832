"""Frames that show no face: between their neighbours, on the straight line, and marked as such."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.batch.manifest import BRIDGED, FittedFace
from pipeline.head_angles import yaw_pitch_roll

COMES_ALONG = ("schema", "rig", "deformer", "detector", "identity", "camera", "subject")  # what does not move


@dataclass(frozen=True)
class Known:
    """A fitted frame.

    Attributes:
        name: the manifest's.
        document: its fit.json.
        live_link: column → number, of its controls.csv.
    """

    place: int
    name: str
    document: Mapping[str, Any]
    live_link: Mapping[str, float]

    @classmethod
    def read(cls, place: int, name: str, face: Path) -> "Known":
        """Raises OSError or ValueError: the files of the face's folder are not there, or not whole."""
        document = json.loads((face / "fit.json").read_bytes())
        (row,) = csv.DictReader(io.StringIO((face / "controls.csv").read_text(encoding="utf-8")))
        return cls(place, name, document, {key: float(row[key]) for key in list(row)[2:]})


@dataclass(frozen=True)
class Bridge:
    """A frame without a fit of its own: what `work.FaceFiles` asks for.

    Attributes:
        place, path: of the frame.
        why: it has no fit.
        before, after: the nearest fitted frames; of the first and the last ones of a sequence, one is None.
    """

    place: int
    path: Path
    why: str
    before: Known | None
    after: Known | None

    @property
    def told(self) -> FittedFace:
        return FittedFace(0, BRIDGED, error=self.why)

    def files(self) -> dict[str, bytes]:
        document = self.document()
        live_link = self._between([one.live_link for one in self.ends])
        angles = (math.radians(angle) for angle in document["pose"]["head_yaw_pitch_roll_deg"])
        live_link |= dict(zip(("HeadYaw", "HeadPitch", "HeadRoll"), angles, strict=True))
        columns = ["Timecode", "BlendShapeCount", *live_link]
        values = ["00:00:00:00.000", str(len(live_link)), *(f"{value:.8f}" for value in live_link.values())]
        return {
            "controls.csv": f"{','.join(columns)}\n{','.join(values)}\n".encode(),
            "fit.json": (json.dumps(document, indent=2) + "\n").encode(),
        }

    @property
    def ends(self) -> list[Known]:
        return [one for one in (self.before, self.after) if one is not None]

    def document(self) -> dict[str, Any]:
        """A fit.json whose status is "bridged": no face, no landmarks, no residual."""
        told = [one.document for one in self.ends]
        pose = {
            key: self._between([dict(enumerate(one["pose"][key])) for one in told])
            for key in ("rotation_vector_rad", "translation_m")
        }
        x, y, z = pose["rotation_vector_rad"].values()
        return {
            **{key: told[0][key] for key in COMES_ALONG if key in told[0]},
            "photo": {"path": str(self.path)},
            "face": {"index": 0},
            "controls": self._between([one["controls"] for one in told]),
            "pose": {
                "rotation_vector_rad": [x, y, z],
                "head_yaw_pitch_roll_deg": [math.degrees(angle) for angle in yaw_pitch_roll((x, y, z))],
                "translation_m": list(pose["translation_m"].values()),
            },
            "between": [one.name for one in self.ends],
            "error": self.why,
            "status": BRIDGED,
        }

    def _between(self, values: list[Mapping[Any, float]]) -> dict[Any, float]:
        """Nine digits are more than files hold."""
        if len(values) == 1:
            return dict(values[0])
        assert self.before is not None and self.after is not None
        share = (self.place - self.before.place) / (self.after.place - self.before.place)
        return {key: round(value + share * (values[1][key] - value), 9) for key, value in values[0].items()}
