"""What one evaluation of the chain costs, station by station, and what a whole fit costs.

    python benchmarks/stations.py                   # prints the tables of docs/performance.md and README.md
    python benchmarks/stations.py --write           # and puts them there
    python benchmarks/stations.py --json out.json   # and the raw figures

All runs on one thread and is measured in processor time, which other programs disturb least: on an idle
machine, the clock shows the same. Stations are timed in turn, round after round; figures are medians.
"""

import argparse
import json
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import assets
from pipeline.chain import build_renderer
from pipeline.config import Config, load_config
from pipeline.deform.deform import Deformer
from pipeline.deform.rig import Rig
from pipeline.detect.facemesh import FaceMesh
from pipeline.fit import FaceFitter
from pipeline.layer import Pipeline
from pipeline.outputs.folder import write_fit
from pipeline.render.camera import Camera, clip_from_pixels
from pipeline.render.head_texture import HeadTexture
from pipeline.render.ids import triangle_ids
from pipeline.render.material import Material
from pipeline.render.outlines import find_outlines
from pipeline.render.silhouette import edge_term
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "docs" / "performance.md", ROOT / "README.md")
SETTINGS: dict[str, tuple[str | None, list[str]]] = {
    "default (chain)": (None, []),
    "derivatives: hybrid": (None, ["fit.derivatives=hybrid"]),
    "derivatives: embedding": (None, ["fit.derivatives=embedding"]),
    "quality": ("quality", []),
    "speed": ("speed", []),
}
STAGES = {  # methods of FaceFitter
    "target": "settle the detector's region",
    "warm_start": "warm start on the embedding",
    "dress": "light and colours, each of two times",
    "solve": "chain stages",  # with the second look at light and colours
}
Milliseconds = dict[str, float]


def stations(rounds: int) -> dict[str, Milliseconds]:
    """Median milliseconds of each station: forward, forward recording for gradients, backward."""
    rig = Rig.load()
    camera = Camera(torch.tensor(1000.0), torch.tensor([128.0, 118.0]))  # the head fills the detector's view
    material = Material(HeadTexture.load()())
    deform = Deformer(rig)
    render = build_renderer(rig, camera, material)
    detect = FaceMesh.load(smoothing=Config().fit.detector_smoothing)
    x1 = rig.controls.pack({"headTranslationZ": -1.0, "jawOpen": 0.2})
    with torch.no_grad():
        _, x2, x3, _ = Pipeline([deform, render, detect]).stations(x1)
    pixels = render.homogeneous(x2)
    size = (camera.size[0] * render.samples, camera.size[1] * render.samples)
    clip = clip_from_pixels(pixels, size)[None]
    fragments = render.fragments(x2)
    color, nothing = torch.rand(len(fragments.pixel), 3), render.background

    def ids() -> Tensor:
        return triangle_ids(clip, rig.triangles, size)

    def outlines(homogeneous: Tensor) -> Tensor:
        found = find_outlines(fragments, homogeneous, render.surface)
        return edge_term(found, fragments, homogeneous, color, nothing)[1]

    runs: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
        "deform": (deform, x1),
        "render": (render, x2),
        "outlines": (outlines, pixels[None]),
        "detect": (detect, x3),
        "chain": (Pipeline([deform, render, detect]), x1),
    }
    samples: dict[str, dict[str, list[float]]] = {}
    for round_ in range(rounds + 2):
        timings = {name: _three_ways(run, x) for name, (run, x) in runs.items()}
        timings["ids"] = {"forward": _milliseconds(ids)[0]}
        if round_ >= 2:  # the first two warm up
            for name, timing in timings.items():
                for kind, value in timing.items():
                    samples.setdefault(name, {}).setdefault(kind, []).append(value)
    median = {
        name: {kind: statistics.median(values) for kind, values in kinds.items()}
        for name, kinds in samples.items()
    }
    return _rows(median)


def _three_ways(run: Callable[[Tensor], Tensor], x: Tensor) -> Milliseconds:
    leaf = x.detach().clone().requires_grad_()
    with torch.no_grad():
        forward, _ = _milliseconds(lambda: run(leaf))
    recording, y = _milliseconds(lambda: run(leaf))
    along = torch.ones_like(y)
    backward, _ = _milliseconds(lambda: torch.autograd.grad(y, leaf, along)[0])
    return {"forward": forward, "recording": recording, "backward": backward}


def _milliseconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.process_time()
    result = run()
    return 1000 * (time.process_time() - began), result


