"""The library on a layer that it has never seen: its Jacobian, a chain with it, and a solver through it."""

import torch
from torch import Tensor
from wrinkles import Wrinkles  # beside this file

from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.derivatives.automatic import jacobian
from pipeline.detect.embedding import LandmarkEmbedding
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.solve.levenberg_marquardt import minimize
from pipeline.solve.priors import Prior

rig = Rig.load().to(dtype=torch.float64)
space, names = rig.controls, ["browDownLeft", "eyeBlinkLeft", "noseSneerLeft", "jawOpen"]
camera = Camera(torch.tensor(1230.0), torch.tensor([128.0, 128.0])).double()
assert rig.landmark_triangle is not None and rig.landmark_barycentric is not None
embed = LandmarkEmbedding(rig.triangles[rig.landmark_triangle], rig.landmark_barycentric, camera)
deform, wrinkle = Deformer(rig), Wrinkles(rig).double()
chain = Pipeline([deform, wrinkle, embed])  # controls → vertices → wrinkled vertices → landmarks

base = space.pack({"headTranslationZ": -1.2}, space.rest)
frown = space.pack({"browDownLeft": 0.8, "eyeBlinkLeft": 0.5, "noseSneerLeft": 0.7, "jawOpen": 0.2}, base)
with_it = jacobian(Pipeline([deform, wrinkle]), frown, columns={"control": names})
without = jacobian(deform, frown, columns={"control": names})
for name in names:
    change = with_it.column(name) - without.column(name)
    print(f"{name:14} wrinkles change a vertex by up to {1000 * change.norm(dim=-1).max():.1f} mm per unit")

target = chain(frown)  # landmarks to be explained
places = torch.tensor([space.index(name) for name in names])


def residual(c: Tensor) -> Tensor:
    return (chain(base.index_copy(-1, places, c)) - target)[..., :2].flatten()


def residual_and_jacobian(c: Tensor) -> tuple[Tensor, Tensor]:
    J = jacobian(chain, base.index_copy(-1, places, c), columns={"control": names}, rows={"xyz": ["x", "y"]})
    return residual(c), J.matrix


zero, one = torch.zeros(4).double(), torch.ones(4).double()
found = minimize(residual_and_jacobian, residual, Prior(zero, 1e-6 * one, zero, zero, one), zero)
print("found", ", ".join(f"{name} {value:.3f}" for name, value in zip(names, found.tolist(), strict=True)))
