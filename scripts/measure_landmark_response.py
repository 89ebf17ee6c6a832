"""Measures how the detector's landmarks answer to expressions, for assets/landmark_response.npz.

    python scripts/measure_landmark_response.py

The landmark embedding moves with the skin; the detector, looking at pixels, moves more or less than that, and
elsewhere. The rig is rendered from many sides with expressions, identities and lights, and the chain's own
∂landmarks/∂expressions is compared with the embedding's: the mean difference is kept, in pixels of the
detector's view per unit of the control. The uncertainty of a fit needs it, see docs/uncertainty.md.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from build_embedding import add_arrays
from torch import Tensor

from pipeline.chain import build_chain, build_stand_in
from pipeline.config import Priors
from pipeline.deform.rig import Rig
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.face_prior import build_prior
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.solve.priors import Prior

FILE = "landmark_response.npz"
DISTANCE_M, FOCAL_PX, MIDDLE_PX = 1.2, 2000.0, 256.0
# Of the detector's backward pass: with 0, slopes are those of kinks finer than any step of a fit; with the
# 0.3 of fits, columns are half as long as what a step really does.
SMOOTHING = 0.03


def build(assets: Path, renders: int = 32) -> None:
    """Writes the file to `assets`, from the rig, albedo and detector there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    rig, painted = Rig.load(assets / "head_rig.npz"), HeadTexture.load(assets / "albedo.npz")
    detector = FaceMesh.load(assets / "face_landmarks.safetensors", smoothing=SMOOTHING)
    material, prior = Material(painted()), build_prior(rig, Priors(), {})
    assert rig.landmark_triangle is not None
    total = torch.zeros(len(rig.landmark_triangle), 2, len(rig.expression_names))
    for render in range(renders):
        total += _difference(rig, detector, material, _draw(rig, prior, generator), _light(generator))
        if render % 8 == 7:
            print(f"landmark response: render {render + 1} of {renders}", flush=True)
    response = (total / renders).movedim(-1, 0).numpy().astype(np.float16)
    add_arrays(assets / FILE, response=response, expression_names=np.array(rig.expression_names))
    torch.set_num_threads(threads)
    print(f"landmark response: typically {float(np.abs(response).mean()):.2f} px")


def _draw(rig: Rig, prior: Prior, generator: torch.Generator) -> Tensor:
    """Controls of a portrait: expressions from the fit's prior, made weaker by a random factor."""
    expression = rig.controls.groups["expression"]
    grid = torch.linspace(0, 1, 1001).double()
    slope, curve = prior.sparsity[expression, None], prior.precision[expression, None]
    density = (-slope * grid - 0.5 * curve * grid.square()).exp()
    x = rig.controls.pack({})
    x[expression] = grid[torch.multinomial(density, 1, generator=generator).squeeze(-1)].float()
    x[expression] *= torch.rand((), generator=generator)
    x[rig.controls.groups["identity"]] += 0.25 * torch.randn(len(rig.identity_names), generator=generator)
    side = 2 * torch.rand(3, generator=generator) - 1
    turn, shift = torch.tensor([0.2, 0.4, 0.1]) * side, torch.tensor([0.0, 0.035, -DISTANCE_M])
    x[rig.controls.groups["pose"]] = torch.cat([turn, shift])
    return x


def _light(generator: torch.Generator) -> Light:
    """From somewhere in front of the face, as strong as the default."""
    usual, side = Light.default(), 2 * torch.rand(2, generator=generator) - 1
    return Light(usual.ambient, usual.directional, torch.cat([side, torch.ones(1)]))


@torch.no_grad()
def _difference(rig: Rig, detector: FaceMesh, material: Material, x: Tensor, light: Light) -> Tensor:
    """(478, 2, E) what the chain's columns have beyond the embedding's."""
    focal, middle = torch.tensor(FOCAL_PX), torch.full((2,), MIDDLE_PX)
    region = Region.around(build_stand_in(rig, Camera(focal, middle))(x))
    camera = Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))
    names = {"control": list(rig.expression_names)}
    chain = build_chain(rig, camera, detector, material, light, samples=2)
    ours = pushed_columns(chain, x, names)[-1].values
    theirs = pushed_columns(build_stand_in(rig, camera), x, names)[-1].values
    return (ours - theirs)[:, :2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--assets", type=Path, default=Path(__file__).parent.parent / "assets")
    build(parser.parse_args().assets)
