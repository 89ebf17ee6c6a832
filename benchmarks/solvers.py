"""Every solver on the chain: how many evaluations, and how long, until landmarks are as close as they get.

    python benchmarks/solvers.py [PHOTO …] [--steps 20] [--workers 2] [--rows FILE]   # the example, and more
    python benchmarks/solvers.py … --write                       # into results/ and docs/solvers.md

All solvers start where the warm start ends, in the photo's light and colours, and lower the same objective:
the chain's landmark term, and the prior of a face whose identity is as free as in a fit's last stage. A
photo's level is 1.02 times the least f, or the least residual (% of the outer-eye distance), at which any of
them ends; counted is what each spent until it was there. An evaluation is one pass through
detect ∘ render ∘ deform, a gradient one back. Time is processor time of one thread. The last row is a fit as
it comes: its stages have other priors, so it has no part in the levels. `--rows` keeps every photo, and a
second run goes on there.
"""

import argparse
import json
import math
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from stations import write_between_markers
from torch import Tensor

from pipeline import assets, uncertainty
from pipeline.calibrate import largest_face
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
from pipeline.solve.solver import Solver
from pipeline.target.photo import read_photo

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "solvers.json"
PAGE = ROOT / "docs" / "solvers.md"
NEAR = 1.02
RATE = 0.3  # of Adam and RMSprop: a move alone that would lower the objective by half of 0.3²
STAGED = "a fit, in stages"
Runs = dict[str, list[dict[str, float]]]  # solver → what was reached after every evaluation


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


@cache
def loaded() -> FaceFitter:
    return FaceFitter(Config())


@dataclass(frozen=True)
class Case:
    """The largest face of a photo where all solvers start: read, placed and dressed once."""

    fitter: FaceFitter
    objective: LandmarkObjective
    prior: Prior
    start: Tensor
    percent: float

    @classmethod
    def of(cls, path: Path) -> "Case":
        fitter, photo = loaded(), read_photo(path)
        target = fitter.target(photo, largest_face(photo)[1])
        camera = fitter.camera(photo, target)
        objective = fitter.objective(target, camera)
        start = fitter.warm_start(objective, fitter.first_guess(target, camera))
        fitter.dress(photo, target, camera, objective, start)
        prior = uncertainty.belief(fitter.prior, fitter.rig, fitter.config.priors)
        return cls(fitter, objective, prior, start, objective.percent(objective.residual(start)))

    def solvers(self, steps: int) -> dict[str, tuple[Solver, bool]]:
        pose = torch.zeros(len(self.start), dtype=torch.bool)
        pose[self.fitter.rig.controls.groups["pose"]] = True
        metric = 1 / (self.objective.stand_in(self.start).square().sum(0) + self.prior.precision)
        return solvers(steps, metric, pose)

    def value(self, x: Tensor) -> float:
        return float(0.5 * self.objective.residual(x).square().sum() + self.prior.value(x))


def measure(path: Path, steps: int) -> tuple[str, Runs]:
    """The photo's name, and the rows of every solver on it."""
    torch.set_num_threads(1)
    case, found = Case.of(path), {}
    for name, (solver, embedded) in case.solvers(steps).items():
        problem = WithStandIn(case.objective) if embedded else case.objective
        watched = Watched(case.objective, case.percent)
        solution = solver.minimize(problem, case.prior, case.start, on_step=watched)
        lowest = solution.trace.column("objective").cummin(0).values.tolist()
        for row, value in zip(watched.rows, lowest, strict=True):
            row["objective"] = value
        found[name] = watched.rows
    watched = Watched(case.objective, case.percent)
    solution, _ = case.fitter.solve(case.objective, case.start, watched)
    watched.rows[-1]["objective"] = case.value(solution.x)
    found[STAGED] = watched.rows
    return path.name, found


def spent(rows: list[dict[str, float]], what: str, level: float) -> dict[str, float] | None:
    """What it took to get there, or None."""
    return next((row for row in rows if row.get(what, math.inf) <= level), None)


def table(photos: dict[str, Runs]) -> str:
    """Markdown: medians over photos, by f and by the residual."""
    head = ["solver", *["f reached", "evaluations", "gradients", "seconds"], "f at the end"]
    head += ["residual reached", "evaluations", "seconds", "residual at the end, % IOD"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for solver in next(iter(photos.values())):
        cells = []
        for what, keys in (
            ("objective", ("evaluations", "gradients", "seconds")),
            ("residual", ("evaluations", "seconds")),
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
    parser.add_argument("--steps", type=int, default=20, help="of a solver, at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=Path, help="keeps every photo; a second run goes on there")
    parser.add_argument("--write", action="store_true", help="into benchmarks/results and docs/solvers.md")
    options = parser.parse_args()
    photos: dict[str, Runs] = {}
    if options.rows and options.rows.is_file():
        photos = dict(json.loads(line) for line in options.rows.read_text("utf-8").splitlines())
    paths = [assets.path("example.png"), *options.photos]
    todo = [path for path in paths if path.name not in photos]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for name, found in pool.imap_unordered(partial(measure, steps=options.steps), todo):
            photos[name] = found
            print(name, *(f"{rows[-1]['residual']:.3f}" for rows in found.values()), flush=True)
            if options.rows:
                with options.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([name, found]) + "\n")
    photos = dict(sorted(photos.items()))
    print(table(photos))
    for name, of in photos.items():
        for solver, rows in of.items():
            if rows[-1]["residual"] > rows[0]["residual"]:
                print(f"{name}: {solver} ends above its start")
    if options.write:
        RESULTS.write_text(json.dumps({"steps": options.steps, "photos": photos}) + "\n", encoding="utf-8")
        write_between_markers(PAGE, "solvers", table(photos))


if __name__ == "__main__":
    main()
