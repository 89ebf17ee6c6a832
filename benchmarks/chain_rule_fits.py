"""Where a fit comes to with each derivative of the chain: the fits of docs/chain-rule.md.

    python benchmarks/chain_rule_fits.py [PHOTO …] [--write] [--json FILE]    # the example, renders, photos

Every fit begins at the same warm start, renders in the same light and colours, and has the priors and the
stages of the product's; what differs is the derivative. Noted are the residual (% IOD) after every
evaluation; at the end the objective f with the prior as it is before any photo, and, of renders, the mean
error of the expressions. After every fit the raw figures are written.
"""

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from chain_rule_derivatives import Derivative, Differentiated, grains, jitters, shifts
from chain_rule_faces import Case, belief, control_error, objective_value, read
from chain_rule_network import smooth_detector
from stations import write_between_markers
from torch import Tensor

from pipeline.face_prior import relax_identity
from pipeline.layer import Pipeline
from pipeline.solve.adjoint_broyden import AdjointBroyden
from pipeline.solve.lbfgs import LBFGS
from pipeline.solve.levenberg_marquardt import LevenbergMarquardt
from pipeline.solve.priors import Prior
from pipeline.solve.solver import Solver
from pipeline.solve.trust_region import Nielsen

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "chain_rule_fits.json"
PAGE = ROOT / "docs" / "chain-rule.md"
FIRST, LAST = 15, 13  # steps of the two stages: 30 evaluations with the first of each
STEPS = {"": 0.1, "rad": math.radians(2), "m": 0.003}  # of secants
SHOWN = (10, 20, 30)  # evaluations
RENDERS = ("render 1000",)


@dataclass(frozen=True)
class Plan:
    """How a fit is made.

    Attributes:
        widths: of the rectifiers, one after another; the last one is that of the second stage.
        derivative: what else is said of it.
        gradients: whether there are backward passes; "late" as in `hybrid`: not in the first steps.
        refresh: whether the stand-in is taken anew at every accepted point, or at the start of a stage only.
        begins: what adjoint Broyden begins with: the "embedding"'s Jacobian, the chain's own, "pushed"
            forward, or "secants" of it.
        method: of the steps.
        damping: λ of the first one.
        smooth: widths of networks that are smooth themselves, for as many parts of the first stage.
    """

    widths: tuple[float, ...] = (0.1,)
    derivative: Derivative = Derivative()
    gradients: bool | str = True
    refresh: bool = False
    begins: str = "embedding"
    method: str = "adjoint Broyden"
    damping: float = 1e-2
    smooth: tuple[float, ...] = ()


HALF = Derivative(share=0.5, pose_share=0.5)
NO_POSE = Derivative(pose_share=0.0)
PLANS: dict[str, Plan] = {
    "stand-in alone (`embedding`)": Plan(gradients=False, refresh=True),
    "`chain`, rectifiers 0": Plan((0.0,)),
    "`chain`, rectifiers 0.1": Plan((0.1,)),
    "`chain`, rectifiers 0.3": Plan((0.3,)),
    "rectifiers 0.3, twice as long": Plan((0.3,), Derivative(length=1.9)),
    "own Jacobian first, then secants": Plan(begins="pushed", gradients=False),
    "widths 0.5 → 0.2 → 0.05": Plan((0.5, 0.2, 0.05)),
    "smooth networks 0.1 → 0.03 → sharp": Plan(smooth=(0.1, 0.03)),
    "half of the stand-in": Plan(derivative=HALF, refresh=True),
    "own Jacobian first, then adjoints too": Plan(begins="pushed"),
    "first λ 1": Plan(damping=1.0),
    "Nielsen's trust region": Plan(method="Nielsen"),
    "4 shifts up to 1 px, rectifiers 0.1": Plan(derivative=Derivative(draws=shifts(4, 1.0))),
    "4 jitters, rectifiers 0.1": Plan(derivative=Derivative(draws=jitters(4, 1.0))),
    "4 grains of 0.05, rectifiers 0.1": Plan(derivative=Derivative(draws=grains(4, 0.05))),
    "rectifiers 0.1, pools 0.3": Plan(derivative=Derivative(pool=0.3)),
    "4 × 4 samples, rectifiers 0.1": Plan(derivative=Derivative(samples=4)),
    "`hybrid`, rectifiers 0.1": Plan((0.1,), gradients="late", refresh=True),
    "L-BFGS with a metric": Plan(method="L-BFGS"),
    "own Jacobian first, but for the pose; secants": Plan(
        begins="pushed", derivative=NO_POSE, gradients=False
    ),
    "finite differences first, then secants": Plan(begins="secants", gradients=False),
    "Levenberg–Marquardt, own Jacobian": Plan(method="LM"),
}


