import torch

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.render.renderer import Renderer
from pipeline.render.surface import Surface

rig = Rig.load()
camera = Camera(focal_px=torch.tensor(1000.0), principal_point_px=torch.tensor([128.0, 118.0]))
deform = Deformer(rig)
surface = Surface(rig.triangles, rig.uv, rig.uv_triangles, rig.part_of_triangle)
render = Renderer(surface, Material(HeadTexture.load()()), camera, Light.default())
detect = FaceMesh.load(smoothing=0.1)
chain = Pipeline([deform, render, detect])  # f3 ∘ f2 ∘ f1

# The face to find: its mouth wide open, its head turned to its left, one metre in front of the camera.
made_with = {"jawOpen": 0.5, "headRotationY": 0.1, "headTranslationZ": -1.0}
with torch.no_grad():
    target = chain(rig.controls.pack(made_with))  # X4 (478, 3), pixels of the 256 × 256 view

x1 = rig.controls.pack({"jawOpen": 0.2, "headTranslationZ": -1.0}).requires_grad_()
x2, x3, x4 = chain.stations(x1)[1:]
print("X1", tuple(x1.shape), "→ X2", tuple(x2.shape), "→ X3", tuple(x3.shape), "→ X4", tuple(x4.shape))

loss = 0.5 * (x4 - target)[:, :2].square().sum(-1).mean()  # f̂(X4), px²
loss.backward()  # ∂f̂/∂X4 · ∂X4/∂X3 · ∂X3/∂X2 · ∂X2/∂X1
assert x1.grad is not None
print(f"loss {loss.item():.3f} px²; its gradient:")
for name in ("jawOpen", "headRotationY", "mouthPucker", "eyeBlinkLeft"):
    print(f"{name:14} {x1.grad[rig.controls.index(name)]:+.3f}")
