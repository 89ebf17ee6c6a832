"""The lecture's functions and their smoothed versions, and what a width does to value and derivative.

python examples/lecture/smoothing.py [FOLDER]
"""

import sys
from pathlib import Path

import torch

from pipeline.derivatives import smoothing
from pipeline.derivatives.drawing import Curve, chart

x = torch.linspace(-4, 4, 161, dtype=torch.float64)
widths = (0.0, 0.1, 0.3, 1.0)
functions = {
    "heaviside": smoothing.heaviside,
    "rectifier": smoothing.rectifier,
    "leaky_rectifier": lambda x, w: smoothing.leaky_rectifier(x, 0.1, w),
}
at = torch.tensor(0.2, dtype=torch.float64)
for name, f in functions.items():
    for width in widths:
        value, slope = f(at, width), torch.func.grad(lambda x, f=f, w=width: f(x, w))(at)
        print(f"{name:16} width {width:3}: value {value:.4f}, slope {slope:.4f} at 0.2")

print("arg max of (0.99, 1):", {w: smoothing.arg_max(torch.tensor([0.99, 1.0]), w).tolist() for w in widths})

if len(sys.argv) > 1:
    for name, f in functions.items():
        curves = [Curve(f"width {w}", x.tolist(), f(x, w).tolist()) for w in widths]
        svg = chart(curves, name.replace("_", " "), "x", "value", log_y=False, log_x=False, marks=False)
        Path(sys.argv[1], f"{name}.svg").write_text(svg, "utf-8")
