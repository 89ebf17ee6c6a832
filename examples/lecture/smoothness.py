"""What smoothness is missing, layer by layer: which part of a change do the derivatives explain?

python examples/lecture/smoothness.py    (a minute or two)
"""

import torch

from pipeline.chain import build_chain
from pipeline.deform.rig import Rig
from pipeline.derivatives.automatic import jvp
from pipeline.derivatives.smoothness import smoothness
from pipeline.detect.facemesh import FaceMesh
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material

INTERVALS = 4
STEPS = {"headRotationY": 0.05, "jawOpen": 0.1}  # as a solver takes them

rig = Rig.load()
space = rig.controls
camera = Camera(torch.tensor(1230.0), torch.tensor([128.0, 128.0]))
detector = FaceMesh.load()
chain = build_chain(rig, camera, detector, Material(HeadTexture.load()()))
deform, render, detect = list(chain)
x = space.pack({"headTranslationY": 0.035, "headTranslationZ": -1.2, "jawOpen": 0.2})
print("| layer | along | step | value unexplained | slope unexplained |")
print("|---|---|--:|--:|--:|")
for name, length in STEPS.items():
    d = space.pack({name: 1.0})
    vertices, moved = jvp(deform, x, d)
    picture, changed = jvp(render, vertices, moved)
    places = {deform: (x, d), render: (vertices, moved), detect: (picture, changed)}
    for layer, (at, along) in places.items():
        for smoothing in (0.0, 0.3) if layer is detect else (0.0,):
            detector.smoothing = smoothing
            found = smoothness(layer, at, along, length, INTERVALS)
            which = "detect, smoothed by 0.3" if smoothing else layer.name
            first, second = 100 * found.first, 100 * found.second
            print(f"| {which} | {name} | {length:g} | {first:.1f} % | {second:.0f} % |", flush=True)
