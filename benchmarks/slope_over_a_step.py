"""How much a smoothed derivative of the detector says about a useful step of a control.

    python benchmarks/slope_over_a_step.py     # prints the table of docs/inspection.md, about a minute

For the default rig at rest: the landmarks' column of a control, at several widths of the smooth rectifier,
against what steps of 0.02, 0.1 and 0.3 (half of that for a turn of the head) really do to the landmarks.
"""

import statistics

import torch

from pipeline.config import Config
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.detect.facemesh import FaceMesh
from pipeline.inspection.scene import read_scene
from pipeline.layer import Pipeline

CONTROLS = (
    "jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkLeft", "noseSneerLeft", "mouthPucker", "mouthFunnel",
    "headRotationY",
)  # fmt: skip
WIDTHS = (0.3, 0.1, 0.03, 0.0)
STEPS = (0.02, 0.1, 0.3)


def main() -> None:
    torch.set_num_threads(1)
    scene = read_scene(None, Config())
    deform, render = list(scene.chain)[:2]
    x, space = scene.x.float(), scene.rig.controls
    print("| width | length, median | quartiles | cosine, median |\n|--:|--:|--:|--:|")
    for width in WIDTHS:
        chain = Pipeline([deform, render, FaceMesh.load(smoothing=width)])
        columns = pushed_columns(chain, x, {"control": list(CONTROLS)})[-1]
        lengths, cosines = [], []
        for name in CONTROLS:
            slope = columns.column(name)[:, :2]
            for step in STEPS:
                step = step / 2 if name.startswith("head") else step
                there = x.clone()
                there[space.index(name)] += step
                with torch.no_grad():
                    real = (chain(there) - chain(x))[:, :2] / step
                product = float((slope * real).sum())
                lengths.append(product / float(real.square().sum()))
                cosines.append(product / float(real.norm() * slope.norm()))
        low, middle, high = statistics.quantiles(lengths, n=4)
        print(f"| {width:g} | {middle:.2f} | {low:.2f} to {high:.2f} | {statistics.median(cosines):.2f} |")


if __name__ == "__main__":
    main()
