"""Renders of the default rig whose controls are known: how close does a fit come?

    python benchmarks/known_controls.py [--renders 100] [--identity known|unknown] [--set a.b=c …]

Each render shows 6 to 12 expression controls between 0 and 0.8 (never both of an exclusive pair), a head
drawn from the prior of identities, a pose within ±25° of yaw, 15° of pitch and 10° of roll, a light and a
skin, and is read like a photograph: found, settled, fitted. The focal length is known, as from an EXIF.
Errors of expressions are over those that the photo can show (`unobservable` of the fit left out).
"""

import argparse
import json
import math
import multiprocessing
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache, partial
from pathlib import Path
from typing import Any

import roma
import torch
from torch import Tensor

from pipeline.appearance_prior import LIMIT, UNKNOWNS, decode
from pipeline.chain import build_renderer
from pipeline.config import load_config
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.errors import ChainRigError
from pipeline.evaluation.row import Row, row_of
from pipeline.evaluation.statistics import of_fits, of_truth
from pipeline.evaluation.truth import Truth
from pipeline.face_prior import identity_stiffness
from pipeline.fit import FaceFitter
from pipeline.head_angles import yaw_pitch_roll
from pipeline.render.camera import Camera
from pipeline.render.head_texture import REGIONS, HeadTexture
from pipeline.render.lighting import Light
from pipeline.render.material import Material
from pipeline.target.faces import find_faces
from pipeline.target.photo import Photo

SIDE = 600  # pixels of the picture
YAW, PITCH, ROLL = 25.0, 15.0, 10.0  # degrees to either side
NEAR, FAR = 0.7, 1.6  # metres
FACE = 0.42  # of the picture's side: a head 16 cm wide
ACTIVE, STRONGEST = (6, 12), 0.8
LOOKS = 0.6  # of the spread that light and colours of photographs have
IDENTITY = 12.0  # precision of identities, see `Priors.identity_detail`
EXCLUSIVE = (
    ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("mouthFunnel", "mouthPucker"),
    *((f"eyeLookIn{side}", f"eyeLookOut{side}") for side in ("Left", "Right")),
    *((f"eyeLookUp{side}", f"eyeLookDown{side}") for side in ("Left", "Right")),
    *((f"eyeBlink{side}", f"eyeWide{side}") for side in ("Left", "Right")),
    *((f"browDown{side}", f"browOuterUp{side}") for side in ("Left", "Right")),
    *((f"mouthSmile{side}", f"mouthFrown{side}") for side in ("Left", "Right")),
)  # fmt: skip
SETTLED = {"mouthClose", "tongueOut"}  # mouthClose means something with an open jaw only


@cache
def _shared() -> tuple[Rig, HeadTexture]:
    return Rig.load(), HeadTexture.load()


@cache
def head_widths() -> Tensor:
    """`(N,)` float64: the standard deviations of heads' shapes that are drawn."""
    return (IDENTITY * identity_stiffness(_shared()[0])).rsqrt()


def draw(seed: int) -> tuple[Tensor, Light, Material, float]:
    """X1 `(K,)` float64, light, colours and the focal length in pixels."""
    rig, texture = _shared()
    space, noise = rig.controls, torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=noise))

    x = space.rest.clone()
    names = [name for name in space.names[space.groups["expression"]] if name not in SETTLED]
    wanted = int(torch.randint(ACTIVE[0], ACTIVE[1] + 1, (), generator=noise))
    taken: list[str] = []
    for k in torch.randperm(len(names), generator=noise).tolist():
        rivals = {other for pair in EXCLUSIVE if names[k] in pair for other in pair}
        if len(taken) < wanted and not rivals & set(taken):
            taken.append(names[k])
            x[space.index(names[k])] = uniform(0, STRONGEST)
    identity = space.groups["identity"]
    width = head_widths()
    x[identity] = (width * torch.randn(len(width), generator=noise, dtype=torch.float64)).clamp(
        space.low[identity], space.high[identity]
    )
    pose, away = space.groups["pose"], uniform(NEAR, FAR)
    angles = [math.radians(uniform(-limit, limit)) for limit in (YAW, PITCH, ROLL)]
    rotation = roma.euler_to_rotvec("YXZ", torch.tensor(angles, dtype=torch.float64))
    x[pose] = torch.cat([rotation, torch.tensor([uniform(-0.02, 0.02), 0.035, -away]).double()])
    limit = LIMIT * torch.ones(UNKNOWNS)
    unknowns = (LOOKS * torch.randn(UNKNOWNS, generator=noise)).clamp(-limit, limit)
    light, colours = decode(unknowns)
    named: dict[str, list[float]] = dict(zip(REGIONS, colours.tolist(), strict=True))
    material = Material(HeadTexture(texture.weights, texture.detail, named)())
    return x, light, material, FACE * SIDE * away / 0.16


