"""Every solver on the chain: how many evaluations, and how long, until landmarks are as close as they get.

    python benchmarks/solvers.py [PHOTO …] [--steps N] [--json FILE]   # the example and other photos
    python benchmarks/solvers.py … --write                             # into results/ and docs/solvers.md

All solvers start where the warm start ends and lower the same objective: the chain's landmark term, and the
prior of a face whose identity is as free as in a fit's last stage. A photo's level is 1.02 times the least f,
or the least residual (% of the outer-eye distance), at which any of them ends; counted is what each spent
until it was there. An evaluation is one pass through detect ∘ render ∘ deform, a gradient one back. Time is
processor time of one thread. The last row is a fit as it comes: its stages have other priors, so it has no
part in the level.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from stations import write_between_markers
from torch import Tensor

from pipeline import assets, uncertainty
from pipeline.config import Config
from pipeline.fit import FaceFitter
from pipeline.objective import LandmarkObjective
from pipeline.solve.adam import Adam
from pipeline.solve.adjoint_broyden import AdjointBroyden
from pipeline.solve.column_space import ColumnSpace
from pipeline.solve.dogleg import Dogleg
from pipeline.solve.gauss_newton import GaussNewton
from pipeline.solve.gradient_descent import GradientDescent
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.momentum import Momentum
from pipeline.solve.nesterov import Nesterov
from pipeline.solve.priors import Prior
from pipeline.solve.problem import WithStandIn
from pipeline.solve.rmsprop import RMSprop
from pipeline.solve.solver import Solution, Solver
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "solvers.json"
PAGE = ROOT / "docs" / "solvers.md"
NEAR = 1.02
RATE = 0.3  # of Adam and RMSprop: a move alone that would lower the objective by half of 0.3²
STAGED = "a fit, in stages"


def solvers(steps: int, metric: Tensor, pose: Tensor) -> dict[str, tuple[Solver, bool]]:
    """Every method, and whether the embedding's Jacobian stands in for the chain's."""
    broyden = {"steps": steps, "tolerance": 1e-6}
    return {
        "gradient descent": (GradientDescent(steps=steps, metric=metric), False),
        "momentum": (Momentum(steps=steps, metric=metric), False),
        "Nesterov": (Nesterov(steps=steps, metric=metric), False),
        "RMSprop": (RMSprop(steps=steps, metric=metric, rate=RATE), False),
        "Adam": (Adam(steps=steps, metric=metric, rate=RATE), False),
        "L-BFGS": (LBFGS(steps=steps, metric=metric), False),
        "Gauss–Newton": (GaussNewton(steps=steps, patience=8), True),
        "Levenberg–Marquardt": (LevenbergMarquardt(steps=steps, patience=6), True),
        "dogleg": (Dogleg(steps=steps, patience=6), True),
        "column space": (ColumnSpace(steps=steps, patience=6, always=pose), True),
        "adjoint Broyden, embedding": (AdjointBroyden(gradients=False, **broyden), False),
        "adjoint Broyden, chain": (AdjointBroyden(refresh=False, **broyden), False),
        "adjoint Broyden, hybrid": (AdjointBroyden(**broyden), False),
    }


class Watched:
    """Residuals in % of the outer-eye distance after every evaluation, and what they cost."""

    def __init__(self, objective: LandmarkObjective, start: float) -> None:
        self.objective, self.began = objective, time.process_time()
        objective.evaluations = objective.gradients = 0
        self.rows = [{"residual": start, "evaluations": 1, "gradients": 0, "seconds": 0.0}]

    def __call__(self, residual: Tensor) -> None:
        self.rows.append(
            {
                "residual": self.objective.percent(residual),
                "evaluations": self.objective.evaluations,
                "gradients": self.objective.gradients,
                "seconds": time.process_time() - self.began,
            }
        )


def measure(path: Path, steps: int) -> dict[str, list[dict[str, float]]]:
    """The rows of every solver on the largest face of a photo."""
    fitter = FaceFitter(Config())
    photo = read_photo(path)
    face = max(find_faces(photo.pixels), key=lambda face: face.area)
    target = fitter.target(photo, face)
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    start = fitter.warm_start(objective, fitter.first_guess(target, camera))
    before = objective.percent(objective.residual(start))
    prior = uncertainty.belief(fitter.prior, fitter.rig, fitter.config.priors)
    pose = torch.zeros(len(start), dtype=torch.bool)
    pose[fitter.rig.controls.groups["pose"]] = True
    metric = 1 / (objective.stand_in(start).square().sum(0) + prior.precision)
    runs: dict[str, Callable[[Watched], object]] = {
        name: run(solver, embedded, objective, prior, start)
        for name, (solver, embedded) in solvers(steps, metric, pose).items()
    }
    runs[STAGED] = lambda watched: fitter.solve(objective, start, watched)
    found = {}
    for name, go in runs.items():
        watched = Watched(objective, before)
        solution = go(watched)
        if isinstance(solution, Solution):
            for row, value in zip(
                watched.rows, solution.trace.column("objective").cummin(0).values, strict=True
            ):
                row["objective"] = float(value)
        found[name] = watched.rows
        print(f"{path.name:20} {name:28} {watched.rows[-1]['residual']:.3f} %", flush=True)
    return found


def run(
    solver: Solver, embedded: bool, objective: LandmarkObjective, prior: Prior, start: Tensor
) -> Callable[[Watched], object]:
    problem = WithStandIn(objective) if embedded else objective
    return lambda watched: solver.minimize(problem, prior, start, on_step=watched)


def spent(rows: list[dict[str, float]], what: str, level: float) -> dict[str, float] | None:
    """What it took to get there, or None."""
    return next((row for row in rows if row.get(what, math.inf) <= level), None)


def table(photos: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Markdown: medians over photos, by f and by the residual."""
    head = ["solver", *["f reached", "evaluations", "gradients", "seconds"], "f at the end"]
    head += ["residual reached", "evaluations", "residual at the end, % IOD"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for solver in next(iter(photos.values())):
        cells = []
        for what, keys in (
            ("objective", ("evaluations", "gradients", "seconds")),
            ("residual", ("evaluations",)),
        ):
            there = [
                spent(of[solver], what, NEAR * min(of[one][-1][what] for one in of if one != STAGED))
                for of in photos.values()
            ]
            cells.append(f"{sum(row is not None for row in there)} of {len(there)}")
            for key in keys:
                middle = statistics.median_high(math.inf if row is None else row[key] for row in there)
                form = ".1f" if key == "seconds" else ".0f"
                cells.append("–" if math.isinf(middle) else f"{middle:{form}}")
            ends = [of[solver][-1].get(what, math.nan) for of in photos.values()]
            form = ".2f" if what == "objective" else ".3f"
            cells.append("–" if math.isnan(ends[0]) else f"{statistics.mean(ends):{form}}")
        lines.append(f"| {solver} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", type=Path, help="besides the example")
    parser.add_argument("--steps", type=int, default=40, help="of a solver, at most")
    parser.add_argument("--json", type=Path, help="write the raw figures here")
    parser.add_argument("--write", action="store_true", help="into benchmarks/results and docs/solvers.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos: dict[str, dict[str, list[dict[str, float]]]] = {}
    text = ""
    for path in [assets.path("example.png"), *options.photos]:
        photos[path.name] = measure(path, options.steps)
        text = json.dumps({"steps": options.steps, "photos": photos}) + "\n"
        if options.json:  # after every photo: it takes a while
            options.json.write_text(text, encoding="utf-8")
    print(table(photos))
    for name, of in photos.items():
        for solver, rows in of.items():
            if rows[-1]["residual"] > rows[0]["residual"]:
                print(f"{name}: {solver} ends above its start")
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
        write_between_markers(PAGE, "solvers", table(photos))


if __name__ == "__main__":
    main()
