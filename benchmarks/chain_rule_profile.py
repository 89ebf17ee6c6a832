"""One landmark-moving step in close-up: what the chain does along a control, and what derivatives say of it.

    python benchmarks/chain_rule_profile.py    # into results/, for the figure of docs/chain-rule.md

At the warm start of the example photo a control goes from where it is over ± a useful step. Shown is the
residual along the direction in which the whole step moves it, in % IOD of all landmarks together, and the
slope of each derivative in that direction.
"""

import json
from pathlib import Path

import torch
from chain_rule_derivatives import Derivative, Differentiated, shifts
from chain_rule_faces import Case, read

RESULTS = Path(__file__).parent / "results" / "chain_rule_profile.json"
CONTROLS, REACH, POINTS = ("jawOpen", "eyeBlinkLeft"), 0.3, 49
DERIVATIVES = {
    "at the point": Derivative(rectifier=0.0),
    "rectifiers 0.1": Derivative(rectifier=0.1),
    "rectifiers 0.3": Derivative(rectifier=0.3),
    "4 shifts, rectifiers 0.1": Derivative(rectifier=0.1, draws=shifts(4, 1.0)),
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
    slopes = {
        name: percent * float(Differentiated(case, one).columns(case.start, line[None])[:, 0] @ direction)
        for name, one in DERIVATIVES.items()
    }
    return {
        "along": along.tolist(),
        "chain": (percent * changes @ direction).tolist(),
        "slopes": slopes,
    }


def main() -> None:
    torch.set_num_threads(1)
    case = read("example")
    found = {control: profile(case, control) for control in CONTROLS}
    RESULTS.write_text(json.dumps(found) + "\n")
    for control, of in found.items():
        print(control, of["slopes"])


if __name__ == "__main__":
    main()
