"""One landmark-moving step in close-up: what the chain does along a control, and what derivatives say of it.

    python benchmarks/chain_rule_profile.py    # into results/, for the figure of docs/chain-rule.md

At the warm start of the example photo a control goes from where it is over ± a useful step. Shown is the
residual along the direction in which the whole step moves it, in % IOD of all landmarks together, and the
slope of each derivative in that direction. And on the example and a render: what a damped Gauss–Newton step
of expressions and pose promises with such a derivative, what becomes of it, and which controls it moves most.
"""

import json
from pathlib import Path

import torch
from chain_rule_derivatives import Derivative, Differentiated
from chain_rule_faces import Case, read
from torch import Tensor

from pipeline.solve.quadratic_model import damped_step, decrease, normal_matrix

RESULTS = Path(__file__).parent / "results" / "chain_rule_profile.json"
CONTROLS, REACH, POINTS = ("jawOpen", "eyeBlinkLeft"), 0.3, 31
DAMPING = 0.1
DERIVATIVES = {
    "at the point": Derivative(rectifier=0.0),
    "rectifiers 0.1": Derivative(rectifier=0.1),
    "rectifiers 0.3": Derivative(rectifier=0.3),
    "stand-in": Derivative(share=0.0, pose_share=0.0),
}


def profile(case: Case, control: str) -> dict[str, object]:
    """Points along the control, what the chain does there, and slopes."""
    space, objective = case.fitter.rig.controls, case.objective
    i = space.index(control)
    low = max(-REACH, space.controls[i].low - float(case.start[i]))
    along = torch.linspace(low, low + REACH, POINTS, dtype=torch.float64)
    line = torch.zeros_like(case.start)
    line[i] = 1.0
    here = objective.residual(case.start)
    changes = torch.stack([objective.residual(case.start + t * line) for t in along]) - here
    direction = changes[-1] / changes[-1].norm()
    percent = objective.percent(changes[-1]) / float(changes[-1].norm())
    pixels: dict[object, Tensor] = {}
    slopes = {
        name: percent
        * float(Differentiated(case, one).columns(case.start, line[None], pixels)[:, 0] @ direction)
        for name, one in DERIVATIVES.items()
    }
    return {
        "along": along.tolist(),
        "chain": (percent * changes @ direction).tolist(),
        "slopes": slopes,
    }


def full_step(case: Case, rectifier: float) -> dict[str, object]:
    """Parts of f, with the fit's first prior: promised and kept; and where the step goes."""
    space, prior = case.fitter.rig.controls, case.fitter.prior
    free = torch.tensor([control.group != "identity" for control in space.controls])
    here, jacobian = (
        case.objective.residual(case.start),
        torch.zeros(len(case.objective.per_pixel), len(free)).double(),
    )
    directions = torch.eye(len(free)).double()[free]
    jacobian[:, free] = Differentiated(case, Derivative(rectifier=rectifier)).columns(case.start, directions)
    hessian = normal_matrix(jacobian, torch.ones_like(here), prior, case.start)
    gradient = jacobian.T @ here + prior.gradient(case.start)
    d = damped_step(prior, case.start, hessian, gradient, DAMPING, free)

    def value(x: Tensor) -> float:
        return 0.5 * float(case.objective.residual(x).square().sum()) + float(prior.value(x))

    before = value(case.start)
    largest = (d.abs() * (free.double())).argsort(descending=True)[:4].tolist()
    return {
        "promised": float(decrease(gradient, hessian, d)) / before,
        "kept": 1 - value(prior.project(case.start + d)) / before,
        "moves": {space.names[i]: round(float(d[i]), 3) for i in largest},
    }


def main() -> None:
    torch.set_num_threads(1)
    example, render = read("example"), read("render 1000")
    lines = {control: profile(example, control) for control in CONTROLS}
    steps = {case.name: full_step(case, 0.1) for case in (example, render)}
    RESULTS.write_text(json.dumps({"lines": lines, "steps": steps}) + "\n")
    for name, of in steps.items():
        print(name, of)


if __name__ == "__main__":
    main()
