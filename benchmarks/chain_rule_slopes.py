"""What a derivative of the chain says about a useful step: the slopes of docs/chain-rule.md.

    python benchmarks/chain_rule_slopes.py [PHOTO …] [--write] [--json FILE]   # the example, renders, photos

At the warm start of every face, expressions are moved by 0.1 and 0.3, rotations by 2° and 5°, translations by
3 mm and 1 cm, one control at a time. J d, by every derivative, is compared with what the landmarks really do:

- columns: cosine of J d and r(x + d) − r(x), and the part of the true change that J d has along it (1 is
  right), medians over the moves that move landmarks by 0.1 % IOD or more;
- gradient: cosine of Jᵀr with what secants of the same steps say, all 58 controls scaled by their steps;
- step: which part of f is taken away by the best of three damped Gauss–Newton steps with J.

Secants of the smaller steps, 58 evaluations of the chain, are what the columns could be at best.

r are the landmarks as the fit weighs them. After every face the raw figures are written.
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from chain_rule_derivatives import Derivative, Differentiated, grains, jitters, scales, shifts
from chain_rule_faces import Case, read
from stations import write_between_markers
from torch import Tensor

from pipeline.solve.quadratic_model import damped_step, normal_matrix

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "chain_rule_slopes.json"
PAGE = ROOT / "docs" / "chain-rule.md"
STEPS = {"": (0.1, 0.3), "rad": (math.radians(2), math.radians(5)), "m": (0.003, 0.01)}
SEEN = 0.1  # % IOD
DAMPINGS = (0.1, 1.0, 10.0)
RENDERS = ("render 1000",)
STAND_IN = "stand-in alone"

DERIVATIVES: dict[str, Derivative] = {
    "at the point": Derivative(rectifier=0.0),
    **{f"rectifiers {width}": Derivative(rectifier=width) for width in (0.03, 0.1, 0.2, 0.3, 0.5, 1.0)},
    "pools 0.3": Derivative(rectifier=0.0, pool=0.3),
    "rectifiers 0.1, pools 0.3": Derivative(rectifier=0.1, pool=0.3),
    "4 shifts up to 1 px": Derivative(rectifier=0.0, draws=shifts(4, 1.0)),
    "4 shifts up to 1 px, rectifiers 0.1": Derivative(rectifier=0.1, draws=shifts(4, 1.0)),
    "4 scales up to 2 %": Derivative(rectifier=0.0, draws=scales(4, 0.02)),
    "4 grains of 0.05": Derivative(rectifier=0.0, draws=grains(4, 0.05)),
    "4 grains of 0.05, rectifiers 0.1": Derivative(rectifier=0.1, draws=grains(4, 0.05)),
    "4 jitters of the controls": Derivative(rectifier=0.0, draws=jitters(4, 1.0)),
    "4 jitters, rectifiers 0.1": Derivative(rectifier=0.1, draws=jitters(4, 1.0)),
    **{f"{n} × {n} samples": Derivative(rectifier=0.0, samples=n) for n in (1, 4)},
    "4 × 4 samples, rectifiers 0.1": Derivative(rectifier=0.1, samples=4),
    "rectifiers 0.1, half of the stand-in": Derivative(0.1, share=0.5, pose_share=0.5),
    "rectifiers 0.1, the pose of the stand-in": Derivative(0.1, pose_share=0.0),
    STAND_IN: Derivative(share=0.0, pose_share=0.0),
}
SECANTS = "secants of 0.1"


@dataclass
class Move:
    """A step of one control.

    Attributes:
        unit: of the control.
        large: the larger of its two steps.
        column: number of the control among those that are moved.
        length: of the step, with its sign.
        true: `(2M,)` r(x + d) − r(x).
        percent: how far it moves landmarks on average, % IOD.
    """

    control: str
    unit: str
    large: bool
    column: int
    length: float
    true: Tensor
    percent: float


def moves(case: Case) -> tuple[Tensor, list[Move]]:
    """r at the start, and what it does over the steps."""
    space, objective = case.fitter.rig.controls, case.objective
    here, found = objective.residual(case.start), []
    chosen = [i for i, control in enumerate(space.controls) if control.group != "identity"]
    for column, i in enumerate(chosen):
        control = space.controls[i]
        for large, step in enumerate(STEPS[control.unit]):
            there = case.start.clone()
            there[i] += step if there[i] + step <= control.high else -step
            true = objective.residual(there) - here
            moved = objective.percent(true)
            length = float(there[i] - case.start[i])
            found.append(Move(control.name, control.unit, bool(large), column, length, true, moved))
    return here, found


def judged(columns: Tensor, here: Tensor, made: list[Move]) -> dict[str, Any]:
    """Columns `(2M, 58)` against the moves: cosine and length of each, and of the gradient."""
    found: dict[str, Any] = {"cosine": [], "length": []}
    for large, size in ((False, "small"), (True, "large")):
        of_size = [move for move in made if move.large == large]
        told = torch.stack([here @ columns[:, move.column] * move.length for move in of_size])
        true = torch.stack([here @ move.true for move in of_size])
        found[f"gradient_{size}"] = float(told @ true / (told.norm() * true.norm()))
        found[f"gradient_length_{size}"] = float(told @ true / true.square().sum())
    for move in made:
        told, true = columns[:, move.column] * move.length, move.true
        product = told @ true
        found["cosine"].append(round(float(product / (told.norm() * true.norm()).clamp(min=1e-12)), 4))
        found["length"].append(round(float(product / true.square().sum().clamp(min=1e-12)), 4))
    return found


def one_step(case: Case, columns: Tensor, here: Tensor) -> float:
    """The part of f that the best of three damped Gauss–Newton steps takes away; f has the fit's first prior.

    Identity stands still.
    """
    objective, prior, space = case.objective, case.fitter.prior, case.fitter.rig.controls
    free = torch.tensor([control.group != "identity" for control in space.controls])
    jacobian = torch.zeros(len(here), len(free)).double()
    jacobian[:, free] = columns
    hessian = normal_matrix(jacobian, torch.ones_like(here), prior, case.start)
    gradient = jacobian.T @ here + prior.gradient(case.start)

    def value(x: Tensor) -> float:
        return 0.5 * float(objective.residual(x).square().sum()) + float(prior.value(x))

    before = value(case.start)
    after = []
    for damping in DAMPINGS:
        d = damped_step(prior, case.start, hessian, gradient, damping, free)
        after.append(value(prior.project(case.start + d)))
    return 1 - min(after) / before


def measure(case: Case, names: list[str]) -> dict[str, Any]:
    """Everything of one face, by derivative."""
    free = [control.group != "identity" for control in case.fitter.rig.controls.controls]
    directions = torch.eye(len(free)).double()[torch.tensor(free)]
    here, made = moves(case)
    pixels: dict[object, Tensor] = {}  # ∂X3/∂X1, which many derivatives share
    kept: dict[Derivative, Tensor] = {}
    stand_in = case.objective.stand_in(case.start) @ directions.T
    found: dict[str, Any] = {}
    for name in [*names, SECANTS]:
        began = time.process_time()
        if name == SECANTS:
            columns = torch.stack([move.true / move.length for move in made if not move.large], 1)
        else:
            derivative = DERIVATIVES[name]
            whole, problem = replace(derivative, share=1.0, pose_share=1.0), Differentiated(case, derivative)
            share = directions @ problem.share
            if whole not in kept and bool(share.any()):
                kept[whole] = Differentiated(case, whole).columns(case.start, directions, pixels)
            columns = share * kept.get(whole, stand_in) + (1 - share) * stand_in
        found[name] = judged(columns, here, made) | {
            "one_step": one_step(case, columns, here),
            "seconds": round(time.process_time() - began, 2),
        }
        print(f"{case.name:12} {name:42} {found[name]['one_step']:.0%}", flush=True)
    told = [{"control": m.control, "large": m.large, "percent": round(m.percent, 4)} for m in made]
    return {"moves": told, "derivatives": found}


def summary(faces: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Medians over the moves that can be seen, and the worst tenth's cosine; means over faces."""
    out: dict[str, float] = {}
    of = [face["derivatives"][name] for face in faces]
    for large, size in ((False, "small"), (True, "large")):
        seen: dict[str, list[float]] = {"cosine": [], "length": []}
        for face, one in zip(faces, of, strict=True):
            for k, move in enumerate(face["moves"]):
                if move["large"] == large and move["percent"] >= SEEN:
                    for key, values in seen.items():
                        values.append(one[key][k])
        out |= {f"{key}_{size}": statistics.median(values) for key, values in seen.items()}
        out[f"worst_{size}"] = statistics.quantiles(seen["cosine"], n=10)[0]
        out[f"gradient_{size}"] = statistics.mean(one[f"gradient_{size}"] for one in of)
    out["one_step"] = statistics.mean(one["one_step"] for one in of)
    return out


