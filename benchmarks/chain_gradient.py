"""Is the backpropagated gradient of the whole chain right? Finite differences half-way through a fit.

    python benchmarks/chain_gradient.py [--kept] [--json FILE] [--write]

At the controls half-way through the fit of the example photo, the gradient of f̂ (the landmark term) over
pose and expressions is compared with central differences of the chain supersampled 4×4. The chain is rough at
small steps (the detector's kinks, samples crossing outlines) and curved at large ones, so the step of each
control is chosen on the differences' own plateau: the two neighbouring steps that agree best, whatever
backpropagation says.

Gradients are scaled by what a control does in photographs: an expression by its range (1), rotations by
0.5 rad, translations by 5 cm. `--write` keeps the controls for tests/test_chain_gradient.py, `--kept` takes
those.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import assets
from pipeline.config import Config, load_config
from pipeline.deform.rig import Rig
from pipeline.fit import FaceFitter
from pipeline.objective import LandmarkObjective
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

STEPS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)  # of a control's scale
HALFWAY = Path(__file__).parent.parent / "tests" / "data" / "halfway_controls.json"
LARGE = 0.05  # of the largest scaled derivative: below that, relative errors say nothing


def scales(rig: Rig) -> Tensor:
    """`(K,)` float64."""
    space = rig.controls
    scale = torch.ones(len(space)).double()
    pose = space.groups["pose"]
    scale[pose] = torch.tensor([0.5] * 3 + [0.05] * 3).double()
    return scale


def objective_for(samples: int) -> LandmarkObjective:
    """f̂ of the example photo, the detector's own derivative, `samples`² samples a pixel."""
    fitter = FaceFitter(
        load_config(None, [f"render.samples={samples}", "fit.detector_smoothing=0", "landmarks.whiten=false"])
    )
    photo = read_photo(assets.path("example.png"))
    target = fitter.target(photo, find_faces(photo.pixels)[0])
    return fitter.objective(target, fitter.camera(photo, target))


def halfway() -> Tensor:
    """The controls `(K,)` after half of the steps of the default fit of the example photo."""
    fitter = FaceFitter(load_config(None, [f"fit.iterations={Config().fit.iterations // 2}"]))
    photo = read_photo(assets.path("example.png"))
    target = fitter.target(photo, find_faces(photo.pixels)[0])
    camera = fitter.camera(photo, target)
    objective = fitter.objective(target, camera)
    start = fitter.warm_start(objective, fitter.first_guess(target, camera))
    return fitter.solve(objective, start, lambda residual: None)[0].x


def backpropagated(objective: LandmarkObjective, x: Tensor) -> Tensor:
    """∂f̂/∂x `(K,)`."""
    residual, vjp = objective.residual_and_vjp(x)
    return vjp(residual)


def finite_differences(objective: LandmarkObjective, x: Tensor, columns: list[int], scale: Tensor) -> Tensor:
    """Scaled central differences `(columns, steps)` of f̂."""

    def value(x: Tensor) -> float:
        return 0.5 * float(objective.residual(x).square().sum())

    table = torch.zeros(len(columns), len(STEPS)).double()
    for row, column in enumerate(columns):
        for k, step in enumerate(STEPS):
            d = torch.zeros_like(x)
            d[column] = step * scale[column]
            table[row, k] = (value(x + d) - value(x - d)) / (2 * step)
    return table


def plateau(table: Tensor) -> Tensor:
    """The mean of the two neighbouring steps that agree best: `(columns, steps)` → `(columns,)`."""
    left, right = table[:, :-1], table[:, 1:]
    apart = (left - right).abs() / (left.abs() + right.abs()).clamp(min=1e-12)
    best = apart.argmin(1, keepdim=True)
    return ((left + right) / 2).gather(1, best).squeeze(1)


def compare(gradient: Tensor, reference: Tensor) -> tuple[float, float, int]:
    """Cosine, median relative error over the large derivatives, and their number."""
    large = reference.abs() >= LARGE * reference.abs().max()
    error = ((gradient - reference).abs() / reference.abs())[large]
    return (
        float(functional.cosine_similarity(gradient, reference, dim=0)),
        float(error.median()),
        int(large.sum()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the controls for the test")
    parser.add_argument("--kept", action="store_true", help="at the controls kept for the test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rig = Rig.load()
    space, scale = rig.controls, scales(rig)
    x = space.pack(json.loads(HALFWAY.read_text()), space.rest.clone()) if arguments.kept else halfway()
    if arguments.write:
        HALFWAY.write_text(json.dumps(space.unpack(x), indent=1) + "\n")
    columns = list(range(space.groups["expression"].stop)) + list(
        range(*space.groups["pose"].indices(len(space)))
    )
    fine = objective_for(4)
    table = finite_differences(fine, x, columns, scale)
    reference = plateau(table)
    report: dict = {
        "residual_percent_iod": fine.percent(fine.residual(x)),
        "steps": STEPS,
        "controls": {},
    }
    gradients = {samples: (backpropagated(objective_for(samples), x) * scale)[columns] for samples in (2, 4)}
    for samples, gradient in gradients.items():
        cosine, error, large = compare(gradient, reference)
        report[f"{samples}x{samples}"] = {"cosine": cosine, "median_relative_error": error, "large": large}
        print(
            f"{samples}×{samples} samples: cosine {cosine:.3f}, "
            f"median relative error {error:.3f} of {large} controls"
        )
    print(f"{'control':22}{'differences':>12}{'4×4':>9}{'2×2':>9}   at steps {STEPS}")
    for row in reference.abs().argsort(descending=True).tolist():
        name = space.names[columns[row]]
        differences, at4, at2 = float(reference[row]), float(gradients[4][row]), float(gradients[2][row])
        report["controls"][name] = {
            "differences": differences, "4x4": at4, "2x2": at2, "by_step": table[row].tolist(),
        }  # fmt: skip
        if abs(differences) >= LARGE * float(reference.abs().max()):
            steps = " ".join(f"{value:.0f}" for value in table[row].tolist())
            print(f"{name:22}{differences:12.1f}{at4:9.1f}{at2:9.1f}   {steps}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
