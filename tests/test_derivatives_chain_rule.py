"""The chain rule as a product: the same Jacobian in every order, and the cheapest order chosen."""

import itertools

import pytest
import torch
from torch import Tensor

from pipeline.chain import build_stand_in
from pipeline.deform.rig import Rig
from pipeline.derivatives.automatic import jacobian
from pipeline.derivatives.axes import FunctionLayer
from pipeline.derivatives.chain_rule import LayerCost, chain_jacobian, measure_costs, plan
from pipeline.errors import ChainRigError
from pipeline.layer import Layer, Pipeline
from pipeline.render.camera import Camera

D = torch.float64


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


class Mix(Layer):
    """(*B, m) → (*B, n), smooth."""

    def __init__(self, m: int, n: int, name: str) -> None:
        super().__init__()
        self.name, self.input_axes, self.output_axes = name, (f"{m}s",), (f"{n}s",)
        self.register_buffer("A", some(m, n, seed=m))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.get_buffer("A")) + x.square().mean(-1, keepdim=True)


SIZES = (3, 20, 50, 4)


@pytest.fixture
def chain() -> Pipeline:
    return Pipeline([Mix(m, n, f"{m}→{n}") for m, n in itertools.pairwise(SIZES)])


COSTS = {
    "forward mode": ([LayerCost(1, 1, 9)] * 3, ["columns", "push"]),
    "reverse mode": ([LayerCost(1, 9, 0.1)] * 3, ["rows", "pull"]),
    "both ends": ([LayerCost(1, 1, 99), LayerCost(1, 1, 1), LayerCost(1, 99, 1)], ["product"]),
}


@pytest.mark.parametrize("order", COSTS)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_every_order_gives_the_jacobian_of_the_whole(
    chain: Pipeline, order: str, batch: tuple[int, ...]
) -> None:
    costs, expected = COSTS[order]
    x = some(*batch, 3)
    made = chain_jacobian(chain, x, costs=costs)
    whole = jacobian(chain, x)
    assert made.plan.how in expected
    torch.testing.assert_close(made.jacobian.values, whole.values, atol=1e-12, rtol=1e-9)
    assert made.jacobian.rows == whole.rows and made.jacobian.columns == whole.columns
    part = chain_jacobian(chain, x, {"4s": [2, 0]}, {"3s": [1]}, costs=costs)
    torch.testing.assert_close(part.jacobian.values, whole.select({"4s": [2, 0]}, {"3s": [1]}).values)


def _all_plans(sizes: list[int], costs: list[LayerCost], a: int, b: int, multiply: float) -> list[float]:
    """Costs of all ways, without dynamic programming."""
    if b == a + 1:
        return [sizes[a] * costs[a].jvp, costs[a].forward + sizes[b] * costs[a].vjp]
    ways = []
    for k in range(a + 1, b):
        inner, outer = _all_plans(sizes, costs, a, k, multiply), _all_plans(sizes, costs, k, b, multiply)
        ways += [cost + sizes[a] * sum(c.jvp for c in costs[k:b]) for cost in inner]
        ways += [cost + sum(c.forward + sizes[b] * c.vjp for c in costs[a:k]) for cost in outer]
        ways += [i + o + multiply * sizes[b] * sizes[k] * sizes[a] for i in inner for o in outer]
    return ways


def test_no_order_is_cheaper_than_the_one_that_is_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        sizes = torch.randint(1, 100, (5,), generator=generator).tolist()
        costs = [LayerCost(*torch.rand(3, generator=generator).tolist()) for _ in range(4)]
        found = plan(sizes, costs, multiply=1e-3)
        assert found.cost == pytest.approx(min(_all_plans(sizes, costs, 0, 4, 1e-3)))


def test_few_controls_and_many_pixels_mean_forward_mode_and_a_single_number_reverse() -> None:
    costs = [LayerCost(s, 1.5 * s, 2 * s) for s in (0.002, 0.02, 0.03)]
    stations = [58, 15921, 196608]
    assert plan([*stations, 1434], costs).steps(["deform", "render", "detect"]) == [
        "deform: by columns",
        "push the columns through render",
        "push the columns through detect",
    ]
    assert plan([*stations, 1], costs).steps(["deform", "render", "detect"]) == [
        "detect: by rows",
        "pull the rows through render",
        "pull the rows through deform",
    ]


def test_factors_that_are_too_large_are_never_made() -> None:
    """Multiplying would be free here, but ∂pixels/∂vertices would hold three billion numbers."""
    costs = [LayerCost(1, 1, 1), LayerCost(1, 0.0, 0.0), LayerCost(1, 1, 1)]

    def factors(step) -> list[tuple[int, int]]:
        return [(step.first, step.last)] + [
            f for part in (step.inner, step.outer) if part for f in factors(part)
        ]

    assert (1, 2) not in factors(plan([60, 15921, 196608, 1434], costs))
    with pytest.raises(ChainRigError, match="15921 × 15921 entries, more than 100000000"):
        plan([15921, 3, 15921], costs[:2], largest=10**8)


def test_the_rigs_stand_in_uses_the_closed_form_and_says_what_it_did() -> None:
    rig = Rig.load().to(dtype=D)
    camera = Camera(torch.tensor(1000.0, dtype=D), torch.tensor([128.0, 118.0], dtype=D))
    chain = build_stand_in(rig, camera)
    x = rig.controls.pack({"jawOpen": 0.3, "headTranslationZ": -1.0}, rig.controls.rest)
    said: list[str] = []
    made = chain_jacobian(chain, x, columns={"control": ["jaw*", "head*"]}, on_layer=said.append)
    whole = jacobian(chain, x, columns={"control": ["jaw*", "head*"]})
    torch.testing.assert_close(made.jacobian.values, whole.values, atol=1e-9, rtol=1e-9)
    assert said == ["deform: in closed form", "push the columns through embed"]
    assert made.summary().startswith("deform: in closed form; push the columns through embed: ")
    assert made.evaluations > 0 and made.predicted > 0
    # one landmark coordinate: from the other end
    one = chain_jacobian(chain, x, rows={"landmark": 4, "xyz": "x"}, columns={"control": list(range(203))})
    assert one.plan.how == "pull"
    expected = jacobian(chain, x, rows={"landmark": 4, "xyz": "x"}, columns={"control": list(range(203))})
    torch.testing.assert_close(one.jacobian.values, expected.values, atol=1e-9, rtol=1e-9)


def test_costs_can_be_measured(chain: Pipeline) -> None:
    costs = measure_costs(chain, some(3), chunk=2)
    assert len(costs) == 3 and all(min(cost.forward, cost.jvp, cost.vjp) > 0 for cost in costs)


def test_a_chain_of_one_layer() -> None:
    layer = FunctionLayer(torch.sin, ("a",), ("b",))
    x = some(4)
    torch.testing.assert_close(chain_jacobian(Pipeline([layer]), x).jacobian.matrix, x.cos().diag())
