"""Does the ± of a fit mean something? Renders whose controls are known, fitted with landmarks of known error.

    python benchmarks/uncertainty.py [--renders 200] [--workers 2] [--rows FILE] [--json FILE] [--set a.b=c …]

Renders are those of `known_controls.py`: heads from the fit's prior, poses, lights, skins and distances of
portraits. Their expressions are drawn

- `--truths prior` from the density that the fit believes in, with its coupling of left and right and of both
  eyes, inside their ranges, by Gibbs sampling;
- `--truths few` as `known_controls.py` does: 6 to 12 of them anywhere up to 0.8, the others 0, each side and
  each eye by itself. That is not what the fit believes, and ± is not made for it.

The detector reads the picture, errors are added to its landmarks, and the fit must find the controls again;
lens and, with `--heads known`, the head are given. Errors are normal and independent, of the size that ±
supposes (pipeline/uncertainty.py): `--errors "by landmark"`, larger where landmarks stray more on renders;
"uniform" of the same weight in sum, and "none". If ± is right, 68 % of the true controls lie within one ± of
the estimate where errors are Gaussian, and up to 76 % where an estimate stands at the end of its range.

On the first `--looked-at` renders the ± is also taken from the chain's own Jacobian, and every control is
moved from end to end in front of renderer and detector: does `unobservable` name all that moves no landmark?
`--rows` keeps every render, and a second run goes on there.
"""

import argparse
import json
import multiprocessing
import platform
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from known_controls import draw, photograph, truth_of
from torch import Tensor

from pipeline import uncertainty
from pipeline.calibrate import largest_face
from pipeline.config import load_config
from pipeline.deform.rig import Rig
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.detect.embedding import SCORED
from pipeline.detect.facemesh import FaceMesh
from pipeline.errors import ChainRigError
from pipeline.face_prior import build_prior
from pipeline.fit import FaceFitter
from pipeline.result import FitResult, Picture
from pipeline.solve.priors import Prior
from pipeline.target.faces import Face
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo
from pipeline.target.target import Target

CHAIN_SMOOTHING = (
    0.03  # of the detector, for the chain's Jacobian: its size is right, see docs/uncertainty.md
)
SIZES = (0.0, 0.05, 0.1, 0.2, 0.3, 1.0)  # of ±, for the table
GROUPS = ("brow", "cheek", "eyeBlink", "eyeLook", "eye", "jaw", "mouth", "nose", "tongue", "head")
SHAPES = "identity"  # the group of all other controls


@dataclass(frozen=True)
class Kind:
    """What is drawn, given and added, see above."""

    truths: str = "prior"
    heads: str = "known"
    errors: str = "by landmark"
    settings: tuple[str, ...] = ()


class Misread(FaceFitter):
    """Fits to landmarks that the detector has read with errors of the size that ± supposes."""

    seed = 0
    kind = "none"

    def target(self, photo: Photo, face: Face, labels: Labels | None = None) -> Target:
        target = super().target(photo, face, labels)
        self.studio.picture = self._no_picture  # type: ignore[method-assign]
        return target if self.kind == "none" else self.misread(target)

    def misread(self, target: Target) -> Target:
        """±'s own variance of a landmark is (`DOUBT` σ)² over its share of the weight."""
        compared = target.comparison
        if self.kind == "by landmark" and self.spread is not None:
            compared = compared.whitened(self.spread)
        sigma = target.iod * self.config.priors.residual_percent / 100
        sd = (uncertainty.DOUBT * sigma / compared.share.sqrt()).float()
        landmarks, noise = target.landmarks.clone(), torch.Generator().manual_seed(self.seed)
        landmarks[list(SCORED), :2] += sd[:, None] * torch.randn(len(sd), 2, generator=noise)
        return replace(
            target,
            mesh=target.mesh._replace(landmarks=landmarks),
            landmarks=landmarks,
            points=target.comparison.detected(landmarks.double()),
        )

    def _no_picture(self, *_: Any) -> Picture:
        """Nobody looks at it."""
        return Picture(torch.zeros(1, 1, 4, dtype=torch.uint8), torch.eye(2, 3))