class Problem(Differentiated):
    """A face as a solver of this plan sees it.

    Attributes:
        jacobians: of the chain, pushed forward, so far.
    """

    def __init__(self, case: Case, derivative: Derivative, begins: str) -> None:
        super().__init__(case, derivative)
        self.jacobians, self.begins = 0, begins

    def stand_in(self, x: Tensor) -> Tensor:
        if self.begins == "pushed":
            return self.jacobian(x)
        return self.secants(x) if self.begins == "secants" else self.embedded(x)

    def jacobian(self, x: Tensor) -> Tensor:
        self.jacobians += 1
        return super().jacobian(x)

    def secants(self, x: Tensor) -> Tensor:
        """The embedding's Jacobian, its columns of expressions and pose taken from the chain over steps."""
        matrix, here = self.embedded(x), self.residual(x)
        for i, control in enumerate(self.case.fitter.rig.controls.controls):
            if control.group != "identity":
                there = x.clone()
                step = STEPS[control.unit]
                there[i] += step if x[i] + step <= control.high else -step
                matrix[:, i] = (self.residual(there) - here) / (there[i] - x[i])
                self.passes += 1
        return matrix


@dataclass
class Course:
    """A fit under way.

    Attributes:
        curve: the residual in % IOD of the best point so far, after every evaluation.
    """

    case: Case
    x: Tensor
    curve: list[float]
    correction: Tensor | None = None

    def watch(self, residual: Tensor) -> None:
        self.curve.append(self.case.objective.percent(residual))

    def go(self, solver: Solver, problem: Any, prior: Prior) -> None:
        """One stage; its first evaluation is at the point that is there."""
        if self.curve:
            self.curve.append(self.curve[-1])
        else:
            self.watch(problem.residual(self.x))
        solution = solver.minimize(problem, prior, self.x, on_step=self.watch)
        self.x, self.correction = solution.x, solution.correction

    def go_smoothly(self, width: float, steps: int, prior: Prior) -> None:
        """A stage of a network that is smooth itself, towards what it says of the photo."""
        case = self.case
        network, objective = smooth_detector(width, case.crop()), copy.copy(case.objective)
        with torch.no_grad():
            objective.target = objective.comparison.detected(network(case.crop()).double())
        deform, render = list(objective.chain)[:2]
        objective.chain = Pipeline([deform, render, network])
        solver = AdjointBroyden(steps=steps, refresh=False)
        found = solver.minimize(objective, prior, self.x)
        self.x = found.x
        self.curve += [case.objective.percent(case.objective.residual(self.x))] * found.evaluations


