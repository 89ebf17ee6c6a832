"""Layer 2 beside its peers: how long a picture and its derivative take, and how right the derivative is.

    python benchmarks/render.py            # prints the tables of docs/performance.md (ten minutes)
    python benchmarks/render.py --write    # and puts them there
    python benchmarks/render.py --json     # prints the raw figures instead

The same scenes go through all renderers at hand, at 256 × 256 on one thread: a bumpy ball of 10,080 triangles
and the default head, coloured at the vertices, and then the textured, lit head. They are timed in turn, round
after round, in processor time (which other programs disturb least; on an idle machine the clock shows the
same), and figures are medians. Errors are those of `gradient_error.py`.

Peers: `pip install deodr==0.2.3 trimesh scipy`, `pip install 'chainrig[raytrace]'` for Mitsuba.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradient_error
import peers
import torch
from gradient_error import MOTIONS, POSES, Errors, Render
from renderer_scenes import Scene, bumpy_ball, head
from stations import write_between_markers

from pipeline.errors import ChainRigError

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
DEODR = "DEODR"
SLOW_MS, SLOW_POSES = 300, 2  # a slower renderer is timed every fourth round, and its errors are of two poses
Row = dict[str, Any]


def renderers(scene: Scene) -> dict[tuple[str, int], Render]:
    """(name, samples a pixel along each side) → a renderer of vertex colours."""
    found = _both(lambda samples: peers.ours(scene, samples))
    if find_spec("deodr"):
        found |= {(DEODR, n): peers.deodr(scene, n) for n in (1, 2)}
    if find_spec("mitsuba"):
        from mitsuba_peer import renderer

        try:
            found |= {("Mitsuba", n): renderer(scene, n * n) for n in (1, 2)}
        except ChainRigError as missing:
            print(f"Without Mitsuba: {missing}", file=sys.stderr)
    if find_spec("pytorch3d"):
        found |= {("pytorch3d, soft", n): peers.pytorch3d(scene, n) for n in (1, 2)}
    if find_spec("nvdiffrast") and torch.cuda.is_available():
        found |= {("nvdiffrast, CUDA", n): peers.nvdiffrast(scene, n) for n in (1, 2)}
    return found


def _both(build: Callable[[int], Render]) -> dict[tuple[str, int], Render]:
    """Our fused and our plain path."""
    fused = {("ChainRig, fused", n): build(n) for n in (1, 2)}
    return fused | {("ChainRig, plain", n): peers.plain(render) for (_, n), render in fused.items()}


def textured_renderers(scene: Scene) -> dict[tuple[str, int], Render]:
    """The same for the default head with its texture, in light."""
    found = _both(lambda samples: peers.ours_textured(scene, samples))
    if find_spec("deodr"):
        found |= {(DEODR, n): peers.deodr_textured(scene, n) for n in (1, 2)}
    return found


def timed(renders: dict[tuple[str, int], Render], scene: Scene, rounds: int) -> list[Row]:
    """Medians of forward (recording what the backward pass needs), backward, and of the ratio to DEODR."""
    for render in renders.values():
        _one_pass(render, scene)  # compiles
    slow = {name for name, render in renders.items() if sum(_one_pass(render, scene)) > SLOW_MS}
    taken: dict[tuple[str, int], dict[int, tuple[float, float]]] = {name: {} for name in renders}
    for round_ in range(rounds):
        for name, render in renders.items():
            if round_ % 4 == 0 or name not in slow:
                taken[name][round_] = _one_pass(render, scene)
    rows = []
    for (name, samples), passes in taken.items():
        forward, backward = (statistics.median(x) for x in zip(*passes.values(), strict=True))
        row: Row = {"renderer": name, "samples": samples, "forward_ms": forward, "backward_ms": backward}
        theirs = taken.get((DEODR, samples))
        if theirs:  # side by side: only passes of one round are compared
            row["times_deodr"] = statistics.median(sum(one) / sum(theirs[k]) for k, one in passes.items())
        rows.append(row)
    return rows


def _one_pass(render: Render, scene: Scene) -> tuple[float, float]:
    """Milliseconds forward and backward."""
    vertices = scene.vertices.clone().requires_grad_()
    began = time.process_time()
    picture = render(vertices)
    between = time.process_time()
    weights = torch.linspace(-1, 1, picture.numel(), dtype=picture.dtype).view_as(picture)
    after = time.process_time()
    torch.autograd.grad(picture, vertices, weights)
    return 1000 * (between - began), 1000 * (time.process_time() - after)


def measured(scene: Scene, rounds: int) -> Row:
    """Times, errors of gradients, signal-to-noise of the picture, and the references' spread."""
    renders = renderers(scene)
    rows = timed(renders, scene, rounds)
    exact = gradient_error.supersampled(scene, scene.vertices, 144)
    for row in rows:
        render = renders[row["renderer"], row["samples"]]
        slow = row["forward_ms"] + row["backward_ms"] > SLOW_MS
        row["errors"] = gradient_error.errors(render, scene, SLOW_POSES if slow else POSES)
        row["psnr_db"] = -10 * (render(scene.vertices).detach() - exact).square().mean().log10().item()
    return {"rows": rows, "spread": gradient_error.reference(scene).spread()}


def table(found: Row) -> str:
    heads = ["renderer", "samples a pixel", "forward, ms", "backward, ms", "both, × DEODR"]
    in_order = sorted(found["rows"], key=lambda row: row["samples"])
    rows = [time_cells(row) for row in in_order]
    if "spread" in found:
        heads += [*MOTIONS, "mean", "mixed", "picture, dB"]
        for row, cells in zip(in_order, rows, strict=True):
            cells += [*error_cells(row["errors"]), f"{row['psnr_db']:.1f}"]
        rows.append(["*the reference's own spread*", *"––––", *error_cells(found["spread"]), "–"])
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def time_cells(row: Row) -> list[str]:
    ratio = f"{row['times_deodr']:.2f}" if "times_deodr" in row else "–"
    size = f"{row['samples']} × {row['samples']}"
    return [row["renderer"], size, f"{row['forward_ms']:.1f}", f"{row['backward_ms']:.1f}", ratio]


def error_cells(found: Errors) -> list[str]:
    each = [found["own"][motion] for motion in MOTIONS] + [found["own"]["mean"], found["mixed"]["mean"]]
    return [f"{100 * error:.1f}" for error in each]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="timings of each renderer")
    parser.add_argument("--json", action="store_true", help="print the raw figures instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    choice = parser.parse_args()
    torch.set_num_threads(1)

    scene = head()
    figures = {
        "machine": f"{time.strftime('%Y-%m-%d')}, one thread, {platform.system()} on {platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}.",
        "ball": measured(bumpy_ball(), choice.rounds),
        "head": measured(scene, choice.rounds),
        "textured head": {"rows": timed(textured_renderers(scene), scene, choice.rounds)},
    }
    tables = {
        "renderers: machine": figures["machine"],
        **{f"renderers: {name}": table(figures[name]) for name in ("ball", "head", "textured head")},
    }
    print(json.dumps(figures, indent=2) if choice.json else "\n\n".join(tables.values()))
    if choice.write:
        for name, text in tables.items():
            write_between_markers(PAGE, name, text)


if __name__ == "__main__":
    main()
