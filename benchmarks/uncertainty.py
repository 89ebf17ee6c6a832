"""Does the ± of a fit mean something? Renders whose controls are known, fitted with landmarks of known error.

    python benchmarks/uncertainty.py [--renders 200] [--workers 2] [--json FILE] [--set a.b=c …]

Every render shows the default rig with expressions drawn from the fit's own prior (inside their ranges) and a
head pose of a portrait. The detector reads it, errors of the size that the fit is told (`residual_percent`)
are added to its landmarks, and the fit must find expressions and pose again; identity and lens are known. If
± is right, 68 % of the true controls lie within one ± of the estimate where errors are Gaussian, and up to
76 % where an estimate stands at the end of its range.

On the first `--looked-at` renders the ± is also taken from the chain's own Jacobian, and every control is
moved from end to end in front of renderer and detector: does `unobservable` name all that moves no landmark?
"""

import argparse
import json
import multiprocessing
import platform
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from pipeline import uncertainty
from pipeline.chain import build_stand_in
from pipeline.config import Config, load_config
from pipeline.derivatives.pushed_columns import pushed_columns
from pipeline.detect.embedding import SCORED
from pipeline.detect.facemesh import FaceMesh
from pipeline.detect.region import Region
from pipeline.errors import ChainRigError
from pipeline.fit import FaceFitter
from pipeline.objective import LandmarkObjective
from pipeline.render.camera import Camera
from pipeline.result import FitResult, Picture
from pipeline.solve.priors import Prior
from pipeline.target.faces import Face, Settled
from pipeline.target.labels.labels import Labels
from pipeline.target.photo import Photo
from pipeline.target.target import Target, seen_by

SIDE, FOCAL = 512, 2000.0  # of the photo, pixels
BLANK = Photo(torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8), Path("render"), "")
TURN, SHIFT = (0.2, 0.4, 0.1), (0.015, 0.015, 0.1)  # of a portrait, at most: radians and metres
MIDDLE = (0.0, 0.035, -1.2)  # metres: about there is the origin between the eyes
CHAIN_SMOOTHING = (
    0.03  # of the detector, for the chain's Jacobian: its size is right, see docs/uncertainty.md
)
SIZES = (0.0, 0.05, 0.1, 0.2, 0.3, 1.0)  # of ±, for the table
GROUPS = ("brow", "cheek", "eyeBlink", "eyeLook", "eye", "jaw", "mouth", "nose", "tongue", "head")


class Known(FaceFitter):
    """A fitter whose photo has already been read."""

    seen: Target

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.studio.picture = self._no_picture  # type: ignore[method-assign]

    def target(self, photo: Photo, face: Face, labels: Labels | None = None) -> Target:
        return self.seen

    def _no_picture(self, *_: Any) -> Picture:
        """Nobody looks at it."""
        return Picture(torch.zeros(1, 1, 4, dtype=torch.uint8), torch.eye(2, 3))


@cache
def fitter(settings: tuple[str, ...]) -> Known:
    """Held to the default head, with the lens of the renders."""
    made = FaceFitter(load_config(None, []))
    held = [f"controls.{name}=0.0" for name in made.rig.identity_names]
    return Known(load_config(None, [*held, f"camera.focal_px={FOCAL}", *settings]))


def draw(prior: Prior, expression: slice, pose: slice, generator: torch.Generator) -> Tensor:
    """Controls `(K,)`: expressions from exp(−prior) on [0, 1], the pose of a portrait."""
    x = prior.mean.clone()
    grid = torch.linspace(0, 1, 2001).double()
    height = (
        -0.5 * prior.precision[expression, None] * grid.square() - prior.sparsity[expression, None] * grid
    )
    x[expression] = grid[torch.multinomial(height.exp(), 1, generator=generator).squeeze(-1)]
    about = torch.tensor([*TURN, *SHIFT]).double()
    x[pose] = about * (2 * torch.rand(6, generator=generator, dtype=torch.float64) - 1)
    x[pose.stop - 3 : pose.stop] += torch.tensor(MIDDLE).double()
    return x


def photograph(fit: Known, x: Tensor, generator: torch.Generator, errors: str) -> tuple[Target, Camera]:
    """What the detector reads on a render of x, with errors added, and the camera of its view.

    Errors are independent and normal, of σ√n in every coordinate: that is what the fit's objective says of
    landmarks, see pipeline/uncertainty.py. With `errors` "by landmark" they are larger where landmarks stray
    more on renders: that is what W says.
    """
    focal, middle = torch.tensor(FOCAL), torch.full((2,), SIDE / 2)
    plain = build_stand_in(fit.rig, Camera(focal, middle, size=(SIDE, SIDE)))
    with torch.no_grad():
        region = Region.around(plain(x.float()))
        camera = Camera(focal, middle, region.crop_from_photo(), (region.size, region.size))
        chain = fit.studio.chain(camera, fit.mesh)
        seen = fit.mesh.forward_full(list(chain)[1](list(chain)[0](x.float())))
    landmarks = seen.landmarks.clone()
    even = LandmarkObjective.towards(landmarks, chain, plain, fit.config.priors.residual_percent)
    share = torch.full((2 * len(SCORED),), 1 / uncertainty.DOUBT).double()
    if errors == "by landmark":
        share = uncertainty.whitening(even, fit.spread, 2 * len(SCORED))
    sd = 1 / (even.per_pixel * share).float().view(-1, 2)
    landmarks[list(SCORED), :2] += sd * torch.randn(sd.shape, generator=generator)
    read = region.map_to_photo(landmarks)
    return seen_by(fit.mesh, Settled(region, read, float(seen.presence)), (region, read)), camera


