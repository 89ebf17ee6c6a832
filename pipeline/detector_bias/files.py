"""The files of a measurement: picture, table, arrays, document."""

import json

from pipeline.detector_bias.picture import draw_bias
from pipeline.detector_bias.report import Report
from pipeline.detector_bias.summary import document
from pipeline.inspection.files import npz
from pipeline.outputs.image_files import png


def files(report: Report) -> dict[str, bytes]:
    """By name: bias.png, bias.csv, bias.npz and bias.json."""
    return {
        "bias.png": png(draw_bias(report.observer, report.measured)),
        "bias.csv": report.csv().encode(),
        "bias.npz": npz(report.arrays()),
        "bias.json": (json.dumps(document(report), indent=1) + "\n").encode(),
    }