def photograph(
    x: Tensor, light: Light, material: Material, focal: float, noise: float = 0.0, seed: int = 0
) -> Photo:
    """An 8-bit picture of the rig; `noise` is the standard deviation of its values in [0, 1]."""
    rig, _ = _shared()
    camera = Camera(torch.tensor(focal), torch.full((2,), SIDE / 2), size=(SIDE, SIDE))
    with torch.no_grad():
        picture = build_renderer(rig, camera, material, light, samples=3)(Deformer(rig)(x.float()))
    grain = noise * torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
    return Photo(((picture + grain).clamp(0, 1) * 255).round().to(torch.uint8), Path("render"), "")


def truth_of(x: Tensor) -> Truth:
    """Of X1 `(K,)`, all that an evaluation judges."""
    rig, _ = _shared()
    space, values = rig.controls, rig.controls.unpack(x)
    turn = x[space.groups["pose"]][:3].tolist()
    return Truth(
        {name: values[name] for name in rig.expression_names},
        {name: values[name] for name in rig.identity_names},
        (turn[0], turn[1], turn[2]),
    )


def one(seed: int, settings: list[str], identity: str, noise: float) -> tuple[Row, float]:
    """What became of a render, and its true yaw in degrees."""
    torch.set_num_threads(1)
    x, light, material, focal = draw(seed)
    photo, truth = photograph(x, light, material, focal, noise, seed), truth_of(x)
    assert truth.identity is not None and truth.rotation_vector is not None
    yaw = math.degrees(yaw_pitch_roll(truth.rotation_vector)[0])
    config = load_config(None, [*settings, f"camera.focal_px={focal}"])
    if identity == "known":
        config = config.model_copy(update={"controls": config.controls | truth.identity})
    faces = find_faces(photo.pixels)
    if not faces:
        return Row(str(seed), "failed", "no face found"), yaw
    try:
        found = FaceFitter(config).fit(photo, max(faces, key=lambda face: face.area))
    except ChainRigError as error:
        return Row(str(seed), "failed", str(error)), yaw
    return row_of(str(seed), found, truth=truth), yaw


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """What the rows come to: absolute errors of observable expressions, by render and by control."""
    fits, truth = of_fits(rows), of_truth(rows)
    return {
        "renders": len(rows),
        "failed": sum(row.found is None for row in rows),
        "mean_absolute_error": truth["observable_error"],
        "of_active": truth["active_error"],
        "of_quiet": truth["quiet_error"],
        "all_at_zero": truth["at_rest"],
        "rotation_deg_mean": truth["rotation_deg_mean"],
        "rotation_deg_median": truth["rotation_deg_median"],
        "rotation_deg_most": truth["rotation_deg_worst"],
        "residual_percent_mean": fits["residual_percent_mean"],
        "evaluations_mean": fits["evaluations_mean"],
        "worst_controls": truth["worst_controls"],
    }


def record(row: Row, yaw: float) -> dict[str, Any]:
    """A row of the JSON file."""
    if row.found is None or row.truth is None:
        return {"render": int(row.path), "failed": row.reason}
    return {
        "render": int(row.path),
        "residual_percent": row.found.residual_final_percent,
        "evaluations": row.found.evaluations,
        "rotation_deg": row.truth.rotation_deg,
        "yaw_deg": yaw,
        "truth": row.truth.truth,
        "found": row.found.controls,
        "unobservable": [name for name in row.found.unobservable if name in row.found.controls],
        "seconds": row.found.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--renders", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--identity", choices=("known", "unknown"), default="unknown")
    parser.add_argument("--noise", type=float, default=0.0, help="of the pictures' values in [0, 1]")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.renders)
    work = partial(one, settings=arguments.set, identity=arguments.identity, noise=arguments.noise)
    rows, records = [], []
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for row, yaw in pool.imap(work, seeds):
            rows.append(row)
            records.append(record(row, yaw))
            print(row.path, row.reason or f"{records[-1]['residual_percent']:.2f} %", flush=True)
    found = summary(rows)
    print(json.dumps(found, indent=1))
    if arguments.json:
        about = {
            "command": f"benchmarks/known_controls.py --identity {arguments.identity} {arguments.set}",
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        arguments.json.write_text(json.dumps(about | {"summary": found, "rows": records}) + "\n")


if __name__ == "__main__":
    main()