def table(faces: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| derivative | passes | cosine 0.1 | 0.3 | worst tenth 0.1 | 0.3 | length 0.1 | 0.3 "
        "| gradient 0.1 | 0.3 | one step |",
        "|---" + "|--:" * 10 + "|",
    ]
    for name in [*DERIVATIVES, SECANTS]:
        of = summary(list(faces.values()), name)
        keys = ("cosine", "worst", "length", "gradient")
        cells = [f"{of[f'{key}_{size}']:.2f}" for key in keys for size in ("small", "large")]
        lines.append(f"| {name} | {passes(name)} | {' | '.join(cells)} | {of['one_step']:.0%} |")
    return "\n".join(lines)


def passes(name: str) -> str:
    """Of the chain, for one derivative."""
    if name == SECANTS:
        return "58"
    derivative = DERIVATIVES[name]
    return str(len(derivative.draws) if derivative.share else 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", help="besides the example and the renders")
    parser.add_argument("--json", type=Path, default=RESULTS, help="raw figures; faces in there are done")
    parser.add_argument("--tables", action="store_true", help="from the figures that are there")
    parser.add_argument("--write", action="store_true", help="the table into docs/chain-rule.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces: dict[str, dict[str, Any]] = {}
    if options.json.exists():
        faces = json.loads(options.json.read_text())["faces"]
    for name in () if options.tables else ("example", *RENDERS, *options.photos):
        if Path(name).stem not in faces:
            case = read(name)
            faces[case.name] = measure(case, list(DERIVATIVES))
            options.json.write_text(json.dumps({"faces": faces}) + "\n")
    print(table(faces))
    if options.write:
        write_between_markers(PAGE, "slopes", table(faces))


if __name__ == "__main__":
    main()