def fit(case: Case, plan: Plan) -> dict[str, Any]:
    """One fit, and what it took."""
    fitter, began = case.fitter, time.process_time()
    problems = [Problem(case, replace(plan.derivative, rectifier=w), plan.begins) for w in plan.widths]
    course = Course(case, case.start, [])
    for width in plan.smooth:
        course.go_smoothly(width, FIRST // (len(plan.smooth) + 1), fitter.prior)
    parts = len(plan.smooth) + 1 if plan.smooth else max(len(problems) - 1, 1)
    for problem in problems[:-1] or problems:
        if plan.gradients == "late":
            course.go(solver_of(plan, FIRST // 2, course, problem, False), problem, fitter.prior)
            parts = 2
        course.go(solver_of(plan, FIRST // parts, course, problem), problem, fitter.prior)
    prior = relax_identity(fitter.prior, fitter.rig, fitter.config.priors, course.x)
    course.go(solver_of(plan, LAST, course, problems[-1]), problems[-1], prior)
    residual = case.objective.residual(course.x)
    return {
        "curve": course.curve,
        "end": case.objective.percent(residual),
        "f": objective_value(case, residual, course.x),
        "control_error": control_error(case, course.x),
        "gradients": sum(problem.objective.gradients for problem in problems),
        "extra_passes": sum(problem.passes for problem in problems),
        "jacobians": sum(problem.jacobians for problem in problems),
        "seconds": round(time.process_time() - began, 2),
    }


def solver_of(
    plan: Plan, steps: int, course: Course, problem: Problem, gradients: bool | None = None
) -> Solver:
    """Of one stage."""
    if plan.method == "LM":
        return LevenbergMarquardt(steps=steps, damping=0.1, tolerance=2e-3, patience=3)
    if plan.method == "L-BFGS":
        prior = belief(course.case)
        metric = 1 / (problem.stand_in(course.x).square().sum(0) + prior.precision)
        return LBFGS(steps=steps, metric=metric, tolerance=2e-3)
    solver = AdjointBroyden(
        steps=steps,
        gradients=bool(plan.gradients) if gradients is None else gradients,
        refresh=plan.refresh,
        correction=None if plan.refresh or plan.begins != "embedding" else course.correction,
        damping=plan.damping,
    )
    return replace(solver, search=Nielsen()) if plan.method == "Nielsen" else solver


def passes(row: dict[str, Any]) -> int:
    """Evaluations of the chain, those that only derivatives needed too."""
    return len(row["curve"]) + row["extra_passes"]


def after(row: dict[str, Any], evaluations: int) -> float:
    """The residual then; where the fit stopped earlier, at its end."""
    return row["curve"][min(evaluations, len(row["curve"])) - 1]


def table(faces: dict[str, dict[str, Any]]) -> str:
    """Markdown: means over faces."""
    head = [f"after {count}" for count in SHOWN]
    lines = [
        f"| derivative | {' | '.join(head)} | worst | f | evaluations | backward | Jacobians | seconds "
        "| controls of renders |",
        "|---" + "|--:" * (len(SHOWN) + 7) + "|",
    ]
    for name in PLANS:
        rows = [face[name] for face in faces.values() if name in face]
        if len(rows) < len(faces):
            continue
        cells = [f"{mean(after(row, count) for row in rows):.2f}" for count in SHOWN]
        cells += [f"{max(row['end'] for row in rows):.2f}", f"{mean(row['f'] for row in rows):.1f}"]
        cells.append(f"{mean(passes(row) for row in rows):.0f}")
        cells += [f"{mean(row[key] for row in rows):.0f}" for key in ("gradients", "jacobians", "seconds")]
        errors = [row["control_error"] for row in rows if row["control_error"] is not None]
        cells.append(f"{mean(errors):.3f}" if errors else "–")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", help="besides the example and the renders")
    parser.add_argument("--json", type=Path, default=RESULTS, help="raw figures; fits in there are done")
    parser.add_argument("--tables", action="store_true", help="from the figures that are there")
    parser.add_argument("--write", action="store_true", help="the table into docs/chain-rule.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces: dict[str, dict[str, Any]] = {}
    if options.json.exists():
        faces = json.loads(options.json.read_text())["faces"]
    names = () if options.tables else ("example", *RENDERS, *options.photos)
    cases = [read(name) for name in names]
    for plan in PLANS:
        for case in cases:
            if plan in faces.get(case.name, {}):
                continue
            row = faces.setdefault(case.name, {})[plan] = fit(case, PLANS[plan])
            marks = " ".join(f"{after(row, count):.3f}" for count in SHOWN)
            print(f"{case.name:14} {plan:44} {marks} f {row['f']:6.2f}", row["seconds"], flush=True)
            options.json.write_text(json.dumps({"faces": faces}) + "\n")
    print(table(faces))
    if options.write:
        write_between_markers(PAGE, "fits", table(faces))


if __name__ == "__main__":
    main()
