"""What the flesh of the default head does how right its derivative is: the figures of docs/quasistatics.md.

    PYTHONPATH=.:tests OMP_NUM_THREADS=1 python benchmarks/quasistatic.py [--json FILE] [--parts PART...]

Times are of the processor (`time.process_time`), on one thread.
"""

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flesh_block import block, random_like  # pyright: ignore[reportMissingImports]  # tests' own
from scipy.spatial import KDTree
from torch import Tensor
from unrolled_flesh import unrolled  # pyright: ignore[reportMissingImports]
from winding import inside_themselves  # pyright: ignore[reportMissingImports]

from pipeline.deform.deform import Deformer
from pipeline.deform.quasistatic.closest_point import closest_barycentric, nearest_triangle
from pipeline.deform.quasistatic.deformer import QuasistaticDeformer
from pipeline.deform.quasistatic.equilibrium import equilibrium
from pipeline.deform.quasistatic.flesh import Drive, imbalance
from pipeline.deform.quasistatic.solver import EquilibriumSolver
from pipeline.deform.rig import Rig

RESULT = Path("benchmarks/results/quasistatic.json")
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of jawOpen and of mouthClose
MOUTH_M = 0.008  # beside the lips' facing surfaces, where skin is looked at
LIDS = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
JUMPS = (
    LIDS,
    {"jawOpen": 1.0},
    {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    {"mouthPucker": 1.0},
    {"browInnerUp": 1.0},
)


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    value = function()
    return value, time.process_time() - start


def depth_mm(vertices: Tensor, inside: np.ndarray, other: np.ndarray) -> float:
    """The longest way out for vertices inside of the other lip."""
    if not len(inside):
        return 0.0
    points, corners = vertices[torch.from_numpy(inside)], vertices[torch.from_numpy(other)]
    nearest = corners[nearest_triangle(points, corners)]
    weights = closest_barycentric(points, nearest)
    return float(((weights[:, None] @ nearest)[:, 0] - points).norm(dim=1).max() * 1e3)


class Head:
    """The default head with flesh, and without."""

    def __init__(self) -> None:
        self.rig = Rig.load().to(dtype=torch.float64)
        self.layer, self.build_s = timed(lambda: QuasistaticDeformer(self.rig))
        self.plain = Deformer(self.rig)
        self.skin = self.rig.triangles[self.rig.part_of_triangle == self.rig.part_names.index("skin")].numpy()

    def controls(self, **values: float) -> Tensor:
        return self.rig.controls.pack(values, self.rig.controls.rest)

    def solve(self, **values: float) -> tuple[Tensor, dict[str, Any]]:
        vertices, seconds = timed(lambda: self.layer(self.controls(**values)))
        return vertices, {"seconds": seconds, **self.work()}

    def work(self) -> dict[str, Any]:
        """Of the latest solve."""
        last = self.layer.solver.last
        keys = ("residual", "iterations", "projections", "factorizations")
        return {key: getattr(last, key) for key in keys}

    def volumes(self, **values: float) -> np.ndarray:
        """(T,) m³ of the tetrahedra at the latest equilibrium, which must be that of these controls."""
        drive = self.layer.drive(self.controls(**values), torch.eye(3, dtype=torch.float64))[1]
        nodes = np.concatenate([self.layer.solver.last.x, drive.driven.numpy()])
        corners = nodes[self.layer.drive.flesh.tets]
        edges = corners[:, 1:] - corners[:, :1]
        return np.einsum("ti,ti->t", edges[:, 0], np.cross(edges[:, 1], edges[:, 2])) / 6


def shell(head: Head) -> dict[str, Any]:
    made, flesh = head.layer.drive.shell, head.layer.drive.flesh
    shares = (0, 5, 25, 50, 75, 100)
    thickness = np.percentile(made.thickness * 1e3, shares).tolist()
    head.solve()
    return {
        "tetrahedra": len(flesh.tets),
        "unknowns": 3 * flesh.free,
        "thickness_mm": dict(zip(map(str, shares), thickness, strict=True)),
        "volume_cm3": float(head.volumes().sum() * 1e6),
        "build_s": head.build_s,
    }


def volume(head: Head) -> dict[str, Any]:
    head.solve()
    before = head.volumes()
    head.solve(jawOpen=1.0)
    after = head.volumes(jawOpen=1.0)
    return {"change": float(after.sum() / before.sum() - 1), "inverted": int((after <= 0).sum())}


def lips(head: Head) -> list[dict[str, Any]]:
    """Skin of the mouth inside of flesh, and how deep lips are in each other: before and at equilibrium."""
    contacts, rest = head.layer.drive.contacts.lips, head.rig.rest.numpy()
    own, skin = np.union1d(contacts.upper, contacts.lower), np.unique(head.skin)
    looked_at = skin[KDTree(rest[own]).query(rest[skin])[0] < MOUTH_M]
    rows = []
    for opening, closing in itertools.product(STEPS, STEPS):
        values = {"jawOpen": opening, "mouthClose": closing}
        head.layer.solver.forget()
        at, solved = head.solve(**values)
        row: dict[str, Any] = {**values, "of": len(looked_at), **solved}
        for name, v in (("before", head.plain(head.controls(**values))), ("after", at.detach())):
            parts = np.array_split(looked_at, 8)  # less memory
            inside = np.concatenate([part[inside_themselves(v.numpy(), head.skin, part)] for part in parts])
            row[name] = len(inside)
            row[f"{name}_mm"] = max(
                depth_mm(v, np.intersect1d(inside, contacts.upper), contacts.triangles[1]),
                depth_mm(v, np.intersect1d(inside, contacts.lower), contacts.triangles[0]),
            )
        rows.append(row)
        print(rows[-1], flush=True)
    return rows


def lids(head: Head) -> dict[str, Any]:
    """How deep vertices of the lids come into the balls, deeper than they are at rest: mm."""
    contacts = head.layer.drive.contacts
    head.layer.solver.forget()
    at, solved = head.solve(**LIDS)
    plain = head.plain(head.controls(**LIDS))
    obstacles = contacts(plain, head.rig.rest)
    near = head.layer.drive.skin[torch.from_numpy(contacts.touching.ball_nodes)]
    row: dict[str, Any] = dict(solved)
    for name, v in (("before", plain), ("after", at)):
        depth = obstacles.ball_radius - (v[near] - obstacles.ball_centre).norm(dim=-1)
        row[name], row[f"{name}_mm"] = int((depth > 1e-4).sum()), float(depth.max().clamp(min=0) * 1e3)
    return row


def jumps(head: Head) -> list[dict[str, Any]]:
    """Solves from the blendshapes' skin, without any solve before."""
    rows = []
    for values in JUMPS:
        head.layer.solver.forget()
        rows.append({"controls": " ".join(values), **head.solve(**values)[1]})
        print(rows[-1], flush=True)
    return rows


def times(head: Head) -> dict[str, Any]:
    """Steps of a fit: controls that move by some hundredths from solve to solve."""
    rows = []
    generator = torch.Generator().manual_seed(0)
    x = head.controls(jawOpen=0.2, mouthSmileLeft=0.3, mouthSmileRight=0.25, browInnerUp=0.2)
    expressions = head.rig.controls.groups["expression"]
    for _ in range(8):
        step = 0.03 * torch.randn(52, generator=generator, dtype=torch.float64)
        x = x.clone()
        x[expressions] = (x[expressions] + step).clamp(0, 1)
        x.requires_grad_()
        vertices, forward = timed(lambda x=x: head.layer(x))
        weights = torch.randn(vertices.shape, generator=generator, dtype=torch.float64)
        _, backward = timed(lambda v=vertices, w=weights: (v * w).sum().backward())
        rows.append({"forward_s": forward, "backward_s": backward, **head.work()})
        x = x.detach()
        print(rows[-1], flush=True)
    return {"steps": rows, "mean": {k: float(np.mean([r[k] for r in rows[1:]])) for k in rows[0]}}


def slopes(rig: Rig, tolerance: float, h: float) -> dict[str, Any]:
    """The derivative of a random function of the skin along a random direction of the controls."""
    layer = QuasistaticDeformer(rig, tolerance=tolerance)
    exact = QuasistaticDeformer(rig, tolerance=1e-12)
    generator = torch.Generator().manual_seed(1)
    base = {
        "jawOpen": 0.35,
        "mouthSmileLeft": 0.4,
        "mouthSmileRight": 0.2,
        "browDownLeft": 0.3,
        "gender": 0.3,
    }
    x = rig.controls.pack(base, rig.controls.rest)
    along = torch.zeros_like(x)
    along[: rig.controls.groups["pose"].start] = torch.randn(
        rig.controls.groups["pose"].start, generator=generator, dtype=torch.float64
    )
    weights = torch.randn(len(rig.rest), 3, generator=generator, dtype=torch.float64)
    x = x.requires_grad_()
    slope = float((torch.autograd.grad((layer(x) * weights).sum(), x)[0] * along).sum())
    x = x.detach()
    there = [float((exact(x + sign * h * along) * weights).sum()) for sign in (1, -1)]
    difference = (there[0] - there[1]) / (2 * h)
    return {
        "tolerance": tolerance,
        "slope": slope,
        "difference": difference,
        "error": abs(slope / difference - 1),
    }


def unrolling() -> list[dict[str, Any]]:
    """Errors of derivatives of a random function of the block's equilibrium by the muscles' targets.

    Each row stops a solver with linear convergence at one tolerance, from the undeformed block and from
    0.01 mm beside the solution, and takes the derivative of its steps; the implicit one at the same x; and
    the implicit one after a Newton step, as the layer takes it where x is solved for loosely.
    """
    flesh, drive = block()
    start, weights = drive.rest[: flesh.free], random_like(drive.rest[: flesh.free], 5)
    solver = EquilibriumSolver(flesh, 1e-13)

    def gradient(of: Callable[[Drive], Tensor]) -> Tensor:
        target = drive.target.clone().requires_grad_()
        value = (of(drive._replace(target=target)) * weights).sum()
        return torch.autograd.grad(value, target)[0] if value.requires_grad else torch.zeros_like(target)

    def hessian(x: Tensor) -> Tensor:
        blocks = torch.func.jacrev(lambda x: imbalance(x, drive, flesh).flatten())(x)
        return blocks.reshape(x.numel(), -1)

    def implicit(x: Tensor) -> Tensor:
        adjoint = torch.linalg.solve(hessian(x), weights.flatten()).reshape(x.shape)
        return -gradient(lambda drive: imbalance(x, drive, flesh) * adjoint / weights)

    def error(found: Tensor) -> float:
        return float((found - exact).norm() / exact.norm())

    exact = gradient(lambda drive: equilibrium(drive, start, solver))
    solution = equilibrium(drive, start, solver)
    matrix, rows = 2 * hessian(solution), []
    for tolerance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8):
        row: dict[str, Any] = {"tolerance": tolerance}
        for name, begin in (("cold", start), ("warm", solution + 1e-5 * random_like(start))):
            x, steps = unrolled(drive, flesh, begin, matrix, tolerance)
            by_steps = gradient(lambda drive, b=begin, t=tolerance: unrolled(drive, flesh, b, matrix, t)[0])
            step = torch.linalg.solve(hessian(x), imbalance(x, drive, flesh).flatten()).reshape(x.shape)
            row[name] = {
                "steps": steps,
                "unrolled": error(by_steps),
                "implicit": error(implicit(x)),
                "refined": error(implicit(x - step)),
            }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, default=RESULT)
    parser.add_argument("--parts", nargs="+", help="only these, beside what the file has of the others")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = Head()
    QuasistaticDeformer(head.rig)  # compiled now
    result: dict[str, Any] = json.loads(options.json.read_text()) if options.parts else {}
    result |= {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    for name, part in {
        "unrolling": unrolling,
        "shell": lambda: shell(head),
        "times": lambda: times(head),
        "slopes": lambda: [slopes(head.rig, tolerance, 1e-5) for tolerance in (1e-11, 1e-4, 1e-3)],
        "volume": lambda: volume(head),
        "lids": lambda: lids(head),
        "jumps": lambda: jumps(head),
        "lips": lambda: lips(head),
    }.items():
        if options.parts and name not in options.parts:
            continue
        result[name] = part()
        print(name, result[name], flush=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
