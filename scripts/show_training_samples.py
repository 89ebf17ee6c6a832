"""What the landmark network is trained on: docs/pictures/training.png, 24 samples, some with their labels.

python scripts/show_training_samples.py [FOLDER]        # with the pictures of train_synthetic_detector.py
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.detect.training.data import Renders
from pipeline.detect.training.rendered import render_groups

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "training.png"
ROWS, COLUMNS, SEED = 3, 8, 1


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/landmarks68_synthetic/pictures")
    list(render_groups(folder, SEED, range(ROWS * COLUMNS)))
    source = Renders(folder, SEED, 0, ROWS * COLUMNS)
    cells = []
    for i in range(ROWS * COLUMNS):
        sample = source.sample(8 * i, np.random.default_rng((SEED, i)))
        cell = np.ascontiguousarray(sample.picture)
        if i // COLUMNS == ROWS - 1:
            for x, y in sample.points:
                cv2.circle(
                    cell,
                    (round(16 * (x - 0.5)), round(16 * (y - 0.5))),
                    16,
                    (80, 255, 80),
                    -1,
                    cv2.LINE_AA,
                    4,
                )
        cells.append(cell)
    rows = [np.concatenate(cells[k : k + COLUMNS], 1) for k in range(0, len(cells), COLUMNS)]
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).quantize(256).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
