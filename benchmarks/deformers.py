"""One photo fitted through each deformer: the table of docs/quasistatics.md.

    OMP_NUM_THREADS=1 python benchmarks/deformers.py [PHOTO] [--json FILE] [--kinds KIND...]

Times are of the processor (`time.process_time`), on one thread; making flesh included, compiling not.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, get_args

import torch

from pipeline import assets
from pipeline.config import Config, DeformerKind
from pipeline.fit import FaceFitter
from pipeline.result import FitResult
from pipeline.target.faces import find_faces
from pipeline.target.photo import read_photo

RESULT = Path("benchmarks/results/deformers.json")


def fit(photo: Path, kind: str, **settings: Any) -> tuple[FitResult, float]:
    read = read_photo(photo)
    face = max(find_faces(read.pixels), key=lambda face: face.area)
    start = time.process_time()
    result = FaceFitter(Config.model_validate({"fit": {"deformer": kind, **settings}})).fit(read, face)
    return result, time.process_time() - start


def row(result: FitResult, seconds: float) -> dict[str, Any]:
    return {
        "deformer": result.deformer,
        "start": result.residual_start,
        "final": result.residual_final,
        "evaluations": result.evaluations,
        "gradients": result.gradients,
        "seconds": seconds,
        "status": result.status,
        "controls": result.controls,
    }


def differences(rows: list[dict[str, Any]]) -> None:
    """Adds to each row how far expressions are from those of `skinning`, and which one is furthest."""
    own = next(row for row in rows if row["deformer"] == "skinning")["controls"]
    for each in rows:
        apart = {name: abs(value - own[name]) for name, value in each["controls"].items()}
        each["furthest"] = max(apart, key=lambda name: apart[name])
        each["apart_most"], each["apart_mean"] = apart[each["furthest"]], sum(apart.values()) / len(apart)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", type=Path, nargs="?", default=assets.path("example.png"))
    parser.add_argument("--json", type=Path, default=RESULT)
    parser.add_argument("--kinds", nargs="+", help="only these, beside what the file has of the others")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(options.json.read_text())["fits"] if options.kinds else []
    rows = [each for each in found if each["deformer"] not in options.kinds]
    for kind in options.kinds or get_args(DeformerKind):
        fit(options.photo, kind, iterations=1)  # compiled now
        rows.append(row(*fit(options.photo, kind)))
        print({key: value for key, value in rows[-1].items() if key != "controls"}, flush=True)
    rows.sort(key=lambda each: get_args(DeformerKind).index(each["deformer"]))
    differences(rows)
    document = {"photo": options.photo.name, "torch": torch.__version__, "fits": rows}
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    for each in rows:
        print(f"{each['deformer']:12} {each['final']:.3f} % {each['apart_most']:.3f} ({each['furthest']})")


if __name__ == "__main__":
    main()