def from_prior(prior: Prior, which: slice, noise: torch.Generator, sweeps: int = 50) -> Tensor:
    """`(E,)` float64 controls of a group, each in [0, 1], from exp(−prior): Gibbs sampling on a grid."""
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    curvature = prior.curvature(prior.mean)[which, which]
    x = torch.full((len(curvature),), 0.1, dtype=torch.float64)
    slope = prior.gradient(torch.zeros_like(prior.mean))[which]  # where all are 0
    for _ in range(sweeps):
        for k in range(len(x)):
            pull = slope[k] + curvature[k] @ x - curvature[k, k] * x[k]
            height = -0.5 * curvature[k, k] * grid.square() - pull * grid
            density = (height - height.max()).exp()
            x[k] = grid[torch.multinomial(density, 1, generator=noise)]
    return x


def one(index: int, kind: Kind, looked_at: int) -> dict[str, Any]:
    """One render: truth, estimate and ± of every control that is not held."""
    torch.set_num_threads(1)
    x, light, material, focal = draw(index)
    config = load_config(None, [*kind.settings, f"camera.focal_px={focal}"])
    if kind.truths == "prior":
        rig = Rig.load()
        expression = rig.controls.groups["expression"]
        noise = torch.Generator().manual_seed(index)
        x[expression] = from_prior(build_prior(rig, config.priors, {}), expression, noise)
    if kind.heads == "known":
        config = config.model_copy(update={"controls": config.controls | (truth_of(x).identity or {})})
    photo, fit = photograph(x, light, material, focal), Misread(config)
    fit.seed, fit.kind = index, kind.errors
    try:
        face = largest_face(photo)[1]
        found = fit.fit(photo, face)
    except ChainRigError as error:
        return {"render": index, "failed": str(error)}
    space = fit.rig.controls
    at, sd = estimate(fit, found), space.pack(found.uncertainty, space.rest.clone())
    free = [k for k in range(len(space)) if fit.prior.low[k] < fit.prior.high[k]]
    row = {
        "render": index,
        "names": [space.names[k] for k in free],
        "truth": x[free].tolist(),
        "estimate": at[free].tolist(),
        "sd": sd[free].tolist(),
        "unobservable": [name for name in found.unobservable if space.index(name) in free],
        "residual_percent": found.residual_final,
        "status": found.status,
        "seconds": found.seconds,
    }
    if index < looked_at:
        row |= look(fit, photo, face, at, free)
    return row


def estimate(fit: FaceFitter, found: FitResult) -> Tensor:
    """X1 `(K,)` of a fit."""
    space = fit.rig.controls
    x = space.pack(found.controls | found.identity, space.rest.clone())
    x[space.groups["pose"]] = torch.tensor([*found.rotation_vector, *found.translation]).double()
    return x


def look(fit: Misread, photo: Photo, face: Face, x: Tensor, free: list[int]) -> dict[str, Any]:
    """± by the chain's own Jacobian, and how far each control's full range moves the detector's landmarks."""
    space, target = fit.rig.controls, fit.target(photo, face)
    camera = fit.camera(photo, target)
    objective = fit.objective(target, camera)
    seen_as = fit.dress(photo, target, camera, objective, x)
    residual = objective.residual(x)
    weight = uncertainty.whitening(objective, fit.spread, len(residual))
    chain = fit.studio.chain(camera, FaceMesh.load(smoothing=CHAIN_SMOOTHING), seen_as)
    names = [space.names[k] for k in free]
    columns = pushed_columns(chain, x.float(), {"control": names})[-1].values  # [478, 3, free]
    at = torch.tensor([space.index(name) for name in names])
    jacobian = uncertainty.cheap_jacobian(objective, fit.rig, x)
    pushed = columns[list(SCORED), :2].flatten(0, 1).double() * objective.per_pixel[:, None]
    jacobian[:, at] = pushed
    prior = uncertainty.belief(fit.prior, fit.rig, fit.config.priors)
    known = uncertainty.posterior(jacobian * weight[:, None], residual * weight, prior, x)
    moved = []
    for k in range(space.groups["expression"].stop):
        ends = [x.clone(), x.clone()]
        ends[0][k], ends[1][k] = space.low[k], space.high[k]
        points = [objective.landmarks(end)[list(SCORED), :2] for end in ends]
        moved.append(float((points[1] - points[0]).norm(dim=-1).max()))
    return {"chain_sd": known.sd[free].tolist(), "chain_range_px": moved}


