"""The library on controls → vertices → pixels → landmarks; few columns, as each is a picture and more."""

import pytest
import torch

from pipeline.chain import build_chain
from pipeline.deform.rig import Rig
from pipeline.derivatives.automatic import jvp, vjp
from pipeline.derivatives.chain_rule import chain_jacobian
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.derivatives.trust import adjoint_gap, random_direction
from pipeline.detect.facemesh import FaceMesh
from pipeline.layer import Pipeline
from pipeline.render.camera import Camera
from pipeline.render.head_texture import HeadTexture
from pipeline.render.material import Material

D = torch.float64
NAMES = ["jawOpen", "mouthSmileLeft", "headRotationY"]


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def chain(rig: Rig) -> Pipeline:
    camera = Camera(torch.tensor(1000.0), torch.tensor([128.0, 118.0]))
    return build_chain(rig, camera, FaceMesh.load(smoothing=0.3), Material(HeadTexture.load()())).double()


@pytest.fixture(scope="module")
def x(rig: Rig) -> torch.Tensor:
    return rig.controls.pack({"jawOpen": 0.5, "headRotationY": 0.1, "headTranslationZ": -1.0}).double()


def test_the_chain_by_products_is_the_chain_by_one_backward(
    rig: Rig, chain: Pipeline, x: torch.Tensor
) -> None:
    made = chain_jacobian(chain, x, columns={"control": NAMES})
    assert made.plan.steps(made.names) == [
        "deform: in closed form",
        "push the columns through render",
        "push the columns through detect",
    ]
    J = made.jacobian
    assert J.columns[0].labels == tuple(NAMES) and J.values.shape == (478, 3, 3)
    g = random_direction(J.values[..., 0])
    pulled = vjp(chain, x)[1](g)[[rig.controls.index(name) for name in NAMES]]
    products = torch.einsum("lck,lc->k", J.values, g)
    assert (products - pulled).norm() <= 1e-8 * pulled.norm()
    pushed = jvp(chain, x, rig.controls.pack({"jawOpen": 1.0}).double())[1]
    torch.testing.assert_close(J.column("jawOpen"), pushed, atol=1e-9, rtol=1e-8)


def test_every_stations_columns_are_those_of_one_jvp(rig: Rig, chain: Pipeline, x: torch.Tensor) -> None:
    found = pushed_columns(chain, x, {"control": NAMES})
    assert [[axis.name for axis in one.rows] for one in found] == [
        ["vertex", "xyz"],
        ["row", "column", "rgb"],
        ["landmark", "xyz"],
    ]
    stations = list(chain)
    for count, one in enumerate(found, start=1):
        direction = rig.controls.pack({"mouthSmileLeft": 1.0}).double()
        pushed = jvp(Pipeline(stations[:count]), x, direction)[1]
        torch.testing.assert_close(one.column("mouthSmileLeft"), pushed, atol=1e-9, rtol=1e-8)


def test_the_modes_agree_through_all_three_layers(rig: Rig, chain: Pipeline, x: torch.Tensor) -> None:
    assert adjoint_gap(chain, x, rig.controls.pack(dict.fromkeys(NAMES, 1.0)).double()) <= 1e-9
