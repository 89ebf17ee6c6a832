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
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradient_error
import peers
import torch
from gradient_error import MOTIONS, Errors, Render
from scenes import SIZE, Scene, bumpy_ball, head
from stations import write_between_markers
from torch import Tensor

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
OURS, FUSED, DEODR, MITSUBA = "ChainRig, plain", "ChainRig, fused", "DEODR", "Mitsuba"
Row = dict[str, Any]


def renderers(scene: Scene) -> dict[tuple[str, int], Render]:
    """(name, samples a pixel along each side) → a renderer of vertex colours."""
    found = {
        (OURS, 1): peers.ours(scene, 1),
        (OURS, 2): peers.ours(scene, 2),
    }
    if find_spec("deodr"):
        found |= {(DEODR, n): peers.deodr(scene, n) for n in (1, 2)}
    if find_spec("mitsuba"):
        from mitsuba_peer import renderer

        found |= {(MITSUBA, n): renderer(scene, n * n) for n in (1, 2)}
    return found


def textured_renderers(scene: Scene) -> dict[tuple[str, int], Render]:
    found = {(OURS, n): peers.ours_textured(scene, n) for n in (1, 2)}
    if find_spec("deodr"):
        found |= {(DEODR, n): peers.deodr_textured(scene, n) for n in (1, 2)}
    return found


def timed(renders: dict[tuple[str, int], Render], scene: Scene, rounds: int) -> list[Row]:
    """Medians, forward (recording what the backward pass needs) and backward."""
    along = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {name: [] for name in renders}
    for round_ in range(-2, rounds):  # the first two warm up
        for name, render in renders.items():
            vertices = scene.vertices.clone().requires_grad_()
            forward, picture = _milliseconds(lambda render=render, vertices=vertices: render(vertices))
            weights = along.to(picture.dtype)
            backward, _ = _milliseconds(
                lambda picture=picture, vertices=vertices, weights=weights: torch.autograd.grad(
                    picture, vertices, weights
                )[0]
            )
            if round_ >= 0:
                taken[name].append((forward, backward))
    rows = []
    for (name, samples), pairs in taken.items():
        forward, backward = (statistics.median(x) for x in zip(*pairs, strict=True))
        rows.append({"renderer": name, "samples": samples, "forward_ms": forward, "backward_ms": backward})
    both = {(row["renderer"], row["samples"]): row["forward_ms"] + row["backward_ms"] for row in rows}
    for row in rows:
        mine, theirs = both[row["renderer"], row["samples"]], both.get((DEODR, row["samples"]))
        row["times_deodr"] = mine / theirs if theirs else None
    return rows


def _milliseconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.process_time()
    result = run()
    return 1000 * (time.process_time() - began), result


def measured(scene: Scene, rounds: int) -> Row:
    """Times, errors, and how far apart the references of the errors are."""
    renders = renderers(scene)
    rows = timed(renders, scene, rounds)
    exact = gradient_error.supersampled(scene, scene.vertices, 144)
    for row in rows:
        render = renders[row["renderer"], row["samples"]]
        row["errors"] = gradient_error.errors(render, scene)
        with torch.no_grad():
            row["psnr_db"] = -10 * (render(scene.vertices) - exact).square().mean().log10().item()
    return {"rows": rows, "spread": gradient_error.reference(scene).spread()}


def error_cells(found: Errors) -> str:
    own = " | ".join(f"{100 * found['own'][motion]:.1f}" for motion in MOTIONS)
    return f"{own} | {100 * found['own']['mean']:.1f} | {100 * found['mixed']['mean']:.1f}"


def time_cells(row: Row) -> str:
    times = f"{row['times_deodr']:.2f}" if row["times_deodr"] else "–"
    size = f"{row['samples']} × {row['samples']}"
    return f"{row['renderer']} | {size} | {row['forward_ms']:.1f} | {row['backward_ms']:.1f} | {times}"


def error_table(found: Row) -> str:
    lines = [
        "| renderer | samples a pixel | forward, ms | backward, ms | both, × DEODR "
        "| x | y | scale | rotation | mean | mixed | picture, dB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(found["rows"], key=lambda row: row["samples"]):
        lines.append(f"| {time_cells(row)} | {error_cells(row['errors'])} | {row['psnr_db']:.1f} |")
    lines.append(f"| *the reference's own spread* | – | – | – | – | {error_cells(found['spread'])} | – |")
    return "\n".join(lines)


def time_table(rows: list[Row]) -> str:
    lines = [
        "| renderer | samples a pixel | forward, ms | backward, ms | both, × DEODR |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [f"| {time_cells(row)} |" for row in sorted(rows, key=lambda row: row["samples"])]
    return "\n".join(lines)


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
        "textured": timed(textured_renderers(scene), scene, choice.rounds),
    }
    tables = {
        "renderers: machine": figures["machine"],
        "renderers: ball": error_table(figures["ball"]),
        "renderers: head": error_table(figures["head"]),
        "renderers: textured head": time_table(figures["textured"]),
    }
    print(json.dumps(figures, indent=2) if choice.json else "\n\n".join(tables.values()))
    if choice.write:
        for name, table in tables.items():
            write_between_markers(PAGE, name, table)


if __name__ == "__main__":
    main()
