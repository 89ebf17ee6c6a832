"""Trains the landmark network that is shipped: assets/landmarks68_synthetic.safetensors and its log.

    python scripts/train_synthetic_detector.py [FOLDER]

On pictures of the shipped rig alone, no photograph. It takes about an hour on one core; killed at any moment,
it goes on where it was. FOLDER keeps the pictures (1 GB) and the checkpoint; out/landmarks68_synthetic if
omitted.
"""

import shutil
import sys
from pathlib import Path

import torch

from pipeline.detect.training.loop import Recipe, about, train
from pipeline.detect.training.prepare import SYNTHETIC, prepare

ASSETS = Path(__file__).parent.parent / "assets"
NAME = "landmarks68_synthetic"
PERSONS = 760
RECIPE = Recipe(steps=4400, seed=1)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # denormal gradients cost CPUs a tenth of the time
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out") / NAME
    source, held_out = prepare(
        [SYNTHETIC],
        folder / "pictures",
        PERSONS,
        RECIPE.seed,
        progress=lambda done, of: _tell("person", done, of),
    )

    def progress(step: int, row: dict[str, float]) -> None:
        _tell("step", step, RECIPE.steps, f"  {row['validation']:.2f} % IOD" if row else "")

    detector = train(source, held_out, RECIPE, folder, workers=1, progress=progress)
    detector.save(ASSETS / f"{NAME}.safetensors", about(RECIPE, [SYNTHETIC]))
    shutil.copyfile(folder / "curve.csv", ASSETS / f"{NAME}.csv")


def _tell(what: str, done: int, of: int, more: str = "") -> None:
    print(f"\r{what} {done} of {of}{more} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
