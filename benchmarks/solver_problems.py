"""Every solver on the standard problems of tests/solve_problems.py: how close it comes, and what it spends.

    python benchmarks/solver_problems.py            # prints the table of docs/solvers.md
    python benchmarks/solver_problems.py --write    # and puts it there, and the figures into results/

A cell is the number of evaluations until the objective's excess over the least one known is 1e-6 of the
excess at the start; where that is not reached in 200, the part of the excess that is left.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from stations import write_between_markers

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from solve_problems import PROBLEMS, SOLVERS  # noqa: E402  # pyright: ignore[reportMissingImports]

RESULTS = ROOT / "benchmarks" / "results" / "solver_problems.json"
PAGE = ROOT / "docs" / "solvers.md"
STEPS, NEAR = 200, 1e-6


def measure(name: str) -> dict[str, dict[str, Any]]:
    """Solver → what is left of the excess, after how many evaluations, and what all of them took."""
    standard = PROBLEMS[name]()
    least, metric = standard.optimum(), standard.metric()
    found = {}
    for solver, make in SOLVERS.items():
        began = time.process_time()
        solution = make(metric, STEPS).minimize(standard.problem(), standard.prior, standard.start)
        objective = solution.trace.column("objective").cummin(0).values
        excess = (objective - least).clamp(min=0) / (objective[0] - least)
        near = (excess <= NEAR).nonzero().flatten().tolist()
        found[solver] = {
            "left": float(excess[-1]),
            "evaluations_until_near": near[0] + 1 if near else None,
            "evaluations": solution.evaluations,
            "gradients": solution.gradients,
            "jacobians": solution.jacobians,
            "status": solution.status,
            "seconds": round(time.process_time() - began, 3),
        }
    return found


def table(figures: dict[str, dict[str, dict[str, Any]]]) -> str:
    lines = [f"| solver | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"]
    for solver in SOLVERS:
        cells = []
        for of in figures.values():
            until, left = of[solver]["evaluations_until_near"], of[solver]["left"]
            cells.append(f"{left:.0e} left" if until is None else str(until))
        lines.append(f"| {solver} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="into benchmarks/results and docs/solvers.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = {name: measure(name) for name in PROBLEMS}
    print(table(figures))
    if options.write:
        RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_between_markers(PAGE, "solver_problems", table(figures))


if __name__ == "__main__":
    main()