def one(task: tuple[int, tuple[str, ...], str, bool]) -> dict[str, Any]:
    """One render: truth, estimate and ± of every control that is not held."""
    index, settings, errors, looked_at = task
    torch.set_num_threads(1)
    fit = fitter(settings)
    space, generator = fit.rig.controls, torch.Generator().manual_seed(index)
    truth = draw(fit.prior, space.groups["expression"], space.groups["pose"], generator)
    fit.seen, camera = photograph(fit, truth, generator, errors)
    box = torch.tensor([0.0, 0.0, SIDE, SIDE])
    try:
        found = fit.fit(BLANK, Face(box, 1.0, torch.zeros(6, 2)))
    except ChainRigError as error:
        return {"render": index, "failed": str(error)}
    x, sd = estimate(fit, found), space.pack(found.uncertainty, space.rest.clone())
    free = [k for k in range(len(space)) if fit.prior.low[k] < fit.prior.high[k]]
    row = {
        "render": index,
        "names": [space.names[k] for k in free],
        "truth": truth[free].tolist(),
        "estimate": x[free].tolist(),
        "sd": sd[free].tolist(),
        "unobservable": [name for name in found.unobservable if space.index(name) in free],
        "residual_percent": found.residual_final,
        "status": found.status,
        "seconds": found.seconds,
    }
    if looked_at:
        row |= look(fit, x, camera, free)
    return row


def estimate(fit: Known, found: FitResult) -> Tensor:
    """X1 `(K,)` of a fit."""
    space = fit.rig.controls
    x = space.pack(found.controls | found.identity, space.rest.clone())
    x[space.groups["pose"]] = torch.tensor([*found.rotation_vector, *found.translation]).double()
    return x


def look(fit: Known, x: Tensor, camera: Camera, free: list[int]) -> dict[str, Any]:
    """± by the chain's own Jacobian, and how far each control's full range moves the detector's landmarks."""
    space = fit.rig.controls
    objective = fit.objective(fit.seen, camera)
    residual = objective.residual(x)
    weight = uncertainty.whitening(objective, fit.spread, len(residual))
    chain = fit.studio.chain(camera, FaceMesh.load(smoothing=CHAIN_SMOOTHING))
    names = [space.names[k] for k in free]
    columns = pushed_columns(chain, x.float(), {"control": names})[-1].values  # [478, 3, free]
    at = torch.tensor([space.index(name) for name in names])
    jacobian = uncertainty.cheap_jacobian(objective, fit.rig, x)
    pushed = columns[list(SCORED), :2].flatten(0, 1).double() * objective.per_pixel[:, None]
    jacobian[:, at] = pushed
    known = uncertainty.posterior(jacobian * weight[:, None], residual * weight, fit.prior, x)
    moved = []
    for k in range(space.groups["expression"].stop):
        ends = [x.clone(), x.clone()]
        ends[0][k], ends[1][k] = space.low[k], space.high[k]
        points = [objective.landmarks(end)[list(SCORED), :2] for end in ends]
        moved.append(float((points[1] - points[0]).norm(dim=-1).max()))
    return {"chain_sd": known.sd[free].tolist(), "chain_range_px": moved}


def coverage(rows: list[dict[str, Any]], which: str = "sd") -> dict[str, Any]:
    """Shares of true controls within ±1 and ±2, of the observable expressions, by group and by size of ±."""
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

    def group(name: str) -> str:
        return next(start for start in GROUPS if name.startswith(start))

    table = {"all": entries, "expression": [e for e in entries if group(e[0]) != "head"]}
    for start in GROUPS:
        table[start] = [e for e in entries if group(e[0]) == start]
    for low, high in zip(SIZES, SIZES[1:], strict=False):
        table[f"± {low} to {high}"] = [e for e in table["expression"] if low <= e[2] < high]
    return {name: shares(chosen) for name, chosen in table.items() if chosen}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renders", type=int, default=200)
    parser.add_argument("--looked-at", type=int, default=4, help="renders for the chain's own Jacobian")
    parser.add_argument("--errors", choices=("uniform", "by landmark"), default="uniform")
    parser.add_argument("--first", type=int, default=0, help="seed of the first render")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--rows", type=Path, help="keeps every render's numbers; a second run goes on there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = ("fit.derivatives=chain", *arguments.set)
    tasks = [
        (arguments.first + i, settings, arguments.errors, i < arguments.looked_at)
        for i in range(arguments.renders)
    ]
    rows = []
    if arguments.rows and arguments.rows.is_file():
        rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    done = {row["render"] for row in rows}
    tasks = [task for task in tasks if task[0] not in done]
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for row in pool.imap_unordered(one, tasks, chunksize=1):
            rows.append(row)
            if arguments.rows:
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            if len(rows) % 10 == 0:
                print(f"{len(rows)} of {arguments.renders} renders", flush=True)
    rows.sort(key=lambda row: row["render"])
    fitted = [row for row in rows if "failed" not in row]
    document = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}",
        "settings": list(settings),
        "errors": arguments.errors,
        "renders": len(rows),
        "not_fitted": len(rows) - len(fitted),
        "seconds_a_fit": mean(row["seconds"] for row in fitted),
        "coverage": coverage(fitted),
        "coverage_by_chain": coverage(fitted, "chain_sd"),
        "blind_spots": blind_spots(fitted),
    }
    for title in ("coverage", "coverage_by_chain"):
        print(f"{title:20}{'controls':>9}{'±1 sd':>8}{'±2 sd':>8}{'rms':>7}{'mean ±':>8}")
        for name, row in document[title].items():
            print(
                f"{name:20}{row['controls']:9}{row['within_1_sd']:8.3f}{row['within_2_sd']:8.3f}"
                f"{row['rms_ratio']:7.2f}{row['mean_sd']:8.3f}"
            )
    print(json.dumps(document["blind_spots"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
