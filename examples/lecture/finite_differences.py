"""Truncation against roundoff: the V-curves of the rig's own derivative, in two precisions.

python examples/lecture/finite_differences.py [FOLDER]
"""

import sys
from pathlib import Path

import torch

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.drawing import v_curve
from pipeline.derivatives.trust import slope_sweep

rig = Rig.load().at_landmarks()
controls = rig.controls
x = controls.pack({"jawOpen": 0.3}).double()
d = controls.pack({"jawOpen": 1.0, "headRotationY": 1.0}).double()  # open the jaw and turn the head at once
double, single = Deformer(rig.to(dtype=torch.float64)), Deformer(rig)

sweeps = [
    ("forward", slope_sweep(double, x, d, "forward")),
    ("central", slope_sweep(double, x, d, "central")),
    ("second derivative", slope_sweep(double, x, d, "second")),
    ("central, float32", slope_sweep(single, x.float(), d.float(), "central")),
]
for name, sweep in sweeps:
    print(f"{name:18} best step {sweep.best_step:.0e}, error there {sweep.least_error:.0e}")

if len(sys.argv) > 1:
    svg = v_curve(sweeps, "Vertices by jawOpen and headRotationY")
    Path(sys.argv[1], "v_curve.svg").write_text(svg, "utf-8")