def _rows(median: dict[str, Milliseconds]) -> dict[str, Milliseconds]:
    """The renderer taken apart: its triangle ids, its outlines, and what is left."""
    ids = median["ids"]["forward"]
    render, outlines = median["render"], median["outlines"]
    return {
        "deform": median["deform"],
        "render: triangle ids": {"forward": ids, "recording": ids, "backward": 0.0},
        "render: outlines": outlines,
        "render: the rest (barycentrics, texture, shading, filter)": {
            "forward": render["forward"] - outlines["forward"] - ids,
            "recording": render["recording"] - outlines["recording"] - ids,
            "backward": render["backward"] - outlines["backward"],
        },
        "detect": median["detect"],
        "the chain, measured whole": median["chain"],
    }


def whole_fit(name: str | None, overrides: list[str], fits: int) -> dict[str, Any]:
    """Median seconds by stage of a fit of the example photo, and what it found."""
    config = load_config(name, overrides)
    seconds: dict[str, list[float]] = {}

    def timed(stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return run(*args, **kwargs)
            finally:
                seconds.setdefault(stage, []).append(time.process_time() - began)

        return wrapped

    photo = read_photo(assets.path("example.png"))
    face = max(timed("find faces", find_faces)(photo.pixels), key=lambda face: face.area)
    fitter = timed("load rig, texture and detector", FaceFitter)(config)
    for method, stage in STAGES.items():
        setattr(fitter, method, timed(stage, getattr(fitter, method)))
    fitter.studio.picture = timed("render for the overlay", fitter.studio.picture)  # type: ignore[method-assign]
    result = None
    for _ in range(fits):
        result = fitter.fit(photo, face)
        with tempfile.TemporaryDirectory() as folder:
            timed("write the files", write_fit)(result, 0, config, Path(folder))
    assert result is not None
    return {
        "stages": {stage: statistics.median(values) for stage, values in seconds.items()},
        "start": result.residual_start,
        "final": result.residual_final,
        "evaluations": result.evaluations,
        "gradients": result.gradients,
        "status": result.status,
    }


def station_table(rows: dict[str, Milliseconds]) -> str:
    lines = ["| station | forward | forward, recording | backward |", "|---|--:|--:|--:|"]
    for name, row in rows.items():
        backward = f"{row['backward']:.1f}" if row["backward"] else "–"
        lines.append(f"| {name} | {row['forward']:.1f} | {row['recording']:.1f} | {backward} |")
    return "\n".join(lines)


def stage_table(fit: dict[str, Any]) -> str:
    lines = ["| stage of a fit | seconds |", "|---|--:|"]
    lines += [f"| {stage} | {seconds:.2f} |" for stage, seconds in fit["stages"].items()]
    return "\n".join([*lines, f"| **together** | **{sum(fit['stages'].values()):.1f}** |"])


def setting_table(fits: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| setting | warm start, % IOD | end, % IOD | evaluations | gradients | chain stages, s | status |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for name, fit in fits.items():
        lines.append(
            f"| {name} | {fit['start']:.2f} | {fit['final']:.2f} | {fit['evaluations']} | {fit['gradients']} "
            f"| {fit['stages']['chain stages']:.1f} | {fit['status'].replace('_', ' ')} |"
        )
    return "\n".join(lines)


def write_between_markers(page: Path, name: str, text: str) -> None:
    """Replaces what stands between <!-- name --> and <!-- /name --> in a Markdown file, if it has these."""
    pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page.write_text(
        pattern.sub(lambda found: found[1] + text + "\n" + found[2], page.read_text("utf-8")), "utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25, help="timings of each station")
    parser.add_argument("--fits", type=int, default=3, help="timings of the default fit")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures, too")
    parser.add_argument("--write", action="store_true", help="put the tables into the pages")
    choice = parser.parse_args()
    torch.set_num_threads(1)

    rows = stations(choice.rounds)
    fits = {
        label: whole_fit(name, overrides, choice.fits if name is None and not overrides else 1)
        for label, (name, overrides) in SETTINGS.items()
    }
    machine = (
        f"{time.strftime('%Y-%m-%d')}, one thread, {platform.system()} on {platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )
    default = fits[next(iter(SETTINGS))]
    tables = {
        "machine": machine,
        "stations": station_table(rows),
        "stages": stage_table(default),
        "settings": setting_table(fits),
    }
    print("\n\n".join(tables.values()))
    if choice.json:
        choice.json.write_text(json.dumps({"machine": machine, "stations": rows, "fits": fits}, indent=2))
    if choice.write:
        for page in PAGES:
            for name, text in tables.items():
                write_between_markers(page, name, text)


if __name__ == "__main__":
    main()
