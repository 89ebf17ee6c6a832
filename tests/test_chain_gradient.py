"""The backpropagated gradient of the whole chain against finite differences of the supersampled chain.

The full table, all controls, is benchmarks/chain_gradient.py's; here are the pose and some expressions.
"""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from pipeline.deform.rig import Rig

EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "browInnerUp")

_path = Path(__file__).parent.parent / "benchmarks" / "chain_gradient.py"
_spec = importlib.util.spec_from_file_location("chain_gradient", _path)
assert _spec is not None and _spec.loader is not None
chain_gradient = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chain_gradient)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig.load()


@pytest.fixture(scope="module")
def halfway(rig: Rig) -> torch.Tensor:
    return rig.controls.pack(json.loads(chain_gradient.HALFWAY.read_text()), rig.controls.rest.clone())


@pytest.fixture(scope="module")
def columns(rig: Rig) -> list[int]:
    space = rig.controls
    return [*range(*space.groups["pose"].indices(len(space))), *map(space.index, EXPRESSIONS)]


@pytest.fixture(scope="module")
def differences(rig: Rig, halfway: torch.Tensor, columns: list[int]) -> torch.Tensor:
    objective = chain_gradient.objective_for(4)
    return chain_gradient.plateau(
        chain_gradient.finite_differences(objective, halfway, columns, chain_gradient.scales(rig))
    )


def test_backpropagation_agrees_with_differences_halfway_through_a_fit(
    rig, halfway, columns, differences
) -> None:
    objective = chain_gradient.objective_for(4)
    gradient = (chain_gradient.backpropagated(objective, halfway) * chain_gradient.scales(rig))[columns]
    cosine, error, large = chain_gradient.compare(gradient, differences)
    assert large >= 3
    assert cosine >= 0.9
    assert error <= 0.2


def test_without_outlines_it_does_not(rig, halfway, columns, differences) -> None:
    objective = chain_gradient.objective_for(4)
    objective.chain.layers[1].outlines = False
    gradient = (chain_gradient.backpropagated(objective, halfway) * chain_gradient.scales(rig))[columns]
    _, error, _ = chain_gradient.compare(gradient, differences)
    assert error > 0.5