def coverage(rows: list[dict[str, Any]], which: str = "sd") -> dict[str, Any]:
    """Shares of true controls within ±1 and ±2, of those that can be seen, by group and by size of ±."""
    entries = [
        (name, abs(truth - found) / sd, sd)
        for row in rows
        if which in row
        for name, truth, found, sd in zip(
            row["names"], row["truth"], row["estimate"], row[which], strict=True
        )
        if name not in row["unobservable"]
    ]

    def shares(chosen: list[tuple[str, float, float]]) -> dict[str, float]:
        return {
            "controls": len(chosen),
            "within_1_sd": mean(ratio <= 1 for _, ratio, _ in chosen),
            "within_2_sd": mean(ratio <= 2 for _, ratio, _ in chosen),
            "rms_ratio": mean(ratio**2 for _, ratio, _ in chosen) ** 0.5,
            "mean_sd": mean(sd for _, _, sd in chosen),
        }

    groups = {start: [e for e in entries if group(e[0]) == start] for start in (*GROUPS, SHAPES)}
    identity, pose = groups.pop(SHAPES), groups["head"]
    expression = [e for start in GROUPS for e in groups[start] if start != "head"]
    table = {"all but identity": expression + pose, "expression": expression, **groups, SHAPES: identity}
    for low, high in zip(SIZES, SIZES[1:], strict=False):
        table[f"± {low} to {high}"] = [e for e in expression if low <= e[2] < high]
    return {name: shares(chosen) for name, chosen in table.items() if chosen}


@cache
def shapes() -> frozenset[str]:
    """The names of identity's controls."""
    return frozenset(Rig.load().identity_names)


def group(name: str) -> str:
    """Of a control."""
    if name in shapes():
        return SHAPES
    return next(start for start in GROUPS if name.startswith(start))


def blind_spots(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether `unobservable` names each control that moves no landmark of the detector, and which others."""
    looked = [row for row in rows if "chain_range_px" in row]
    still = [
        (row["render"], name)
        for row in looked
        for name, px in zip(row["names"], row["chain_range_px"], strict=False)  # expressions come first
        if px < uncertainty.VISIBLE_PX
    ]
    named = {(row["render"], name) for row in looked for name in row["unobservable"]}
    return {
        "renders": len(looked),
        "still_for_the_chain": len(still),
        "of_them_not_named": [list(one) for one in still if one not in named],
        "named_though_they_move": sorted({name for render, name in named if (render, name) not in still}),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rows come to."""
    fitted = [row for row in rows if "failed" not in row]
    return {
        "renders": len(rows),
        "not_fitted": len(rows) - len(fitted),
        "residual_percent_mean": mean(row["residual_percent"] for row in fitted),
        "seconds_a_fit": mean(row["seconds"] for row in fitted),
        "coverage": coverage(fitted),
        "coverage_by_chain": coverage(fitted, "chain_sd"),
        "blind_spots": blind_spots(fitted),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renders", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first render")
    parser.add_argument("--truths", choices=("prior", "few"), default="prior")
    parser.add_argument("--heads", choices=("known", "unknown"), default="known")
    parser.add_argument("--errors", choices=("by landmark", "uniform", "none"), default="by landmark")
    parser.add_argument("--looked-at", type=int, default=4, help="renders for the chain's own Jacobian")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--rows", type=Path, help="keeps every render's numbers; a second run goes on there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kind = Kind(arguments.truths, arguments.heads, arguments.errors, tuple(arguments.set))
    rows: list[dict[str, Any]] = []
    if arguments.rows and arguments.rows.is_file():
        rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    done = {row["render"] for row in rows}
    seeds = range(arguments.first, arguments.first + arguments.renders)
    todo = [seed for seed in seeds if seed not in done]
    work = partial(one, kind=kind, looked_at=arguments.first + arguments.looked_at)
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for row in pool.imap_unordered(work, todo):
            rows.append(row)
            if arguments.rows:
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            print(f"{len(rows)} of {arguments.renders} renders", flush=True)
    document = asdict(kind) | summary(sorted(rows, key=lambda row: row["render"]))
    for title in ("coverage", "coverage_by_chain"):
        print(f"{title:20}{'controls':>9}{'±1 sd':>8}{'±2 sd':>8}{'rms':>7}{'mean ±':>8}")
        for name, row in document[title].items():
            print(
                f"{name:20}{row['controls']:9}{row['within_1_sd']:8.3f}{row['within_2_sd']:8.3f}"
                f"{row['rms_ratio']:7.2f}{row['mean_sd']:8.3f}"
            )
    print(json.dumps(document["blind_spots"]))
    if arguments.json:
        about = {
            "date": datetime.now(timezone.utc).date().isoformat(),
            "machine": f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}",
        }
        text = json.dumps(about | document, indent=1, ensure_ascii=False)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
